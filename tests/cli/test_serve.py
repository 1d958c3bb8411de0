"""`promptmill serve`: its settings, and how it refuses to start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from promptmill.cli.service.service_settings import default_text
from promptmill.cli.service.serving import url_of
from promptmill.settings import Settings, variable_name, without_password
from tests.cli.pretended import Invoke


def test_the_help_lists_every_setting_with_its_variable_and_default(invoke: Invoke) -> None:
    shown = invoke("serve", "--help").stdout.replace("\n", " ")

    for name, field in Settings.model_fields.items():
        assert f" {variable_name(name)} " in shown
        if name not in {"database_url", "pull_registries"}:  # Too long, and folded.
            assert f" {default_text(field)} " in shown


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("PROMPTMILL_PORT", "many", "PROMPTMILL_PORT: "),
        ("PROMPTMILL_LEASE_S", "0", "PROMPTMILL_LEASE_S: "),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL: must start with"),
    ],
)
def test_wrong_settings_are_named_and_end_the_program_with_2(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)

    result = invoke("serve")

    assert result.exit_code == 2
    assert said in result.stderr


def test_a_port_that_is_taken_is_said_in_words(invoke: Invoke, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        database_url = f"sqlite:///{tmp_path / 'promptmill.db'}"

        result = invoke("serve", "--port", port, "--database-url", database_url)

    assert result.exit_code == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in result.stderr


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@db/mill", "postgresql://me:***@db/mill"),
        ("postgresql://me:a:b/c@db/mill", "postgresql://me:***@db/mill"),
        ("postgresql://me@db/mill", "postgresql://me@db/mill"),
        (
            "postgresql://db/mill?user=me&password=x&a=b",
            "postgresql://db/mill?user=me&password=***&a=b",
        ),
        ("sqlite:////srv/mill.db", "sqlite:////srv/mill.db"),
    ],
)
def test_a_shown_database_url_has_no_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("mill.local", "http://mill.local:8000"),
    ],
)
def test_the_shown_address_is_one_that_a_browser_can_open(host: str, url: str) -> None:
    assert url_of(host, 8000) == url

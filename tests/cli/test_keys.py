"""`promptmill keys`, on real databases, and how commands send a key."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import respx

from promptmill.domain.access.keys import key_id_of
from tests.cli.pretended import Invoke


@pytest.fixture
def keys(invoke: Invoke, tmp_path: Path):
    """`keys("create", "alice")` on a database of its own."""
    url = f"sqlite:///{tmp_path / 'promptmill.db'}"
    return lambda *arguments: invoke("keys", *arguments, "--database-url", url)


def test_a_key_goes_to_stdout_alone_and_only_once(keys) -> None:
    made = keys("create", "alice", "--scope", "submit", "--expires", "90d")
    key = made.stdout.strip()

    assert made.exit_code == 0
    assert key_id_of(key)
    assert key not in made.stderr
    for arguments in (["list"], ["list", "--json"], ["show", "alice"], ["show", "alice", "--json"]):
        shown = keys(*arguments)
        assert shown.exit_code == 0
        assert key not in shown.output
        assert "alice" in shown.stdout


def test_what_a_key_may_do_is_shown(keys) -> None:
    keys(
        *("create", "bob", "--scope", "read", "--scope", "metrics"),
        *("--limit", "max_queued_prompts=10", "--limit", "priority=-5..5"),
    )

    shown = json.loads(keys("show", "bob", "--json").stdout)

    assert shown["scopes"] == ["metrics", "read"]
    assert shown["limits"] == {"max_queued_prompts": 10, "min_priority": -5, "max_priority": 5}
    assert shown["last_used_at"] is None


def test_a_key_is_rotated_and_revoked(keys) -> None:
    first = keys("create", "alice").stdout.strip()
    second = keys("rotate", "alice", "--overlap", "1h").stdout.strip()
    revoked = keys("revoke", "alice")
    again = keys("rotate", "alice")

    assert key_id_of(first) == key_id_of(second)
    assert first != second
    assert revoked.exit_code == 0
    assert (again.exit_code, "was revoked" in again.stderr) == (2, True)
    assert "revoked" in keys("list").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "alice"], "There is a key alice already"),
        (["create", "a b"], "must begin with a letter or digit"),
        (["create", "bob", "--scope", "write"], "there is no scope 'write'"),
        (["create", "bob", "--expires", "soon"], "'soon' is no duration"),
        (["create", "bob", "--limit", "speed=1"], "there are max_queued_prompts"),
        (["create", "bob", "--limit", "max_concurrent=many"], "'many' is no whole number"),
        (["create", "bob", "--limit", "max_concurrent=0"], "must be 1 or more"),
        (["create", "bob", "--limit", "priority=1"], "write priority=LEAST..MOST"),
        (["show", "nobody"], "There is no key nobody."),
        (["revoke", "nobody"], "There is no key nobody."),
        (["rotate", "nobody"], "There is no key nobody."),
    ],
)
def test_what_cannot_be_done_is_said_and_ends_with_2(keys, arguments: list[str], said: str) -> None:
    keys("create", "alice")

    result = keys(*arguments)

    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_without_keys_that_is_said(keys) -> None:
    assert "whoever reaches the service can use it" in keys("list").stderr


@pytest.mark.parametrize("by_file", [False, True])
def test_commands_send_the_key_of_the_environment_or_of_a_file(
    invoke: Invoke,
    service: respx.MockRouter,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    by_file: bool,
) -> None:
    asked = service.get("/batches").mock(
        return_value=httpx.Response(200, json={"data": [], "next_cursor": None})
    )
    path = tmp_path / "key"
    path.write_text("the-key\n")
    if not by_file:
        monkeypatch.setenv("PROMPTMILL_API_KEY", "the-key")

    result = invoke(*(["--api-key-file", path] if by_file else []), "list")

    assert result.exit_code == 0
    assert asked.calls[0].request.headers["authorization"] == "Bearer the-key"


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), ("", "is empty")])
def test_a_key_file_that_is_of_no_use_is_said(
    invoke: Invoke, tmp_path: Path, content: str | None, said: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)

    result = invoke("--api-key-file", path, "list")

    assert (result.exit_code, said in result.stderr) == (2, True)


def test_a_service_that_wants_a_key_is_told_with_the_way_to_give_one(
    invoke: Invoke, service: respx.MockRouter
) -> None:
    service.get("/batches").mock(
        return_value=httpx.Response(401, json={"title": "A key is needed", "detail": "No key."})
    )

    result = invoke("list")

    assert (result.exit_code, "PROMPTMILL_API_KEY" in result.stderr) == (2, True)


def test_beyond_this_machine_the_service_does_not_start_without_keys(
    invoke: Invoke, sqlite_url: str
) -> None:
    result = invoke("serve", "--host", "0.0.0.0", "--database-url", sqlite_url)

    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 2
    assert "promptmill keys create" in result.stderr
    assert "PROMPTMILL_ALLOW_NO_KEYS" in result.stderr
    assert result.stdout == ""

"""`promptmill doctor`: what it finds, with the service down, and the status it ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptmill.settings import unknown_variables
from tests.cli.pretended import Invoke


@pytest.fixture
def doctor(invoke: Invoke, sqlite_url: str, simulator_url: str, monkeypatch: pytest.MonkeyPatch):
    """`doctor()`: its exit status and its findings by area, before a host and a database."""
    monkeypatch.setenv("OLLAMA_HOST", simulator_url)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("PROMPTMILL_DEFAULT_MODEL", "tiny")
    Path(sqlite_url.removeprefix("sqlite:///")).chmod(0o600)

    def run(*arguments: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
        result = invoke("doctor", "--json", *arguments)
        found: dict[str, list[dict[str, str]]] = {}
        for finding in map(json.loads, result.stdout.splitlines()):
            found.setdefault(finding["area"], []).append(finding)
        return result.exit_code, found

    return run


def test_where_all_is_well_the_status_is_0(doctor) -> None:
    status, found = doctor()

    assert status == 0, found
    assert set(found) == {"settings", "database", "workers", "hosts", "process", "access"}
    assert "1 models" in found["hosts"][0]["finding"]


def test_the_probe_tells_how_many_answers_come_at_a_time(doctor) -> None:
    status, found = doctor("--probe")

    assert status == 0, found
    assert "at a time" in found["hosts"][-1]["finding"]


def test_a_typo_in_a_variable_is_a_warning_with_the_nearest_name(
    doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_CONCURENCY", "5")

    status, found = doctor()

    assert status == 1
    assert found["settings"][1]["advice"] == "Did you mean PROMPTMILL_CONCURRENCY?"


def test_a_host_that_is_away_is_a_failure(doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")

    status, found = doctor()

    assert status == 2
    assert "Connection refused" in found["hosts"][0]["finding"]


def test_where_nothing_can_be_reached_the_status_is_3(
    doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:1")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")

    assert doctor()[0] == 3


def test_a_wrong_setting_is_a_failure(doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTMILL_LEASE_S", "0")

    status, found = doctor()

    assert status == 2
    assert "PROMPTMILL_LEASE_S" in found["settings"][1]["finding"]


def test_listening_beyond_this_machine_without_keys_is_a_failure(
    doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_HOST", "0.0.0.0")
    status, found = doctor()
    assert (status, found["access"][0]["level"]) == (2, "failure")

    monkeypatch.setenv("PROMPTMILL_ALLOW_NO_KEYS", "true")
    status, found = doctor()
    assert (status, found["access"][0]["level"]) == (1, "warning")

    monkeypatch.setenv("PROMPTMILL_API_KEYS", f"ci={'k' * 20}")
    status, found = doctor()
    assert (status, found["access"][0]["level"]) == (0, "note")


def test_a_database_that_everybody_may_read_is_a_warning(doctor, sqlite_url: str) -> None:
    Path(sqlite_url.removeprefix("sqlite:///")).chmod(0o644)

    status, found = doctor()

    assert status == 1
    assert "644" in found["database"][1]["finding"]


def test_for_people_it_is_a_table_and_a_missing_file_is_not_made(
    invoke: Invoke, doctor, tmp_path: Path
) -> None:
    path = tmp_path / "none.db"

    result = invoke("doctor", "--database-url", f"sqlite:///{path}")

    assert "is made at the first start" in " ".join(result.stdout.split())
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("PROMPTMILL_MAX_PROMTS", "PROMPTMILL_MAX_PROMPTS"),
        ("PROMPTMILL_LOG_LVL", "PROMPTMILL_LOG_LEVEL"),
        ("PROMPTMILL_ZEBRA", None),
    ],
)
def test_the_nearest_name_is_told_where_there_is_one(name: str, nearest: str | None) -> None:
    known = {"PROMPTMILL_URL": "", "PROMPTMILL_API_KEY": "", "PATH": "", "PROMPTMILL_HOST": ""}

    assert unknown_variables({**known, name: "x"}) == {name: nearest}

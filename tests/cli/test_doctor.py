"""`promptmill doctor`: what it finds, with the service down, and the status it ends with."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from promptmill.diagnosis.database import file_system_of
from promptmill.diagnosis.findings import clock_finding
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
    assert set(found) == {"settings", "database", "workers", "hosts", "process", "access", "clock"}
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
    assert "mode 644" in str(found["database"])


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


def test_a_damaged_file_is_a_failure(doctor, sqlite_url: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = database.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'api_key'"
        (root,) = database.execute(query).fetchone()
    with path.open("r+b") as file:
        file.seek((root - 1) * page)
        file.write(b"\xff" * page)

    status, found = doctor()

    assert status == 2
    told = [each["finding"] for each in found["database"] if each["level"] == "failure"]
    assert "damaged" in told[0]


def test_two_names_of_one_host_are_a_warning(
    doctor, simulator_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = simulator_url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("PROMPTMILL_OLLAMA_HOSTS", f"{simulator_url},{other}")

    status, found = doctor()

    assert status == 1
    assert "are the same server" in found["hosts"][0]["finding"]


def test_proxies_models_on_the_processor_and_old_versions_are_notes(
    doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy")
    doctor("--probe")  # loads the model

    status, found = doctor()
    told = " ".join(each["finding"] for each in found["hosts"])

    assert status == 0, found
    assert "HTTPS_PROXY: not used for hosts" in told
    assert "secret" not in told
    assert "of its memory on graphics cards" in told


def test_keys_that_nobody_used_and_files_that_others_may_read_are_told(
    invoke: Invoke, doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "alice.key"
    path.write_text(invoke("keys", "create", "alice").stdout)
    path.chmod(0o644)
    monkeypatch.setenv("PROMPTMILL_API_KEY_FILE", str(path))

    status, found = doctor()
    told = {each["finding"]: each["level"] for each in found["access"]}

    assert status == 1
    assert told["Keys that were never used: alice."] == "note"
    assert told[f"Others may read the key in {path}."] == "warning"


def test_less_room_than_new_work_takes_is_a_failure(
    doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTMILL_MIN_FREE_BYTES", str(2**60))

    status, found = doctor()

    assert status == 2
    assert "PROMPTMILL_MIN_FREE_BYTES" in found["database"][-1]["advice"]


def test_a_server_of_postgresql_is_told_with_its_connections_and_its_clock(
    doctor, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgresql_url)

    status, found = doctor()

    assert status == 0, found
    assert re.search(r"PostgreSQL \d+.*, \d+ of \d+ connections", found["database"][1]["finding"])
    assert found["database"][0]["level"] == "ok"
    assert "The clock of the database is this machine's." in str(found)


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(1.5, "ok"), (-1.5, "ok"), (3, "warning"), (-9, "warning")]
)
def test_clocks_more_than_two_seconds_apart_are_a_warning(ahead_s: float, level: str) -> None:
    assert clock_finding("x", ahead_s).level.value == level


def test_the_file_system_is_that_of_the_longest_mount_point(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/a / ext4 rw 0 0\nbox:/x /mnt/my\\040data nfs4 rw 0 0\n")

    assert file_system_of(Path("/mnt/my data/a.db"), mounts) == "nfs4"
    assert file_system_of(Path("/mnt/mine/a.db"), mounts) == "ext4"
    assert file_system_of(Path("/a.db"), tmp_path / "none") is None

"""`promptmill db`, on real databases."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import structlog

from tests.cli.pretended import Invoke

REVISIONS = Path(__file__).parents[2] / "migrations" / "versions"


def test_a_new_database_is_upgraded_checked_and_downgraded(invoke: Invoke, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new' / 'promptmill.db'}"

    before = invoke("db", "check", "--database-url", url)
    upgraded = invoke("db", "upgrade", "--database-url", url)
    after = invoke("db", "check", "--database-url", url)
    downgraded = invoke("db", "downgrade", "base", "--yes", "--database-url", url)

    assert (before.exit_code, upgraded.exit_code, after.exit_code) == (1, 0, 0)
    assert "no schema; this version wants" in before.stderr
    assert "up to date" in after.stderr
    assert (downgraded.exit_code, "base: no tables" in downgraded.stderr) == (0, True)


@pytest.mark.postgresql
def test_an_upgrade_beside_another_says_what_it_waits_for_and_leaves_the_logging_alone(
    invoke: Invoke, postgresql_url: str
) -> None:
    invoke("db", "downgrade", "base", "--yes", "--database-url", postgresql_url)
    handlers = list(logging.getLogger().handlers)
    waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with ThreadPoolExecutor(1) as threads, psycopg.connect(postgresql_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(7263847261)")
        upgrading = threads.submit(invoke, "db", "upgrade", "--database-url", postgresql_url)
        while other.execute(waits).fetchone() == (0,):
            assert not upgrading.done()
        other.rollback()
        upgraded = upgrading.result(20)

    assert upgraded.exit_code == 0
    waiting, ended = upgraded.stderr.splitlines()
    assert waiting == (
        "Another process is migrating the database; this one waits until it has ended."
    )
    assert ended.endswith("is at 0001.")
    assert list(logging.getLogger().handlers) == handlers
    assert not structlog.is_configured()


def test_checking_creates_no_file(invoke: Invoke, tmp_path: Path) -> None:
    invoke("db", "check", "--database-url", f"sqlite:///{tmp_path / 'promptmill.db'}")

    assert list(tmp_path.iterdir()) == []


def test_the_database_comes_from_the_environment(
    invoke: Invoke, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    assert invoke("db", "check").exit_code == 0


@pytest.mark.parametrize("answer", ["", "n\n"])
def test_downgrading_asks_first(invoke: Invoke, sqlite_url: str, answer: str) -> None:
    result = invoke("db", "downgrade", "base", "--database-url", sqlite_url, stdin=answer)

    assert result.exit_code == 1
    assert "Data may be lost" in result.stderr
    assert invoke("db", "check", "--database-url", sqlite_url).exit_code == 0


def test_one_revision_back_can_be_named(invoke: Invoke, sqlite_url: str) -> None:
    result = invoke("db", "downgrade", "-1", "--yes", "--database-url", sqlite_url)

    revisions = ["base: no tables", *sorted(path.stem[:4] for path in REVISIONS.glob("0*.py"))]
    assert (result.exit_code, f"is at {revisions[-2]}" in result.stderr) == (0, True)


def test_a_file_that_is_no_database_or_cannot_be_made_is_refused_in_words(
    invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_text("This is a text and no database. " * 100)
    no_folder = tmp_path / "text.db" / "promptmill.db"

    for path in (tmp_path / "text.db", no_folder, tmp_path):
        result = invoke("db", "upgrade", "--database-url", f"sqlite:///{path}")

        assert result.exit_code == 3, result.stderr
        assert "cannot be" in result.stderr


@pytest.mark.parametrize("command", [["upgrade", "no-such"], ["downgrade", "no-such", "--yes"]])
def test_an_unknown_revision_is_refused_in_words(
    invoke: Invoke, sqlite_url: str, command: list[str]
) -> None:
    result = invoke("db", *command, "--database-url", sqlite_url)

    assert result.exit_code == 2
    assert "no-such" in result.stderr


def test_a_database_that_is_not_there_is_said_without_its_password(invoke: Invoke) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/mill?connect_timeout=1"

    result = invoke("db", "check", "--database-url", url)

    assert result.exit_code == 3
    assert "me:***@127.0.0.1:1/mill" in result.stderr
    assert "secret" not in result.stderr


def test_a_wrong_setting_is_refused_in_words(invoke: Invoke) -> None:
    result = invoke("db", "check", "--database-url", "mysql://host/name")

    assert result.exit_code == 2
    assert "DATABASE_URL: must start with sqlite:/// or postgresql://" in result.stderr

"""Migrations, on both databases."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import make_url

from promptmill.domain.errors import Unavailable
from promptmill.store.db import schema
from promptmill.store.db.database import Database


def test_the_migrations_give_exactly_the_tables_of_the_code(database_url: str) -> None:
    database = Database(database_url)
    difference = database.read_now(
        lambda tx: compare_metadata(MigrationContext.configure(tx.connection), schema.metadata)
    )
    database.close_now()
    assert difference == []


@pytest.mark.postgresql
def test_tables_of_postgresql_are_stored_as_the_code_says(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url) as connection:
        rows = connection.execute(
            "SELECT relname, reloptions FROM pg_class WHERE reloptions IS NOT NULL"
            " AND relnamespace = 'public'::regnamespace"
        ).fetchall()
    stored = {name: dict(option.split("=") for option in options) for name, options in rows}
    assert stored == {
        table.name: options
        for table in schema.metadata.tables.values()
        if (options := table.dialect_options["postgresql"]["with"])
    }
    assert stored["task"]["autovacuum_vacuum_scale_factor"] == "0.01"


def test_they_go_back_and_forth(database_url: str) -> None:
    schema.downgrade(database_url, "base")
    assert schema.check(database_url).current is None
    schema.upgrade(database_url)
    assert schema.check(database_url).is_current


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    schema.upgrade(database_url)
    assert schema.check(database_url).is_current


def test_processes_that_start_at_once_on_an_empty_database_do_not_collide(
    database_url: str,
) -> None:
    schema.downgrade(database_url, "base")
    errors: list[BaseException] = []

    def upgrade() -> None:
        try:
            schema.upgrade(database_url)
        except Exception as error:  # noqa: BLE001 - a thread hands whatever it was to the test
            errors.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert schema.check(database_url).is_current


@pytest.fixture
def migrating(postgresql_url: str) -> Iterator[psycopg.Connection]:
    """Another process that is in the middle of a migration; a rollback ends it."""
    schema.downgrade(postgresql_url, "base")
    with psycopg.connect(postgresql_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(7263847261)")
        yield other


def until_it_waits(url: str, seconds: float) -> None:
    """Return when a statement has been waiting for the other process for so long."""
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event = 'advisory' AND clock_timestamp() - query_start > make_interval(secs=>%s)"
    )
    deadline = time.monotonic() + 20
    with psycopg.connect(url, autocommit=True) as looking:
        while looking.execute(waits, [seconds]).fetchone() == (0,):
            assert time.monotonic() < deadline, "it does not wait"


def impatient(url: str) -> str:
    """The URL of sessions that wait no longer than a tenth of a second for a lock."""
    options = make_url(url).update_query_dict({"options": "-c lock_timeout=100ms"})
    return options.render_as_string(hide_password=False)


@pytest.mark.postgresql
def test_a_process_waits_for_the_migration_of_another_however_long_and_says_so(
    postgresql_url: str, migrating: psycopg.Connection
) -> None:
    schema_of = impatient(postgresql_url)
    told: list[str] = []
    with ThreadPoolExecutor(1) as threads:
        upgrading = threads.submit(schema.upgrade, schema_of, waiting=told.append)
        until_it_waits(postgresql_url, seconds=1)
        migrating.rollback()
        upgrading.result(20)
    assert told == ["Another process is migrating the database; this one waits until it has ended."]
    schema.upgrade(schema_of, waiting=told.append)
    assert len(told) == 1, "nothing is waited for, so nothing is said"


def test_on_sqlite_it_waits_for_the_migration_of_another_and_says_so_once(sqlite_url: str) -> None:
    schema.downgrade(sqlite_url, "base")
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    told: queue.Queue[str] = queue.Queue()
    with closing(other), ThreadPoolExecutor(1) as threads:
        upgrading = threads.submit(schema.upgrade, sqlite_url, waiting=told.put)
        assert told.get(timeout=30).startswith("Another process is migrating the database")
        assert not upgrading.done()
        other.rollback()
        upgrading.result(30)
    assert told.empty()
    assert schema.check(sqlite_url).is_current


@pytest.mark.postgresql
def test_what_a_migration_locks_after_that_is_waited_for_as_always(
    postgresql_url: str, migrating: psycopg.Connection
) -> None:
    with ThreadPoolExecutor(1) as threads, psycopg.connect(postgresql_url) as other:
        other.execute("CREATE TABLE benchmark (key integer)")
        upgrading = threads.submit(schema.upgrade, impatient(postgresql_url))
        until_it_waits(postgresql_url, seconds=0.2)
        migrating.rollback()
        with pytest.raises(Unavailable, match="lock timeout"):
            upgrading.result(20)


def test_checking_a_missing_file_does_not_create_it(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    state = schema.check(f"sqlite:///{path}")
    assert (state.current, state.is_current) == (None, False)
    assert not path.exists()


def test_a_database_of_a_newer_version_is_refused(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    database.write_now(
        lambda tx: tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    )
    database.close_now()
    with pytest.raises(schema.SchemaError, match="newer"):
        schema.upgrade(sqlite_url)


def test_the_sqlite_file_and_its_write_ahead_log_are_private(tmp_path: Path) -> None:
    path = tmp_path / "new" / "promptmill.db"
    schema.upgrade(f"sqlite:///{path}")
    database = Database(f"sqlite:///{path}")
    mode = database.read_now(
        lambda tx: tx.connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    )
    log = path.with_name(f"{path.name}-wal")
    shared = [each for each in (path.parent, path, log) if each.stat().st_mode & 0o077]
    database.close_now()
    assert mode == "wal"
    assert shared == []

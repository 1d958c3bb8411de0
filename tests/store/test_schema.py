"""Migrations, on both databases."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from promptmill.store.db import schema
from promptmill.store.db.database import Database


def test_the_migrations_give_exactly_the_tables_of_the_code(database_url: str) -> None:
    database = Database(database_url)
    difference = database.read_now(
        lambda tx: compare_metadata(MigrationContext.configure(tx.connection), schema.metadata)
    )
    database.close_now()
    assert difference == []


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


def test_the_sqlite_file_keeps_a_write_ahead_log_in_a_private_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "promptmill.db"
    schema.upgrade(f"sqlite:///{path}")
    database = Database(f"sqlite:///{path}")
    mode = database.read_now(
        lambda tx: tx.connection.exec_driver_sql("PRAGMA journal_mode").scalar()
    )
    database.close_now()
    assert mode == "wal"
    assert path.parent.stat().st_mode & 0o077 == 0

"""What holds for a database as a whole: its one worker, its journal, its reading threads."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from promptmill.domain.errors import Unavailable
from promptmill.store.db.database import Database
from promptmill.store.db.schema import upgrade


def test_a_file_of_two_names_has_one_worker(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'real.db'}")
    (tmp_path / "link.db").symlink_to(tmp_path / "real.db")
    first, second = [Database(f"sqlite:///{tmp_path / name}.db") for name in ("real", "link")]
    try:
        assert first.lock_for_one_worker()
        assert not second.lock_for_one_worker()
    finally:
        first.close_now()
        second.close_now()


def test_a_folder_that_takes_no_lock_is_not_another_worker(tmp_path: Path) -> None:
    upgrade(f"sqlite:///{tmp_path / 'mill.db'}")
    (tmp_path / "mill.db.lock").mkdir()
    database = Database(f"sqlite:///{tmp_path / 'mill.db'}")
    try:
        with pytest.raises(Unavailable, match=r"mill\.db\.lock cannot be locked: Is a directory"):
            database.lock_for_one_worker()
    finally:
        database.close_now()


def test_a_database_without_a_write_ahead_log_is_refused() -> None:
    with pytest.raises(Unavailable, match="cannot have a write-ahead log"):
        upgrade("sqlite:///:memory:")


async def test_the_roles_of_a_worker_read_while_all_other_readers_are_busy(
    database_url: str,
) -> None:
    upgrade(database_url)
    database = Database(database_url)
    gate = threading.Event()
    busy = [asyncio.create_task(database.read(lambda _: gate.wait())) for _ in range(50)]
    try:
        async with asyncio.timeout(10):
            assert await database.for_roles().read(lambda _: 7) == 7
        assert not any(reading.done() for reading in busy)
    finally:
        gate.set()
        await asyncio.gather(*busy)
        await database.close()

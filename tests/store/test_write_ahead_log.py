"""SQLite's write-ahead log beside readers: it stays short, and nobody waits long for that."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.write_ahead_log import MOST_BYTES, WriteAheadLog

MIB = 1024 * 1024
MOMENT_S = 0.05
"""For which one reader reads."""


class File:
    """A database file with its log, and one connection that writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.writer = self.connect()
        self.writer.execute("PRAGMA journal_mode = WAL")
        self.writer.execute("PRAGMA busy_timeout = 10000")
        self.writer.execute("CREATE TABLE stored (bytes BLOB)")

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)

    def write(self, mebibytes: int) -> None:
        self.writer.execute("INSERT INTO stored VALUES (zeroblob(?))", [mebibytes * MIB])

    @property
    def log_bytes(self) -> int:
        return Path(f"{self.path}-wal").stat().st_size

    @contextlib.contextmanager
    def being_read(self) -> Iterator[None]:
        with contextlib.closing(self.connect()) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM stored").fetchone()
            yield
            reader.execute("COMMIT")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    opened = File(tmp_path / "stored.db")
    yield opened
    opened.writer.close()


@contextlib.contextmanager
def always_read(read_for_a_moment: Callable[[], None], *, readers: int) -> Iterator[None]:
    """Readers of whom one has always begun before another ends."""
    stop = threading.Event()

    def read(number: int) -> None:
        time.sleep(MOMENT_S * number / readers)
        while not stop.is_set():
            read_for_a_moment()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_short_log_is_left_alone(file: File) -> None:
    file.write(1)
    before = file.log_bytes
    WriteAheadLog(file.path).shorten(file.writer)
    assert file.log_bytes == before > MIB


def test_a_database_without_a_log_is_left_alone(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "plain.db")) as plain:
        WriteAheadLog(tmp_path / "plain.db", most_bytes=0).shorten(plain)


def test_a_long_log_is_emptied_by_whatever_link_its_database_is_named(
    file: File, tmp_path: Path
) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(file.path)
    file.write(2)
    WriteAheadLog(link, most_bytes=MIB).shorten(file.writer)
    assert file.log_bytes == 0
    assert file.writer.execute("PRAGMA busy_timeout").fetchone() == (10_000,)


def test_a_reader_that_does_not_end_is_waited_for_twice_as_long_each_time(file: File) -> None:
    standing_still = WriteAheadLog(file.path, most_bytes=MIB, clock=lambda: 0.0)
    waited_s: list[float] = []
    with file.being_read():
        file.write(2)
        for _ in range(2):
            began = time.monotonic()
            standing_still.shorten(file.writer)
            waited_s.append(time.monotonic() - began)
    assert file.log_bytes > MIB, "the reader needs it"
    assert waited_s[0] >= 0.1
    assert waited_s[1] >= 0.2
    standing_still.shorten(file.writer)
    assert file.log_bytes == 0


@pytest.mark.proof
def test_after_a_failed_try_nothing_is_tried_for_ten_times_as_long(file: File) -> None:
    log = WriteAheadLog(file.path, most_bytes=MIB)
    with file.being_read():
        file.write(2)
        began = time.monotonic()
        log.shorten(file.writer)
        took_s = time.monotonic() - began
    ended = time.monotonic()
    while file.log_bytes:
        assert time.monotonic() < ended + 60
        log.shorten(file.writer)
    assert time.monotonic() - ended > 8 * took_s


def test_a_writer_that_is_refused_for_whatever_reason_goes_on(file: File) -> None:
    file.write(2)
    broken = file.connect()
    broken.close()
    WriteAheadLog(file.path, most_bytes=MIB).shorten(broken)
    assert file.log_bytes > MIB


def test_beside_readers_that_always_overlap_the_log_is_emptied(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    path = Path(f"{database.url.database}-wal")
    database.write_now(lambda tx: tx.execute(sa.text("CREATE TABLE stored (bytes BLOB)")))
    store = sa.text(f"INSERT INTO stored VALUES (zeroblob({4 * MIB}))")

    def read(tx: Transaction) -> None:
        tx.execute(sa.text("SELECT count(*) FROM stored")).all()
        time.sleep(MOMENT_S)

    sizes = [0]
    with always_read(lambda: database.read_now(read), readers=3):
        while sizes[-1] >= sizes[len(sizes) // 2]:
            assert sizes[-1] < 400 * MIB, "it only grows"
            database.write_now(lambda tx: tx.execute(store))
            sizes.append(path.stat().st_size)
    database.close_now()
    assert max(sizes) > MOST_BYTES * 0.9, "a short one is left alone"

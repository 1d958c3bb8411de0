"""Keeping SQLite's write-ahead log short, even while readers always overlap.

SQLite restarts its log when a writer finds that no reader needs its contents. If one reader begins
before another ends, for hours, there is no such moment, and the log grows. The writer therefore
makes one: it keeps the write lock and waits until earlier readers have ended. Later readers find
all contents in the database file, once they have been copied there.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

MOST_BYTES = 64 * 1024 * 1024
"""Bytes beyond which the log is emptied; `journal_size_limit` of each connection is the same."""

_LEAST_WAIT_MS = 100
_MOST_WAIT_MS = 3_200
_REST = 10
"""Fraction of the time, as one part in this many, for which tries may block writers."""


class WriteAheadLog:
    """Log of one database file, as a process's only writer sees it."""

    def __init__(
        self,
        database: Path,
        *,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives monotonic seconds."""
        # SQLite puts the log beside the file itself, even if the file is opened by a link.
        self._path = Path(f"{database.resolve()}-wal")
        self._most_bytes = most_bytes
        self._clock = clock
        self._wait_ms = _LEAST_WAIT_MS
        self._next_try_at = 0.0

    def shorten(self, connection: sqlite3.Connection) -> None:
        """Empty the log if it is too long; `connection` writes and is in no transaction.

        A reader that does not end in time prevents it. The next try follows after ten times the
        duration of this one, and waits twice as long.
        """
        try:
            is_short = self._path.stat().st_size <= self._most_bytes
        except OSError:
            return
        began = self._clock()
        if is_short or began < self._next_try_at:
            return
        emptied = _empty(connection, wait_ms=self._wait_ms)
        ended = self._clock()
        if not emptied:
            # A wait that was long enough is kept, because the readers are likely the same next
            # time.
            self._wait_ms = min(2 * self._wait_ms, _MOST_WAIT_MS)
        self._next_try_at = ended + _REST * (ended - began)


def _empty(connection: sqlite3.Connection, *, wait_ms: int) -> bool:
    """Copy the log into the database and truncate it; return whether that was done in time."""
    with contextlib.suppress(sqlite3.Error):
        (usual_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
        try:
            connection.execute(f"PRAGMA busy_timeout = {wait_ms}")
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
        finally:
            connection.execute(f"PRAGMA busy_timeout = {usual_ms}")
    return False

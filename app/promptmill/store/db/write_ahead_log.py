"""Keeping SQLite's write-ahead log short, also while readers always overlap.

SQLite begins its log anew when a writer finds that no reader needs what is in it. Where one reader
begins before another ends, for hours, there is no such moment, and the log grows as long as they
read. So the writer makes one: it keeps the lock on writing and waits until the readers that began
before have ended. Those that begin meanwhile find all of the log in the database file, once it has
been copied there, and hold nothing up.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

MOST_BYTES = 64 * 1024 * 1024
"""Beyond this the log is emptied; `journal_size_limit` of each connection is the same."""

_LEAST_WAIT_MS = 100
_MOST_WAIT_MS = 3_200
_REST = 10
"""Tries take up to one part in so many of the time: nobody writes during one."""


class WriteAheadLog:
    """The log beside one database file, as the only writer of a process sees it."""

    def __init__(
        self,
        database: Path,
        *,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` gives monotonic seconds."""
        # SQLite puts it beside the file itself, by whatever link that is named.
        self._path = Path(f"{database.resolve()}-wal")
        self._most_bytes = most_bytes
        self._clock = clock
        self._wait_ms = _LEAST_WAIT_MS
        self._next_try_at = 0.0

    def shorten(self, connection: sqlite3.Connection) -> None:
        """Empty the log if it is too long; `connection` writes and is in no transaction.

        A reader that does not end in time keeps it as it is. The next try comes after ten times
        the duration of this one, and waits twice as long.
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
            # A wait that was long enough is kept: the same readers are there the next time.
            self._wait_ms = min(2 * self._wait_ms, _MOST_WAIT_MS)
        self._next_try_at = ended + _REST * (ended - began)


def _empty(connection: sqlite3.Connection, *, wait_ms: int) -> bool:
    """Copy the log into the database and cut it to nothing; whether that was done in time."""
    with contextlib.suppress(sqlite3.Error):
        (usual_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
        try:
            connection.execute(f"PRAGMA busy_timeout = {wait_ms}")
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy
        finally:
            connection.execute(f"PRAGMA busy_timeout = {usual_ms}")
    return False

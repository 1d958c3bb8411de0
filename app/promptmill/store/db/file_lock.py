"""Lock on a file that one process at a time holds, on every system that SQLite supports.

It is SQLite's own lock of an empty database, because SQLite knows how each system locks files. The
lock ends with the process; no other code in the process may open the file, because on Unix closing
it again would end the lock as well.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path


class FileLock:
    """Lock that is held until `release` or the end of the process."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def release(self) -> None:
        """Release the lock."""
        self._connection.close()


def lock_file(path: Path) -> FileLock | None:
    """Lock a file, which is created if it is missing; None while another process holds the lock.

    Raises:
        OSError: The file cannot be created, written or locked.
    """
    path.touch()
    # SQLite would open a read-only file without locking it.
    for number, fits in (
        (errno.EISDIR, not path.is_dir()),
        (errno.EACCES, os.access(path, os.W_OK)),
    ):
        if not fits:
            raise OSError(number, os.strerror(number), os.fspath(path))
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
            return None
        raise OSError(0, str(error), os.fspath(path)) from error
    return FileLock(connection)

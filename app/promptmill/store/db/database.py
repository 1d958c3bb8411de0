"""Engines, transactions, and differences between SQLite and PostgreSQL; nothing about jobs.

A use of the database is a plain function that takes a `Transaction` first. It runs in a thread, in
one transaction that commits when the function returns and rolls back when it raises:

    job = await database.write(claims.claim, wanted=5)

A write that has begun is finished even if the coroutine that awaits it is cancelled, because a
thread is not cancelled: no write is left half done.
"""

from __future__ import annotations

import asyncio
import copy
import random
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, CursorResult, Engine, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import QueuePool

from promptmill.domain.errors import StorageFull, Unavailable
from promptmill.store.db import postgresql
from promptmill.store.db.file_lock import FileLock, lock_file
from promptmill.store.db.write_ahead_log import MOST_BYTES, WriteAheadLog

P = ParamSpec("P")
T = TypeVar("T")

Clock = Callable[[], int]
"""Milliseconds since 1970 UTC."""

_SQLITE_BUSY_MS = 10_000
POSTGRESQL_CONNECTIONS = 13
"""Most sessions of one process, beside the one that listens for wakeups."""
_RACE_STATES = frozenset({"40001", "40P01", "55P03", "23505"})
"""PostgreSQL's codes of a race: serialisation, deadlock, a lock not had in time, and a unique key
that another transaction has just inserted. Begun anew, the work finds what the other stored."""
_MOST_TRIES = 6
_READ_ONLY = "25006"
_FAULTS_OUTSIDE = frozenset({"53", "57", "58"})
"""PostgreSQL's classes of codes for what no statement of ours can help: no memory or disk left, the
operator shuts down or restarts, the system's own calls fail."""
_POSTGRESQL_FULL = "53100"
_SQLITE_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SQLITE_FULL = frozenset(
    {
        sqlite3.SQLITE_FULL,
        # A quota, a limit of the file's size and a disk that is full only at the next flush.
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    }
)


class Transaction:
    """Transaction of one connection, with the clock that all workers share."""

    __slots__ = ("_clock", "connection")

    def __init__(self, connection: Connection, clock: Clock | None = None) -> None:
        self.connection = connection
        self._clock = clock

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is SQLite, for the few statements that differ."""
        return self.connection.dialect.name == "sqlite"

    def execute(
        self,
        statement: sa.Executable,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    ) -> CursorResult[Any]:
        """Run one SQLAlchemy Core statement."""
        return self.connection.execute(statement, parameters)

    def now_ms(self) -> int:
        """The database's clock at this moment, not at the transaction's start.

        On SQLite that is this machine's clock; on PostgreSQL the server's, so that workers on
        machines whose clocks disagree still agree on leases and start times.
        """
        if self._clock is not None:
            return self._clock()
        return int(self.connection.execute(_POSTGRESQL_NOW).scalar_one())


_POSTGRESQL_NOW = sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")


def _system_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class Database:
    """Engines of one database, and the threads that use them.

    `transaction_pooling` is for PostgreSQL behind PgBouncer in that mode, where each transaction
    may run in another session: then no state is left in a session. `lease_s` is the lease of the
    workers, from which PostgreSQL's timeouts are derived.
    """

    def __init__(
        self,
        database_url: str,
        *,
        clock: Clock | None = None,
        transaction_pooling: bool = False,
        lease_s: float = 30.0,
    ) -> None:
        self.url = _driver_url(database_url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._clock = clock or (_system_clock_ms if self.is_sqlite else None)
        self._worker_lock: FileLock | None = None
        self._log: WriteAheadLog | None = None
        self._noticing = postgresql.noticing_a_lost_server(lease_s)
        if self.is_sqlite:
            self._log = WriteAheadLog(Path(str(self.url.database)))
            self._write_engine = _sqlite_engine(self.url, connections=1, begin="BEGIN IMMEDIATE")
            # One for each reading thread, the roles' and the event loop's among them.
            self._read_engine = _sqlite_engine(self.url, connections=6, begin="BEGIN")
            writers, readers = 1, 4
        else:
            self._write_engine = self._read_engine = postgresql.engine(
                self.url,
                connections=POSTGRESQL_CONNECTIONS,
                transaction_pooling=transaction_pooling,
                lease_s=lease_s,
            )
            writers, readers = 8, 4
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="database-write")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="database-read")
        self._role_readers = ThreadPoolExecutor(1, thread_name_prefix="database-role")

    async def write(
        self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work` in a transaction that may write; it is committed when the method returns.

        Raises:
            Unavailable: The database cannot be reached or cannot store anything now.
        """
        loop = asyncio.get_running_loop()
        call = partial(self.write_now, work, *args, **kwargs)
        return await loop.run_in_executor(self._writers, call)

    async def read(
        self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work` in a transaction that only reads; it never waits for a writer.

        Raises:
            Unavailable: The database cannot be reached.
        """
        loop = asyncio.get_running_loop()
        call = partial(self.read_now, work, *args, **kwargs)
        return await loop.run_in_executor(self._readers, call)

    async def read_briefly(
        self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run `work`, which looks up a few rows by their keys, as `read` does.

        On SQLite `work` runs in the event loop's own thread: such a read takes 0.25 ms and waits
        for nobody, and handing it to another thread and back takes three times as long.

        Raises:
            Unavailable: The database cannot be reached.
        """
        if self.is_sqlite:
            return self.read_now(work, *args, **kwargs)
        return await self.read(work, *args, **kwargs)

    def for_roles(self) -> Database:
        """The same database with a separate reading thread, for a worker's roles.

        Exports and event streams keep the other reading threads busy, and a paced start must not
        wait for them. Only this object is to be closed.
        """
        roles = copy.copy(self)
        roles._readers = self._role_readers  # noqa: SLF001 - a copy of this very object
        return roles

    def write_now(
        self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`write`, in the caller's own thread."""
        for attempt in range(1, _MOST_TRIES + 1):
            try:
                with self._write_engine.connect() as connection:
                    with connection.begin():
                        done = work(Transaction(connection, self._clock), *args, **kwargs)
                    if self._log is not None:
                        self._log.shorten(_sqlite_connection(connection))
                    return done
            except DBAPIError as error:
                if attempt < _MOST_TRIES and _lost_a_race(error):
                    time.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - not a secret
                    continue
                if _sqlstate(error) == _READ_ONLY:
                    # A session stays what it was when it was opened; new ones see the server as
                    # it is by then.
                    self._write_engine.dispose()
                raise _unavailable(error) from error
        raise AssertionError  # the loop always returns or raises

    def read_now(
        self, work: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`read`, in the caller's own thread."""
        try:
            with self._read_engine.begin() as connection:
                return work(Transaction(connection, self._clock), *args, **kwargs)
        except DBAPIError as error:
            raise _unavailable(error) from error

    def session_arguments(self, *, application_name: str) -> dict[str, Any]:
        """Arguments of psycopg for a PostgreSQL session outside the pool."""
        _, arguments = self._write_engine.dialect.create_connect_args(self.url)
        arguments["application_name"] = application_name
        return {**self._noticing, **arguments}

    def lock_for_one_worker(self) -> bool:
        """Lock a SQLite file for this worker, until `close` or the end of the process.

        True if this worker has the lock. PostgreSQL takes any number of workers: always True.

        Raises:
            Unavailable: The folder supports no locks, so that another worker cannot be excluded.
        """
        if not self.is_sqlite or self._worker_lock is not None:
            return True
        # Of the file itself, by whatever link it is named.
        path = Path(f"{Path(str(self.url.database)).resolve()}.lock")
        try:
            self._worker_lock = lock_file(path)
        except OSError as error:
            raise Unavailable(
                f"The file {path} cannot be locked: {error.strerror}. A worker needs a folder"
                " that it may write to, on a disk of its own machine."
            ) from error
        return self._worker_lock is not None

    async def close(self) -> None:
        """Wait for running work, then close all connections."""
        await asyncio.to_thread(self.close_now)

    def close_now(self) -> None:
        """`close`, in the caller's own thread."""
        self._writers.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._role_readers.shutdown(wait=True)
        self._read_engine.dispose()
        self._write_engine.dispose()
        if self._worker_lock is not None:
            self._worker_lock.release()
            self._worker_lock = None


def _driver_url(database_url: str) -> URL:
    url = make_url(database_url)
    if url.drivername in {"postgresql", "postgres"}:
        url = url.set(drivername="postgresql+psycopg")
    return url


def _sqlite_engine(url: URL, *, connections: int, begin: str) -> Engine:
    engine = sa.create_engine(
        url,
        poolclass=QueuePool,
        pool_size=connections,
        max_overflow=0,
        # Otherwise an error would repeat prompts and answers in the log.
        hide_parameters=True,
        connect_args={"check_same_thread": False},
    )

    # Left to itself, Python's driver begins a transaction only before a write, and a transaction
    # that begins with a read cannot always become a writing one. So it is told to begin nothing,
    # and every transaction says at its start which kind it is.
    @event.listens_for(engine, "connect")
    def on_connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {_SQLITE_BUSY_MS}")
        connection.execute("PRAGMA synchronous = FULL")
        # On macOS `fsync` does not flush the disk's cache; elsewhere this has no effect.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {MOST_BYTES}")
        if begin == "BEGIN":
            connection.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        if begin == "BEGIN":
            # BEGIN takes no lock and cannot fail, so it skips SQLAlchemy's handling of
            # statements, which costs a read of a batch as much as a statement.
            driver: Any = connection.connection.driver_connection
            driver.execute(begin)
        else:
            connection.exec_driver_sql(begin)

    # Registered by decoration; named here for readers and the type checker.
    _ = (on_connect, on_begin)
    return engine


def _sqlite_connection(connection: Connection) -> sqlite3.Connection:
    """Connection of the driver, for statements that must run outside a transaction."""
    return cast("sqlite3.Connection", connection.connection.driver_connection)


def _lost_a_race(error: DBAPIError) -> bool:
    """Whether the same transaction is likely to succeed if it is repeated."""
    if _sqlstate(error) in _RACE_STATES:
        return True
    return isinstance(error, OperationalError) and "database is locked" in str(error.orig)


def _sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's code of an error; empty without one."""
    return getattr(error.orig, "sqlstate", None) or ""


def _unavailable(error: DBAPIError) -> Exception:
    """Choose the error to raise: `Unavailable` for an outside cause, the error itself for a bug."""
    state = _sqlstate(error)
    outside = (
        isinstance(error, OperationalError)
        or error.connection_invalidated
        or state == _READ_ONLY
        or state[:2] in _FAULTS_OUTSIDE
        or _sqlite_code(error) in _SQLITE_DAMAGED
    )
    if not outside:
        return error
    reason = str(error.orig).strip().splitlines() or ["no reason given"]
    if state == _POSTGRESQL_FULL or _sqlite_code(error) in _SQLITE_FULL:
        return StorageFull(f"The database cannot store anything now: {reason[0]}")
    hint = ""
    if "unsupported startup parameter" in reason[0]:
        hint = " (behind PgBouncer set PROMPTMILL_POLL_ONLY=true)"
    return Unavailable(f"The database does not work now: {reason[0]}{hint}")


def _sqlite_code(error: DBAPIError) -> int | None:
    return getattr(error.orig, "sqlite_errorcode", None)

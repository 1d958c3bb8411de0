"""Schema upgrades: Alembic, run from code.

The wheel holds the migrations; in a checkout they are the folder `migrations` beside `app`.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from promptmill.domain.errors import Unavailable
from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.tables import (
    activity,
    batches,
    benchmarks,
    downloads,
    history,
    keys,
    openai,
    workers,
)

metadata = (activity, batches, benchmarks, downloads, history, keys, openai, workers)[0].metadata
"""All tables: importing each module of tables adds its own to the one `metadata`."""


class SchemaError(Unavailable):
    """The database cannot be brought to the schema of this version; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """Revision of a database, and the revision that this version needs."""

    current: str | None
    """The database's revision; None before the first migration."""
    head: str

    @property
    def is_current(self) -> bool:
        """Whether the database has the needed revision."""
        return self.current == self.head


def upgrade(
    database_url: str,
    revision: str = "head",
    *,
    transaction_pooling: bool = False,
    waiting: Callable[[str], None] = lambda _sentence: None,
) -> None:
    """Create the database file if need be, and apply the migrations up to `revision`.

    `transaction_pooling` is `Database`'s. `waiting` is called with a sentence when another process
    is migrating the database, which may take long, and this process waits for it.

    Raises:
        SchemaError: The database is of a newer version of Promptmill, or names an unknown one.
        Unavailable: The database, or its file, cannot be used.
    """
    database = Database(database_url, transaction_pooling=transaction_pooling)
    try:
        if database.is_sqlite:
            _prepare_file(database)
        if revision == "head" and database.read_now(revision_of) == head():
            return  # Alembic is slow to set up, and there is nothing to migrate.
        _run(database, lambda config: command.upgrade(config, revision), waiting)
    finally:
        database.close_now()


def downgrade(
    database_url: str,
    revision: str,
    *,
    transaction_pooling: bool = False,
    waiting: Callable[[str], None] = lambda _sentence: None,
) -> None:
    """Revert migrations down to `revision` (`base`, `-1` or an id); as `upgrade` otherwise."""
    database = Database(database_url, transaction_pooling=transaction_pooling)
    try:
        _run(database, lambda config: command.downgrade(config, revision), waiting)
    finally:
        database.close_now()


def check(database_url: str, *, transaction_pooling: bool = False) -> SchemaState:
    """Compare the database with this version; writes nothing, creates no file."""
    wanted = head()
    database = Database(database_url, transaction_pooling=transaction_pooling)
    try:
        if database.is_sqlite and not Path(str(database.url.database)).exists():
            return SchemaState(current=None, head=wanted)
        return SchemaState(current=database.read_now(revision_of), head=wanted)
    finally:
        database.close_now()


@functools.cache
def head() -> str:
    """Revision that this version needs."""
    found = ScriptDirectory(str(_migrations_folder())).get_current_head()
    if found is None:
        raise AssertionError("the package carries no migrations")
    return found


def revision_of(tx: Transaction) -> str | None:
    """Revision of the database; None without Promptmill's tables."""
    return MigrationContext.configure(tx.connection).get_current_revision()


def _prepare_file(database: Database) -> None:
    path = Path(str(database.url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Unavailable(f"The folder {path.parent} cannot be made: {error.strerror}.") from error
    is_new = not path.exists()
    # WAL is a property of the file. It is set here, once and alone, because two processes that
    # both set it at their start can meet "database is locked" at once, busy timeout or not.
    try:
        connection = sqlite3.connect(path, timeout=10)
        with contextlib.closing(connection):
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.DatabaseError as error:
        raise Unavailable(f"The database file {path} cannot be used: {error}.") from error
    if mode != "wal":
        raise Unavailable(
            f"The database file {path} cannot have a write-ahead log (its journal is {mode!r}),"
            " which readers beside a writer need. Put it on a disk of this machine, no network"
            " folder."
        )
    if is_new:
        path.chmod(0o600)  # SQLite gives its log and index the mode of the file.


def _run(
    database: Database, work: Callable[[Config], None], waiting: Callable[[str], None]
) -> None:
    if database.is_sqlite:
        _wait_for_the_writer(Path(str(database.url.database)), waiting)

    def migrate(tx: Transaction) -> None:
        if not database.is_sqlite:
            _be_the_only_one(tx, waiting)
        config = Config()
        config.set_main_option("script_location", str(_migrations_folder()))
        config.attributes["connection"] = tx.connection
        try:
            work(config)
        except CommandError as error:
            raise SchemaError(
                "The database does not fit this version of Promptmill; it was probably made by a"
                f" newer one. Alembic says: {error}"
            ) from error

    database.write_now(migrate)


_WAITING = "Another process is migrating the database; this one waits until it has ended."
_LONGEST_WRITE_S = 1.0
"""Seconds after which another writer of a SQLite file is assumed to migrate it."""


def _wait_for_the_writer(path: Path, waiting: Callable[[str], None]) -> None:
    """Wait until no process writes to a SQLite file, however long that takes."""
    connection = sqlite3.connect(path, timeout=_LONGEST_WRITE_S, isolation_level=None)
    told = False
    with contextlib.closing(connection):
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    return  # the migration meets the same error, and reports it
            else:
                return
            if not told:
                waiting(_WAITING)
                told = True


_TRY_LOCK = sa.text("SELECT pg_try_advisory_xact_lock(7263847261)")
_LOCK = sa.text("SELECT pg_advisory_xact_lock(7263847261)")


def _be_the_only_one(tx: Transaction, waiting: Callable[[str], None]) -> None:
    """Lock PostgreSQL's schema: several processes may start at once on a new version."""
    if tx.execute(_TRY_LOCK).scalar_one():
        return
    waiting(_WAITING)
    # The time of a migration grows with the tables. Other locks are waited for as usual.
    usual = tx.execute(sa.text("SHOW lock_timeout")).scalar_one()
    tx.execute(sa.text("SET LOCAL lock_timeout = 0"))
    tx.execute(_LOCK)
    tx.execute(sa.text("SELECT set_config('lock_timeout', :usual, true)"), {"usual": usual})


def _migrations_folder() -> Path:
    packaged = Path(__file__).parents[1] / "migrations"
    if packaged.is_dir():
        return packaged
    return Path(__file__).parents[4] / "migrations"

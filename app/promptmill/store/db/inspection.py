"""State of a database for `promptmill doctor` and for metrics; nothing is changed."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from promptmill.store.db.database import Transaction

_STEPS: Final = 10_000
"""Instructions of SQLite's virtual machine between two checks of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresqlState:
    """A server of PostgreSQL at one moment."""

    version: str
    connections: int
    """Sessions of all programs."""
    most_connections: int
    dead: int
    """Rows of `task` that were replaced and still take room."""
    live: int


def free_page_bytes(tx: Transaction) -> int:
    """Bytes of a SQLite file that are free, and are used before the file grows."""
    pages = tx.execute(sa.text("PRAGMA freelist_count")).scalar_one()
    return int(pages) * int(tx.execute(sa.text("PRAGMA page_size")).scalar_one())


def first_damage(tx: Transaction, *, within_s: float) -> str | None:
    """The first damage that SQLite's quick check of its file finds; None where it finds none.

    Raises:
        TimeoutError: The check of a large file did not end in time.
    """
    connection: Any = tx.connection.connection.driver_connection
    until = time.monotonic() + within_s
    connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
    try:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            raise TimeoutError from None
        return str(error)
    except sqlite3.DatabaseError as error:
        return str(error)
    finally:
        connection.set_progress_handler(None, 0)
    return None if found == "ok" else str(found)


_POSTGRESQL: Final = sa.text(
    "SELECT current_setting('server_version') AS version,"
    " current_setting('max_connections')::int AS most_connections,"
    " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,"
    " coalesce(sum(n_dead_tup), 0)::bigint AS dead, coalesce(sum(n_live_tup), 0)::bigint AS live"
    " FROM pg_stat_user_tables WHERE relname = 'task'"
)


def postgresql_state(tx: Transaction) -> PostgresqlState:
    """Read the state of the server."""
    return PostgresqlState(**tx.execute(_POSTGRESQL).mappings().one())

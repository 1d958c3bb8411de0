"""Facts about the database itself: its version, its schema and its size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from promptmill.store.db import schema
from promptmill.store.db.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """Version, schema and size of a database."""

    version: str
    """Name and version of the database: `SQLite 3.45.1`, `PostgreSQL 15.6`."""
    revision: str | None
    """The revision of its schema."""
    size_bytes: int
    unused_bytes: int | None
    """Free bytes of the file that deleted rows have left; None if unknown."""


_SQLITE: Final = sa.text(
    "SELECT sqlite_version() AS version, pages * size AS size_bytes, unused * size AS unused_bytes"
    " FROM"
    " (SELECT (SELECT page_count FROM pragma_page_count) AS pages,"
    " (SELECT page_size FROM pragma_page_size) AS size,"
    " (SELECT freelist_count FROM pragma_freelist_count) AS unused)"
)
_POSTGRESQL: Final = sa.text(
    "SELECT split_part(current_setting('server_version'), ' ', 1) AS version,"
    " pg_database_size(current_database()) AS size_bytes, NULL AS unused_bytes"
)


def read(tx: Transaction) -> DatabaseFacts:
    """The facts at this moment."""
    kind, statement = ("SQLite", _SQLITE) if tx.is_sqlite else ("PostgreSQL", _POSTGRESQL)
    row = tx.execute(statement).one()
    return DatabaseFacts(
        version=f"{kind} {row.version}",
        revision=schema.revision_of(tx),
        size_bytes=row.size_bytes,
        unused_bytes=row.unused_bytes,
    )

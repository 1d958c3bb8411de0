"""What a database tells of itself, on both kinds."""

from __future__ import annotations

from promptmill.store.db import facts, schema
from promptmill.store.db.database import Database


def test_a_database_tells_its_version_schema_and_size(database: Database) -> None:
    found = database.read_now(facts.read)
    kind = "SQLite 3." if database.is_sqlite else "PostgreSQL "
    assert found.version.startswith(kind)
    assert found.revision == schema.head()
    assert found.size_bytes > 4096
    assert (found.unused_bytes is not None) is database.is_sqlite

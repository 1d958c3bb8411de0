"""Sessions of browsers in the database."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.keys import session


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSession:
    """Key of a session; whether the key is still valid is not checked here."""

    key_id: str
    key_hash: str


def insert(tx: Transaction, *, digest: str, key_id: str, key_hash: str, lasts_ms: int) -> None:
    """Store a new session, and remove expired ones."""
    now = tx.now_ms()
    tx.execute(sa.delete(session).where(session.c.expires_at_ms <= now))
    tx.execute(
        sa.insert(session).values(
            hash=digest,
            key_id=key_id,
            key_hash=key_hash,
            created_at_ms=now,
            expires_at_ms=now + lasts_ms,
        )
    )


def find(tx: Transaction, digest: str) -> StoredSession | None:
    """Read the session of a digest; None without such a session, or if it has expired."""
    statement = sa.select(session.c.key_id, session.c.key_hash).where(
        session.c.hash == digest, session.c.expires_at_ms > tx.now_ms()
    )
    row = tx.execute(statement).first()
    return None if row is None else StoredSession(key_id=row.key_id, key_hash=row.key_hash)


def delete(tx: Transaction, digest: str) -> None:
    """Delete a session, if it exists."""
    tx.execute(sa.delete(session).where(session.c.hash == digest))

"""API keys in the database: made, read, rotated, revoked.

Keys are few, so they are always read as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from promptmill.domain.access.keys import ApiKey, KeyLimits, Scope
from promptmill.domain.errors import Conflict, NotFound
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.keys import api_key


def insert(
    tx: Transaction,
    *,
    key_id: str,
    name: str,
    digest: str,
    scopes: frozenset[Scope],
    limits: KeyLimits,
    expires_in_ms: int | None,
) -> ApiKey:
    """Store a new key.

    Raises:
        Conflict: The name is taken, even if by a revoked key.
    """
    if tx.execute(sa.select(api_key.c.id).where(api_key.c.name == name)).first() is not None:
        raise Conflict(f"There is a key {name} already; take another name, or rotate that one.")
    now = tx.now_ms()
    tx.execute(
        sa.insert(api_key).values(
            id=key_id,
            name=name,
            hash=digest,
            scopes=sorted(scopes),
            limits={key: value for key, value in asdict(limits).items() if value is not None},
            created_at_ms=now,
            expires_at_ms=None if expires_in_ms is None else now + expires_in_ms,
        )
    )
    return get(tx, name)


def list_keys(tx: Transaction) -> Sequence[ApiKey]:
    """List all keys, newest first."""
    statement = sa.select(api_key).order_by(api_key.c.created_at_ms.desc(), api_key.c.id)
    return [_key(row) for row in tx.execute(statement)]


def get(tx: Transaction, name: str) -> ApiKey:
    """Read the key of a name.

    Raises:
        NotFound: There is no key of that name.
    """
    row = tx.execute(sa.select(api_key).where(api_key.c.name == name)).first()
    if row is None:
        raise NotFound(f"There is no key {name}.")
    return _key(row)


def find(tx: Transaction, key_id: str) -> ApiKey | None:
    """Read the key of an id; None without such a key."""
    row = tx.execute(sa.select(api_key).where(api_key.c.id == key_id)).first()
    return None if row is None else _key(row)


def rotate(tx: Transaction, name: str, *, digest: str, overlap_ms: int) -> ApiKey:
    """Give a key a new secret; the old one stays valid for `overlap_ms`.

    Raises:
        NotFound: There is no key of that name.
        Conflict: The key was revoked or has expired.
    """
    key, now = get(tx, name), tx.now_ms()
    if not key.is_live(now):
        raise Conflict(f"The key {name} was revoked or has expired; create a new one.")
    _update(tx, key.id, hash=digest, old_hash=key.hash, old_until_ms=now + overlap_ms)
    return get(tx, name)


def revoke(tx: Transaction, name: str) -> ApiKey:
    """Revoke a key; its row stays.

    Raises:
        NotFound: There is no key of that name.
    """
    key = get(tx, name)
    if key.revoked_at_ms is None:
        _update(tx, key.id, revoked_at_ms=tx.now_ms())
    return get(tx, name)


def note_use(tx: Transaction, key_id: str) -> None:
    """Record that a key was used now."""
    _update(tx, key_id, last_used_at_ms=tx.now_ms())


def _update(tx: Transaction, key_id: str, **values: object) -> None:
    tx.execute(sa.update(api_key).where(api_key.c.id == key_id).values(**values))


def _key(row: sa.Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=frozenset(map(Scope, row.scopes)),
        limits=KeyLimits(**row.limits),
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        revoked_at_ms=row.revoked_at_ms,
        last_used_at_ms=row.last_used_at_ms,
        hash=row.hash,
        old_hash=row.old_hash,
        old_until_ms=row.old_until_ms,
    )

"""Service functions of API keys: identifying callers, and making, rotating and revoking keys."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from promptmill.domain.access.keys import (
    ANYBODY,
    ApiKey,
    Caller,
    KeyLimits,
    Scope,
    digest_of,
    key_id_of,
    new_key,
    new_key_id,
)
from promptmill.domain.errors import Unavailable
from promptmill.observability.audit import Change, audit_of_others
from promptmill.services.resources import Resources
from promptmill.store.access import keys
from promptmill.store.db.database import Database, Transaction

_FRESH_S: Final = 5.0
"""Seconds for which a process uses the keys that it has read."""
_NOTED_S: Final = 60.0
"""Seconds between two notes of a key's use."""
_ID_BYTES: Final = 7
_SECRET_BYTES: Final = 32
_NOBODY: Final = digest_of("")
"""Digest for unknown keys, so that their comparison takes as long as that of known ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """Key that was just made or rotated."""

    key: str
    """The key itself, which is shown only once."""
    stored: ApiKey


async def are_needed(resources: Resources) -> bool:
    """Whether any key exists, so that requests need one.

    Revoked keys count: revoking the last key must not open the service to everybody. For the same
    reason a process that has seen keys never forgets that they exist.

    Raises:
        Unavailable: The database cannot be read, and has not been since the start.
    """
    if resources.settings.environment_keys:
        return True
    await _refresh(resources)
    return resources.known_keys.exist


async def caller_of(resources: Resources, key: str) -> Caller | None:
    """Caller of a key; None if the key is unknown, revoked or expired.

    Raises:
        Unavailable: As `are_needed`.
    """
    return await caller_of_digest(resources, digest_of(key), key_id_of(key) or "")


async def caller_of_digest(resources: Resources, digest: str, key_id: str) -> Caller | None:
    """Caller of a key, by the key's digest and the id in it; as `caller_of`.

    Raises:
        Unavailable: As `are_needed`.
    """
    of_environment = [
        each.caller
        for each in resources.settings.environment_keys
        if compare_digest(digest, each.digest)
    ]
    await _refresh(resources)
    known = resources.known_keys
    stored = known.by_id.get(key_id)
    is_accepted = stored is not None and stored.accepts(digest, _now_ms(resources))
    if stored is None:
        compare_digest(digest, _NOBODY)
    if of_environment:
        return of_environment[0]
    if stored is None or not is_accepted:
        return None
    await _note_use(resources, stored)
    return _caller(stored)


def caller_with(tx: Transaction, key_id: str | None) -> Caller:
    """Caller with a key's id, for work that continues after the request.

    The limits of a key still apply after the key has ended. A key of the environment has no limits.
    """
    stored = None if key_id is None else keys.find(tx, key_id)
    return ANYBODY if stored is None else _caller(stored)


def _caller(stored: ApiKey) -> Caller:
    return Caller(key_id=stored.id, name=stored.name, scopes=stored.scopes, limits=stored.limits)


async def _refresh(resources: Resources) -> None:
    known = resources.known_keys
    if known.read_at is not None and time.monotonic() - known.read_at < _FRESH_S:
        return
    try:
        found, now_ms = await resources.database.read(_read)
    except Unavailable:
        if known.read_at is None:
            raise
        return  # The keys read before stay in use; the request reports the failure.
    if known.read_at is not None:
        _audit_changes(known.by_id, found)
    known.by_id = {key.id: key for key in found}
    known.exist = known.exist or bool(found)
    known.read_at_ms, known.read_at = now_ms, time.monotonic()


def _audit_changes(before: Mapping[str, ApiKey], found: Sequence[ApiKey]) -> None:
    """Tell what the command line, which writes into no log, has changed of the keys."""
    for key in found:
        was = before.get(key.id)
        if was is None:
            audit_of_others(Change.KEY_CREATED, key.name)
        elif key.revoked_at_ms != was.revoked_at_ms:
            audit_of_others(Change.KEY_REVOKED, key.name)
        elif key.hash != was.hash:
            audit_of_others(Change.KEY_ROTATED, key.name)


def _read(tx: Transaction) -> tuple[Sequence[ApiKey], int]:
    return keys.list_keys(tx), tx.now_ms()


def _now_ms(resources: Resources) -> int:
    """Milliseconds by the database's clock, extrapolated from the last read of the keys."""
    known = resources.known_keys
    return known.read_at_ms + round((time.monotonic() - (known.read_at or 0.0)) * 1000)


async def _note_use(resources: Resources, key: ApiKey) -> None:
    uses, now = resources.known_keys.uses, time.monotonic()
    if now - uses.get(key.id, -_NOTED_S) < _NOTED_S:
        return
    uses[key.id] = now
    # A request that only reads must not fail because the disk is full.
    with suppress(Unavailable):
        await resources.database.write(keys.note_use, key.id)


# --- for the command line, straight on the database ------------------------------------------


def create(
    database: Database,
    name: str,
    *,
    scopes: frozenset[Scope],
    limits: KeyLimits,
    expires_in_s: float | None = None,
) -> NewKey:
    """Make a key.

    Raises:
        Conflict: The name is taken.
        Unavailable: The database does not work.
    """
    key_id = new_key_id(secrets.token_bytes(_ID_BYTES))
    key = new_key(key_id, secrets.token_bytes(_SECRET_BYTES))
    stored = database.write_now(
        keys.insert,
        key_id=key_id,
        name=name,
        digest=digest_of(key),
        scopes=scopes,
        limits=limits,
        expires_in_ms=None if expires_in_s is None else round(expires_in_s * 1000),
    )
    return NewKey(key=key, stored=stored)


def rotate(database: Database, name: str, *, overlap_s: float) -> NewKey:
    """Give a key a new secret; the old one stays valid for `overlap_s`.

    Raises:
        NotFound: There is no key of that name.
        Conflict: The key was revoked or has expired.
        Unavailable: The database does not work.
    """
    key_id = database.read_now(keys.get, name).id
    key = new_key(key_id, secrets.token_bytes(_SECRET_BYTES))
    stored = database.write_now(
        keys.rotate, name, digest=digest_of(key), overlap_ms=round(overlap_s * 1000)
    )
    return NewKey(key=key, stored=stored)


def revoke(database: Database, name: str) -> ApiKey:
    """Revoke a key.

    Raises:
        NotFound: There is no key of that name.
        Unavailable: The database does not work.
    """
    return database.write_now(keys.revoke, name)


def list_keys(database: Database) -> Sequence[ApiKey]:
    """List all keys, newest first, revoked ones included.

    Raises:
        Unavailable: The database does not work.
    """
    return database.read_now(keys.list_keys)


def get(database: Database, name: str) -> ApiKey:
    """Read the key of a name.

    Raises:
        NotFound: There is no key of that name.
        Unavailable: The database does not work.
    """
    return database.read_now(keys.get, name)

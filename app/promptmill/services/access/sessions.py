"""Sessions: a browser sends its key once, and a random token in a cookie afterwards.

A session is as good as its key: each request checks the key again, so that revoking, rotating or
expiry of the key ends its sessions. The database stores only a digest of the token.
"""

from __future__ import annotations

import secrets
from typing import Final

from promptmill.domain.access.keys import Caller, digest_of
from promptmill.services.access import keys
from promptmill.services.resources import Resources
from promptmill.store.access import sessions

LASTS_S: Final = 12 * 3600
"""Seconds from the login to the end of a session, whatever it is used for."""
_RANDOM_BYTES: Final = 32


async def begin(resources: Resources, caller: Caller, key: str) -> str:
    """Create a session of the caller with this valid key, and return the token for its cookie.

    Raises:
        Unavailable: The database cannot store it.
    """
    text = secrets.token_urlsafe(_RANDOM_BYTES)
    await resources.database.write(
        sessions.insert,
        digest=digest_of(text),
        key_id=caller.key_id or "",
        key_hash=digest_of(key),
        lasts_ms=LASTS_S * 1000,
    )
    return text


async def caller_of(resources: Resources, text: str) -> Caller | None:
    """Caller of a session; None without such a session, or if its key is no longer valid.

    Raises:
        Unavailable: The database cannot be read.
    """
    found = await resources.database.read(sessions.find, digest_of(text))
    if found is None:
        return None
    return await keys.caller_of_digest(resources, found.key_hash, found.key_id)


async def end(resources: Resources, text: str) -> None:
    """End a session, in all processes at once.

    Raises:
        Unavailable: The database cannot store it.
    """
    await resources.database.write(sessions.delete, digest_of(text))

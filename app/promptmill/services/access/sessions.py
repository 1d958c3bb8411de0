"""Sessions: a browser gives its key once, and is known by a random text in a cookie from then on.

A session is as good as its key: each request asks for the key again, so that a key that is revoked,
rotated out or over ends its sessions. The database has a digest of the text only.
"""

from __future__ import annotations

import secrets
from typing import Final

from promptmill.domain.access.keys import Caller, digest_of
from promptmill.services.access import keys
from promptmill.services.resources import Resources
from promptmill.store.access import sessions

LASTS_S: Final = 12 * 3600
"""From the login to the end, whatever is done in between."""
_RANDOM_BYTES: Final = 32


async def begin(resources: Resources, caller: Caller, key: str) -> str:
    """A new session of the caller, whose good key this is; the text for its cookie.

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
    """Whose session it is; None when there is none, or its key opens nothing any more.

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

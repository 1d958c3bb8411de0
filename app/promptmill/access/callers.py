"""Callers: the key or session that a request carries, and whether its scopes allow the request."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope as AsgiScope

from promptmill.access.routes import ANY_KEY, Route, Sufficient
from promptmill.access.sessions import caller_of_session
from promptmill.domain.access.attempts import REGAIN_S
from promptmill.domain.access.keys import ANYBODY, Caller, Scope, digest_of
from promptmill.domain.errors import Forbidden, TooManyAttempts, Unauthenticated
from promptmill.services.access import keys
from promptmill.services.resources import Resources

_NO_KEY: Final = (
    "The request has no API key; send it as `Authorization: Bearer pm_...`. Browsers log in at"
    " /ui/login."
)
_TOO_MANY: Final = (
    f"Too many wrong keys have come from this address; it may send another in {REGAIN_S:.0f} s."
)
_BAD_KEY: Final = "The API key is unknown, has expired or was revoked."


async def check_key(resources: Resources, scope: AsgiScope, key: str) -> Caller:
    """Return the caller that a key belongs to; used for the header `Authorization` and for logins.

    Raises:
        Unauthenticated: The key is unknown, expired or revoked.
        TooManyAttempts: The address has sent too many wrong keys; this key was not checked.
        Unavailable: The database cannot be read.
    """
    address, digest = scope["client"][0] if scope.get("client") else None, digest_of(key)
    attempts = resources.attempts
    if not attempts.may_try(address, digest, time.monotonic()):
        raise TooManyAttempts(_TOO_MANY)
    caller = await keys.caller_of(resources, key)
    if caller is None:
        attempts.note_failure(address, time.monotonic())
        raise Unauthenticated(_BAD_KEY)
    attempts.note_success(address, digest)
    return caller


def key_in(scope: AsgiScope) -> str | None:
    """The key in a request's header `Authorization`; None without one."""
    scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


async def identify(
    resources: Resources, scope: AsgiScope, route: Route | None, *, by_session: bool
) -> Caller:
    """Return the sender of a request; a path without a route accepts any key.

    A key in the header comes before a session. `by_session` says whether a session counts: a page
    of another origin, even a trusted one, must send a key.

    Raises:
        Unauthenticated: The route needs a key, and the request has no valid one.
        TooManyAttempts: As `check_key`.
        Unavailable: The database cannot be read.
    """
    if _sufficient(scope, route) is None:
        return ANYBODY
    key = key_in(scope)
    if key is not None:
        return await check_key(resources, scope, key)
    caller = await caller_of_session(resources, scope) if by_session else None
    if caller is None:
        raise Unauthenticated(_NO_KEY)
    return caller


def require_scope(caller: Caller, scope: AsgiScope, route: Route | None) -> None:
    """Check that the caller's scopes allow the request.

    Raises:
        Forbidden: The key has no scope that allows the request.
    """
    sufficient = _sufficient(scope, route)
    if sufficient is not None and not caller.may(sufficient):
        raise Forbidden(
            f"The key {caller.name} has the scopes {_listed(caller.scopes)}; this request takes"
            f" one of {_listed(sufficient)}."
        )


def _sufficient(scope: AsgiScope, route: Route | None) -> Sufficient:
    return ANY_KEY if route is None else route.sufficient(scope["method"])


def _listed(scopes: Iterable[Scope]) -> str:
    return ", ".join(sorted(scopes))

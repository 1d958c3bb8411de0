"""Whether a request that changes something comes from a page of this service.

These are rules 3 to 7 of the access design for the pages alone, without a token: browsers say
where a request comes from. Rules for all addresses of the service stand before this one where
they are installed; a login with keys has its place here, too: `require_own_page` is the one
function that every changing route of the pages calls.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import Request

from promptmill.dashboard.pages import Forbidden

_OWN = frozenset({"same-origin", "none"})


def require_own_page(request: Request) -> None:
    """Let a request on that a page of this service made, or no browser at all.

    Raises:
        Forbidden: It comes from elsewhere.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        is_own = site in _OWN
    elif origin is not None:
        # Browsers send the other header only to https and loopback, so not on a network over http.
        is_own = urlsplit(origin).netloc == request.headers.get("host") and origin != "null"
    else:
        is_own = True
    if not is_own:
        raise Forbidden("This was asked for by a page of another site, and nothing was done.")

"""Session cookies of browsers, and the redirect to the login page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from promptmill.access.routes import Route, find_route, path_below_root
from promptmill.domain.access.authority import parse_authority
from promptmill.domain.access.keys import Caller
from promptmill.services.access import sessions
from promptmill.services.resources import Resources

LOGIN: Final = "/ui/login"
_MOST_COOKIES: Final = 4
"""Most cookies of one name: services below several prefixes of a host may set one each."""
_LONGEST_NEXT: Final = 2048


def cookie_name(scope: AsgiScope) -> str:
    """Name of the session cookie; it holds the port, because browsers send cookies to all ports."""
    host = parse_authority(Headers(scope=scope).get("host", ""))
    port = None if host is None else host.port
    return "promptmill_session" if port is None else f"promptmill_session_{port}"


def sessions_in(scope: AsgiScope) -> Sequence[str]:
    """Session tokens in the cookies of a request."""
    name = cookie_name(scope)
    pairs = (
        pair.strip().partition("=")
        for header in Headers(scope=scope).getlist("cookie")
        for pair in header.split(";")
    )
    return [value for found, _, value in pairs if found == name and value][:_MOST_COOKIES]


async def caller_of_session(resources: Resources, scope: AsgiScope) -> Caller | None:
    """The caller whose session the request's cookie holds; None without a valid session.

    Raises:
        Unavailable: The database cannot be read.
    """
    for text in sessions_in(scope):
        if (caller := await sessions.caller_of(resources, text)) is not None:
            return caller
    return None


def set_cookie(response: Response, scope: AsgiScope, text: str) -> None:
    """Set the session cookie on a response; an empty text deletes the cookie.

    `Lax` lets links from other sites open pages; changes from other sites are refused by
    `access.browser` before a cookie is read.
    """
    response.set_cookie(
        cookie_name(scope),
        text,
        max_age=sessions.LASTS_S if text else 0,
        path=scope.get("root_path", "").rstrip("/") or "/",
        secure=scope.get("scheme") == "https",
        httponly=True,
        samesite="lax",
    )


def login_address(scope: AsgiScope, route: Route | None) -> str | None:
    """Address of the login page for a request without a valid key; None if it wants no page."""
    path = path_below_root(scope)
    is_shown = route is not None and (route.is_page or path.startswith("/ui/"))
    if not is_shown or "text/html" not in Headers(scope=scope).get("accept", ""):
        return None
    login = scope.get("root_path", "").rstrip("/") + LOGIN
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = f"{path}?{query}" if query else path
    if scope["method"] != "GET" or wanted == "/" or page_after_login(wanted) != wanted:
        return login
    return f"{login}?next={quote(wanted, safe='/')}"


def page_after_login(wanted: str) -> str:
    """Path of the page that was requested before the login; `/` if `wanted` is not such a path."""
    path = wanted.partition("?")[0]
    route = find_route(path)
    is_page = route is not None and route.is_page and path != LOGIN
    is_sane = len(wanted) <= _LONGEST_NEXT and wanted.isprintable() and "\\" not in wanted
    return wanted if is_page and is_sane and "#" not in wanted else "/"

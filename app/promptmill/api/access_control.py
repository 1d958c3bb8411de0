"""Access control: rules for browsers and keys, applied before a route is chosen.

Plain ASGI, so that bodies and streams pass through untouched. The rules are in `access`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptmill.access.browser import Asked, Let, Policy, Ruling, cors_headers, judge
from promptmill.access.callers import identify, require_scope
from promptmill.access.routes import Route, path_below_root
from promptmill.access.sessions import login_address
from promptmill.access.streams import counted, require_room, stream_kind
from promptmill.api.dependencies import resources_in
from promptmill.api.errors.problems import count_refusal, error_response
from promptmill.api.openai.errors import PREFIX, api_error
from promptmill.api.openai.errors import error_response as answer_of_dialect
from promptmill.domain.access.keys import ANYBODY
from promptmill.domain.errors import (
    Forbidden,
    LimitExceeded,
    PromptmillError,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
)
from promptmill.services.access import keys
from promptmill.services.resources import Resources

_ALWAYS_OPEN: Final = "/health"
"""Paths that monitoring requests without a key, under any name, also while the database is away."""
_REFUSALS: Final = (Unauthenticated, TooManyAttempts, Forbidden, LimitExceeded, Unavailable)


class AccessControl:
    """Middleware that refuses requests without access, and passes others on with their caller."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide about one request."""
        path = path_below_root(scope) if scope["type"] == "http" else _ALWAYS_OPEN
        if path == _ALWAYS_OPEN:
            await self._app(scope, receive, send)
            return
        app: FastAPI = scope["app"]
        resources = resources_in(app)
        route: Route | None = scope["state"]["route"]
        try:
            needs_key = await keys.are_needed(resources)
        except Unavailable as error:
            await _refusal(scope, path, error)(scope, receive, send)
            return
        ruling = judge_origin(scope, resources, route, needs_key=needs_key)
        if not isinstance(ruling, Let):
            await _refusal(scope, path, ruling)(scope, receive, send)
            return
        is_preflight = scope["method"] == "OPTIONS" and ruling.cors_origin is not None
        if ruling.cors_origin is not None:
            send = _adding(cors_headers(ruling.cors_origin, preflight=is_preflight), send)
        if is_preflight:
            # The browser itself sends preflight requests, and has no key.
            await Response(status_code=204)(scope, receive, send)
            return
        is_own = ruling.cors_origin is None
        try:
            caller = ANYBODY
            if needs_key:
                caller = await identify(resources, scope, route, by_session=is_own)
            scope["state"]["needs_key"] = needs_key
            scope["state"]["caller"] = caller
            require_scope(caller, scope, route)
            kind = stream_kind(scope, route)
            require_room(resources, caller, kind)
        except _REFUSALS as error:
            login = login_address(scope, route) if hasattr(app.state, "has_pages") else None
            if isinstance(error, Unauthenticated) and login is not None:
                await RedirectResponse(login, 303)(scope, receive, send)
                return
            await _refusal(scope, path, error)(scope, receive, send)
            return
        structlog.contextvars.bind_contextvars(key=caller.name)
        with counted(resources, caller, kind):
            await self._app(scope, receive, send)


def judge_origin(
    scope: Scope, resources: Resources, route: Route | None, *, needs_key: bool
) -> Ruling:
    """Judge where a request comes from by its headers."""
    headers, settings = Headers(scope=scope), resources.settings
    policy = Policy(
        needs_key=needs_key,
        allowed_hosts=settings.own_names,
        cors_origins=settings.listed("cors_origins"),
    )
    asked = Asked(
        method=scope["method"],
        hosts=headers.getlist("host"),
        origin=headers.get("origin"),
        fetch_site=headers.get("sec-fetch-site"),
        fetch_mode=headers.get("sec-fetch-mode"),
        fetch_dest=headers.get("sec-fetch-dest"),
        is_page=route is not None and route.is_page,
    )
    return judge(asked, policy)


def _refusal(scope: Scope, path: str, error: PromptmillError) -> Response:
    """Response to a refused request, in the format of the API that it is for."""
    told = api_error(error, missing=("not_found", None)) if path.startswith(PREFIX) else None
    if told is None:
        return error_response(scope, error)
    count_refusal(error)
    return answer_of_dialect(told)


def _adding(extra: Mapping[str, str], send: Send) -> Send:
    """Wrap `send` to add headers to the response."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(extra)
        await send(message)

    return send_with_headers

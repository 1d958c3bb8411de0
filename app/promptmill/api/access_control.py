"""The way into the API: what the browser's headers allow, before any route is looked at.

Plain ASGI, so that bodies and streams pass through untouched. The rules are in `access`.
"""

from __future__ import annotations

from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptmill.access.browser import Asked, Let, Policy, Ruling, cors_headers, judge
from promptmill.access.routes import Route, find_route
from promptmill.api.dependencies import resources_in
from promptmill.api.errors.problems import error_response
from promptmill.services.resources import Resources

_ALWAYS_OPEN: Final = "/health"
"""Whoever watches over the process asks for it, by any name, also when the database is away."""


class AccessControl:
    """Refuses requests that may not be made; the others pass through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Decide about one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = path_below_root(scope)
        route = find_route(path)
        if path == _ALWAYS_OPEN:
            await self._app(scope, receive, send)
            return
        app: FastAPI = scope["app"]
        ruling = judge_origin(scope, resources_in(app), route)
        if not isinstance(ruling, Let):
            await error_response(scope, ruling)(scope, receive, send)
        elif ruling.cors_origin is None:
            await self._app(scope, receive, send)
        else:
            await self._cross_origin(ruling.cors_origin, scope, receive, send)

    async def _cross_origin(self, origin: str, scope: Scope, receive: Receive, send: Send) -> None:
        is_preflight = scope["method"] == "OPTIONS"
        extra = cors_headers(origin, preflight=is_preflight)
        if is_preflight:
            await Response(status_code=204, headers=extra)(scope, receive, send)
            return

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(extra)
            await send(message)

        await self._app(scope, receive, send_readable)


def judge_origin(scope: Scope, resources: Resources, route: Route | None) -> Ruling:
    """What the headers of a request say about where it comes from."""
    headers = Headers(scope=scope)
    settings = resources.settings
    policy = Policy(
        allowed_hosts=settings.own_names,
        cors_origins=settings.trusted_origins,
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


def path_below_root(scope: Scope) -> str:
    """The path of a request without the prefix of a proxy."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path

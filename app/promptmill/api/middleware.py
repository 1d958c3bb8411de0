"""Middleware of every request: an id, headers, one log line, and a response to unexpected errors.

Plain ASGI: bodies and streams pass through untouched.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptmill.access.browser import safety_headers
from promptmill.access.routes import Route, find_route, path_below_root
from promptmill.api.errors.problems import INTERNAL_ERROR, problem_response
from promptmill.api.openai.errors import PREFIX, error_response, internal_error
from promptmill.domain.access.keys import Caller
from promptmill.observability.logs import get_logger
from promptmill.observability.metrics import HTTP_DURATION, HTTP_REQUESTS, OTHER

REQUEST_ID_HEADER: Final = "X-Request-ID"
_REQUEST_ID: Final = REQUEST_ID_HEADER.lower().encode()

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
_POLLED: Final = frozenset({"/health", "/ready", "/metrics"})
"""Paths that clients poll; they are logged only if they fail."""
_OK: Final = 200
_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_log = get_logger()


class RequestContext:
    """Middleware that assigns ids, responds to unexpected errors, and logs each request."""

    def __init__(self, app: ASGIApp, *, root_path: str = "") -> None:
        """`root_path` is the prefix under which a proxy serves the application."""
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; pass on other connections."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._root_path:
            scope["root_path"] = self._root_path
        request_id = _request_id(scope)
        route = find_route(path_below_root(scope))
        scope.setdefault("state", {}).update(request_id=request_id, route=route)
        client = scope["client"][0] if scope.get("client") else None
        # Until the end of the request's task, in which nothing else is logged.
        structlog.contextvars.bind_contextvars(request_id=request_id, client=client)
        await _Exchange(request_id, route).run(self._app, scope, receive, send)


class _Exchange:
    """One request with its response."""

    def __init__(self, request_id: str, route: Route | None) -> None:
        self._request_id = request_id
        self._route = OTHER if route is None else route.path
        self._began = time.perf_counter()
        self._status: int | None = None
        """Status of the response; None until it has begun."""

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                self._count(scope["method"], message["status"])
                given = message["headers"]
                named = (_REQUEST_ID, self._request_id.encode())
                message["headers"] = [*given, named, *safety_headers(given)]
            await send(message)

        try:
            await app(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # The client has left; the log line says so.
        except Exception:
            _log.exception("A request failed unexpectedly", action="http_request_failed")
            if self._status is not None:
                raise  # The response has begun; only closing the connection reports the error.
            await _unexpected(scope)(scope, receive, send_with_headers)
        finally:
            self._log(scope)

    def _count(self, method: str, status: int) -> None:
        method = method if method in _METHODS else OTHER
        HTTP_REQUESTS.labels(method, self._route, str(status)).inc()
        HTTP_DURATION.labels(method, self._route).observe(time.perf_counter() - self._began)

    def _log(self, scope: Scope) -> None:
        if self._route in _POLLED and self._status == _OK:
            return
        caller: Caller | None = scope["state"].get("caller")
        _log.info(
            "Request answered" if self._status else "Client left before an answer",
            action="http_request",
            method=scope["method"],
            route=self._route,
            path=scope["path"],
            status=self._status,
            duration_s=round(time.perf_counter() - self._began, 6),
            key=caller.name if caller else None,
        )


def _unexpected(scope: Scope) -> Response:
    """Response to a request with an unexpected error."""
    if path_below_root(scope).startswith(PREFIX):
        return error_response(internal_error())
    text = "The service failed; its log tells more under the request id."
    return problem_response(scope, INTERNAL_ERROR, text)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _SANE_ID.fullmatch(given) else secrets.token_hex(16)

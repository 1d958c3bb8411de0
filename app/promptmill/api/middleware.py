"""What every request goes through: an id, headers, one log line, and a net for the unexpected.

Plain ASGI: a body passes through untouched and streams stay streams.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from promptmill.access.browser import safety_headers
from promptmill.api.errors.problems import INTERNAL_ERROR, problem_response
from promptmill.observability.logs import get_logger

REQUEST_ID_HEADER: Final = "X-Request-ID"

_SANE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_log = get_logger()


class RequestContext:
    """Names each request, answers what nobody caught, and writes one line about it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything else passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await _Exchange(request_id).run(self._app, scope, receive, send)


class _Exchange:
    """One request and its answer."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        self._status: int | None = None
        """Of the answer; None until it has begun."""

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = self._request_id
                is_html = headers.get("content-type", "").startswith("text/html")
                for name, value in safety_headers(is_html=is_html).items():
                    headers.setdefault(name, value)
            await send(message)

        started = time.perf_counter()
        try:
            await app(scope, receive, send_with_headers)
        except ClientDisconnect:
            pass  # Nobody is there to be answered; the line below says so.
        except Exception:
            _log.exception("A request failed unexpectedly", action="http_request_failed")
            if self._status is not None:
                raise  # The answer is under way; only closing the connection tells of the fault.
            response = problem_response(
                scope,
                INTERNAL_ERROR,
                "The service failed; its log tells more under the request id.",
            )
            await response(scope, receive, send_with_headers)
        finally:
            _log.info(
                "Request answered" if self._status else "Client left before an answer",
                action="http_request",
                method=scope["method"],
                path=scope["path"],
                status=self._status,
                duration_s=round(time.perf_counter() - started, 6),
            )


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
    return given if _SANE_ID.fullmatch(given) else secrets.token_hex(16)

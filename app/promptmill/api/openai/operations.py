"""Addresses of the dialect: their methods, and the common handling of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from promptmill.api.openai.errors import (
    NO_RETRY,
    ApiError,
    api_error,
    error_response,
    internal_error,
)
from promptmill.observability.logs import get_logger
from promptmill.services.openai.lines import decoded
from promptmill.services.openai.translation.faults import (
    Fault,
    invalid_choice,
    invalid_value,
    unknown,
)

Handler = Callable[[Request], Awaitable[Response]]

MOST_JSON_BYTES: Final = 1024 * 1024
_SMALL: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Operation:
    """Method of an address."""

    handler: Handler
    query: tuple[str, ...] = ()
    """Query parameters of the method."""


class Address:
    """ASGI application of one address with all its methods."""

    def __init__(
        self, *, missing: tuple[str, str | None] = ("not_found", None), **operations: Operation
    ) -> None:
        """`operations` by method; `missing` are code and param of what is not found there."""
        self._operations = {method.upper(): one for method, one in operations.items()}
        if "GET" in self._operations:
            self._operations.setdefault("HEAD", self._operations["GET"])
        self._missing = missing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        try:
            response = await self._response(request)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - each becomes an answer in the dialect
            told = api_error(error, missing=self._missing)
            if told is None:
                get_logger().exception(
                    "A request failed unexpectedly", action="http_request_failed"
                )
            response = error_response(told or internal_error())
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        operation = self._operations.get(request.method)
        if operation is None:
            allowed = ", ".join(sorted(self._operations))
            message = f"Not allowed to {request.method} on {request.url.path}: {allowed} are."
            fault = Fault(message, None, "method_not_supported")
            raise ApiError(405, fault, headers={"Allow": allowed})
        if request.headers.get("content-encoding", "identity") != "identity":
            message = "Send the body uncompressed, without a Content-Encoding."
            raise ApiError(415, Fault(message, None, "unsupported_content_type"))
        for name in request.query_params:
            if name not in operation.query:
                raise ApiError(400, unknown(name, name, operation.query))
        return await operation.handler(request)


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """Respond to an unknown address under `/v1`."""
    method, path = scope["method"], scope["path"]
    fault = Fault(f"Invalid URL ({method} {path})", None, "unknown_url")
    await error_response(ApiError(404, fault, headers=NO_RETRY))(scope, receive, send)


# --- what handlers read ----------------------------------------------------------------------


async def json_body(request: Request, *, most: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """Read the body as a JSON object.

    Raises:
        ApiError: The body is too large, not sent as JSON, or not a JSON object.
    """
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > most:
            message = f"The body has more than {most} bytes."
            raise ApiError(
                400, Fault(message, None, "invalid_value"), headers={"Connection": "close"}
            )
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        message = "Send the body as Content-Type: application/json."
        raise ApiError(415, Fault(message, None, "unsupported_content_type"))
    content = bytes(body)
    try:
        if len(content) <= _SMALL:
            return decoded(content)
        return await asyncio.to_thread(decoded, content)
    except ValueError as error:
        message = f"We could not parse the body of your request: {error}."
        raise ApiError(400, Fault(message, None, "invalid_json")) from None


def limit_of(query: Mapping[str, str], *, usual: int, most: int) -> int:
    """Read the parameter `limit`.

    Raises:
        ApiError: The parameter is not a number from 1 to `most`.
    """
    text = query.get("limit")
    if text is None:
        return usual
    if not text.isdecimal() or not text.isascii():
        message = "Invalid type for 'limit': expected an integer."
        raise ApiError(400, Fault(message, "limit", "invalid_type"))
    limit = int(text[:9])
    if not 1 <= limit <= most:
        side = "below_min" if limit < 1 else "above_max"
        message = f"Invalid 'limit': it must be from 1 to {most}."
        raise ApiError(400, Fault(message, "limit", f"integer_{side}_value"))
    return limit


def after_of(query: Mapping[str, str], is_id: Callable[[str], object]) -> str | None:
    """Read the parameter `after`.

    Raises:
        ApiError: The parameter does not have the form of an id.
    """
    after = query.get("after")
    if after is not None and not is_id(after):
        why = "It has to be an id that a list showed, such as its last_id."
        raise ApiError(400, invalid_value("after", after, why))
    return after


def choice_of(query: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    """Read a parameter that takes one of several words.

    Raises:
        ApiError: The parameter is another word.
    """
    value = query.get(name)
    if value is not None and value not in choices:
        raise ApiError(400, invalid_choice(name, value, choices))
    return value


def idempotency_key(request: Request) -> str | None:
    """Read the header `Idempotency-Key`.

    Raises:
        ApiError: The header is not a valid key.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):  # noqa: PLR2004 - the column's width
        message = "Invalid Idempotency-Key: it has to be 1 to 255 ASCII characters."
        raise ApiError(400, Fault(message, None, "invalid_value"))
    return key


def is_sent_again(request: Request) -> bool:
    """Whether the client's library declares the request a repetition."""
    return request.headers.get("x-stainless-retry-count", "0") not in {"", "0"}


def page(documents: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """Page of a list in OpenAI's form."""
    return {
        "object": "list",
        "data": documents,
        "first_id": documents[0]["id"] if documents else None,
        "last_id": documents[-1]["id"] if documents else None,
        "has_more": has_more,
    }


def seconds(moment_ms: int | None) -> int | None:
    """Moment in whole seconds, the dialect's unit."""
    return None if moment_ms is None else moment_ms // 1000

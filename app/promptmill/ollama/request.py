"""Request of a prompt: its path, and its body as bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from promptmill.domain.calls import Call

_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


PATHS = GENERATE, CHAT, EMBED = "/api/generate", "/api/chat", "/api/embed"
"""Paths of Ollama's API for calls."""


def path_of(call: Call) -> str:
    """Path for a call."""
    if call.texts is not None:
        return EMBED
    return GENERATE if call.messages is None else CHAT


def encode(call: Call) -> bytes:
    """Encode the body of a prompt's request; the call's own fields take precedence.

    An answer is always streamed, vectors are always returned whole.

    Raises:
        TypeError: A value is of a type that JSON lacks.
        ValueError: A number is infinite or not a number, or there is nothing to send or two things.
        RecursionError: The parameters are nested too deeply.
    """
    if [call.prompt, call.messages, call.texts].count(None) != 2:  # noqa: PLR2004 - one of three
        raise ValueError("exactly one of prompt, messages and texts must be given")
    body: dict[str, Any] = dict(call.parameters)
    body["model"] = call.model
    if call.texts is not None:
        body["input"] = call.texts
    elif call.messages is None:
        body["prompt"] = call.prompt
    else:
        body["messages"] = [dict(message) for message in call.messages]
    if call.texts is None:
        body["stream"] = True
    # ASCII with escapes, so that a lone surrogate in a prompt can be sent at all.
    return _JSON.encode(body).encode("ascii")


def post(url: httpx.URL, body: bytes, extensions: dict[str, Any]) -> httpx.Request:
    """Build the request that sends `body`; a large one in pieces, not to block the loop.

    aiohttp warns about large bodies in one piece for that reason.
    """
    if len(body) <= _LARGE:
        return httpx.Request("POST", url, content=body, extensions=extensions)
    length = {"Content-Length": str(len(body))}
    pieces = _Pieces(body)
    return httpx.Request("POST", url, headers=length, stream=pieces, extensions=extensions)


_LARGE = 1024 * 1024
_PIECE = 256 * 1024


class _Pieces(httpx.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = memoryview(body)

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        for at in range(0, len(self._body), _PIECE):
            yield bytes(self._body[at : at + _PIECE])

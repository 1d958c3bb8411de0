"""A prompt's request: where it goes, and its body as bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx

from promptmill.domain.calls import Call

_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


PATHS = GENERATE, CHAT, EMBED = "/api/generate", "/api/chat", "/api/embed"
"""The paths of Ollama's API that calls go to."""


def path_of(call: Call) -> str:
    """The path that the call goes to."""
    if call.texts is not None:
        return EMBED
    return GENERATE if call.messages is None else CHAT


def encode(call: Call) -> bytes:
    """The body of a prompt's request; the call's own fields win.

    An answer always comes as a stream, vectors always come whole.

    Raises:
        TypeError: A value is nothing that JSON knows.
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
    """The request that sends `body`; a large one (images) in pieces, so that the loop is not held.

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

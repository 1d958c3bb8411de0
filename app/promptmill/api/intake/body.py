"""Receiving of a request's body: whole within a bound, or line by line as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final, TypeVar

from fastapi import Request

from promptmill.api.errors.problems import (
    BODY_STALLED,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    Refused,
)

T = TypeVar("T")

JSON: Final = "application/json"
SMALL_BYTES: Final = 1024 * 1024
"""Most bytes of a body other than a batch; 100,000 indexes of prompts have room."""

SILENCE_S: Final = 60.0
"""Seconds within which more of a body must arrive."""
_LONGEST_SILENCE_S: Final = 3600.0
"""The same for NDJSON bodies, which may be made while they are sent."""
_BLOCK_BYTES: Final = 256 * 1024
_INLINE_BYTES: Final = 16 * 1024
"""Bytes up to which a body is read at once, because the way to a thread takes longer."""


def require_media_type(request: Request, known: Collection[str], wanted: str) -> str:
    """Determine the body's media type, in lower case; `wanted` names the known ones in words.

    Raises:
        Refused: The media type is unknown, or the body is not in UTF-8, or compressed.
    """
    given, _, parameters = request.headers.get("content-type", "").partition(";")
    media_type = given.strip().lower()
    if media_type not in known:
        said = f"it is {given.strip()[:64]!a}" if given else "it is missing"
        raise Refused(UNSUPPORTED_MEDIA_TYPE, f"The header Content-Type must be {wanted}; {said}.")
    for parameter in filter(None, parameters.split(";")):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' "').lower() not in {"utf-8", "utf8"}:
            raise Refused(UNSUPPORTED_MEDIA_TYPE, "The body must be in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused(
            UNSUPPORTED_MEDIA_TYPE, "The body must be sent uncompressed, without Content-Encoding."
        )
    return media_type


async def receive_small(request: Request) -> bytes:
    """Receive the bytes of a small JSON body; empty without a body.

    Raises:
        Refused: The body is too large, or its header does not name JSON.
    """
    refusal = f"The body of this request may have {SMALL_BYTES} bytes at most."
    body = await receive_whole(request, SMALL_BYTES, refusal)
    if body:
        require_media_type(request, {JSON}, JSON)
    return body


async def receive_whole(
    request: Request, most_bytes: int, refusal: str, *, silence_s: float = SILENCE_S
) -> bytes:
    """Receive the bytes of the body.

    Raises:
        Refused: There are more than `most_bytes`, with the sentence `refusal`; or nothing came for
            `silence_s` seconds.
    """
    body = bytearray()
    async for chunk in _chunks(request, most_bytes, refusal, silence_s):
        body += chunk
    return bytes(body)


async def blocks(request: Request, most_bytes: int, refusal: str) -> AsyncIterator[bytes]:
    """Yield the body in blocks of about 256 KiB, however the network has cut it.

    Raises:
        Refused: There are more than `most_bytes`; with the sentence `refusal`.
    """
    pending = bytearray()
    async for chunk in _chunks(request, most_bytes, refusal, _LONGEST_SILENCE_S):
        pending += chunk
        while len(pending) >= _BLOCK_BYTES:
            yield bytes(pending[:_BLOCK_BYTES])
            del pending[:_BLOCK_BYTES]
    if pending:
        yield bytes(pending)


async def read_aside(read: Callable[[bytes], T], body: bytes, received: int | None = None) -> T:
    """Run `read` on bytes, in a thread unless they, or the bytes `received`, are few."""
    if (len(body) if received is None else received) <= _INLINE_BYTES:
        return read(body)
    return await asyncio.to_thread(read, body)


async def _chunks(
    request: Request, most_bytes: int, refusal: str, silence_s: float
) -> AsyncIterator[bytes]:
    declared = request.headers.get("content-length", "")
    received = int(declared[:20]) if declared.isdecimal() else 0
    if received > most_bytes:
        raise Refused(BODY_TOO_LARGE, refusal)
    received = 0
    chunks = request.stream()
    while True:
        try:
            async with asyncio.timeout(silence_s):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refused(
                BODY_STALLED, f"Nothing has come of the body for {silence_s:g} s."
            ) from None
        received += len(chunk)
        if received > most_bytes:
            raise Refused(BODY_TOO_LARGE, refusal)
        yield chunk

"""Receiving the body of `POST /batches` without stopping the event loop or keeping the body.

The body goes through the incremental reader as it arrives, in a thread, block by block; what stays
in memory are the prompts. Bytes beyond the limit are never read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from fastapi import Request

from app.api.batch_reader import ReadingLimits, read_batch
from app.api.json_stream import MalformedJson
from app.api.problems import BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Refused
from app.domain.errors import Invalid
from app.domain.jobs import BatchDraft
from app.settings import Settings

_BLOCK_BYTES: Final = 256 * 1024
"""A step's worth of body: a few milliseconds of decoding."""
_INLINE_BYTES: Final = 16 * 1024
"""Bodies up to this size are read on the spot; the way to a thread would take longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBatch:
    """A batch as it came in."""

    draft: BatchDraft
    sha256: str
    """Of the body's bytes, hexadecimal: two requests with the same one asked for the same."""


async def receive_batch(request: Request, settings: Settings) -> ReceivedBatch:
    """Read and check the whole body.

    Raises:
        Refused: It is too large or no JSON by its header.
        MalformedJson: It is no JSON.
        Invalid: Everything else that is wrong with it, all at once.
    """
    _require_json(request)
    intake = _Intake(settings)
    refusal: Exception | None = None
    async for block in _blocks(request, settings.max_body_bytes):
        # A refused body is read to its end all the same, or the client would still be sending
        # when the connection closes, and never see why.
        if refusal is None:
            try:
                await intake.take(block)
            except (MalformedJson, Invalid) as error:
                refusal = error
    if refusal is not None:
        raise refusal
    return await intake.finish()


class _Intake:
    """The reader and the checksum, fed together."""

    def __init__(self, settings: Settings) -> None:
        self._hash = hashlib.sha256()
        self._draft: BatchDraft | None = None
        self._received = 0
        self._reader = read_batch(
            ReadingLimits(
                max_prompts=settings.max_prompts,
                max_prompt_bytes=settings.max_prompt_bytes,
                default_model=settings.default_model,
            )
        )
        next(self._reader)

    async def take(self, block: bytes) -> None:
        self._received += len(block)
        if self._received <= _INLINE_BYTES:
            self._feed(block)
        else:
            await asyncio.to_thread(self._feed, block)

    async def finish(self) -> ReceivedBatch:
        await self.take(b"")
        if self._draft is None:
            raise RuntimeError("The reader of a batch waits for more after the end.")
        return ReceivedBatch(draft=self._draft, sha256=self._hash.hexdigest())

    def _feed(self, block: bytes) -> None:
        self._hash.update(block)
        try:
            self._reader.send(block)
        except StopIteration as end:
            self._draft = end.value


def _require_json(request: Request) -> None:
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json":
        given = f"it is {media_type.strip()[:64]!a}" if media_type else "it is missing"
        raise Refused(
            UNSUPPORTED_MEDIA_TYPE, f"The header Content-Type must be application/json; {given}."
        )
    for parameter in filter(None, parameters.split(";")):
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip(' "').lower() not in {"utf-8", "utf8"}:
            raise Refused(UNSUPPORTED_MEDIA_TYPE, "The body must be in UTF-8.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refused(
            UNSUPPORTED_MEDIA_TYPE, "The body must be sent uncompressed, without Content-Encoding."
        )


async def _blocks(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in blocks of about `_BLOCK_BYTES`, however the network has cut it."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise _too_large(max_bytes)
    received = 0
    pending = bytearray()
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        if not pending and len(chunk) > _BLOCK_BYTES:
            for start in range(0, len(chunk), _BLOCK_BYTES):
                yield chunk[start : start + _BLOCK_BYTES]
            continue
        pending += chunk
        if len(pending) >= _BLOCK_BYTES:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


def _too_large(max_bytes: int) -> Refused:
    return Refused(
        BODY_TOO_LARGE,
        f"The body may have {max_bytes} bytes at most. Send the prompts in several batches.",
    )

"""Receiving a body of `POST /batches` without stopping the event loop or keeping the body.

The body goes through an incremental reader as it arrives, in a thread, block by block. What stays
in memory of the JSON form are the prompts (`receive_batch`); of the NDJSON form not even those
(`NdjsonBody`). Bytes beyond the limit are never read.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from fastapi import Request

from promptmill.api.errors.problems import BODY_TOO_LARGE, Refused
from promptmill.api.installed_models import ModelCheck
from promptmill.api.intake.batch_fields import read_fields
from promptmill.api.intake.batch_query import canonical, fields_of_query
from promptmill.api.intake.batch_reader import read_batch
from promptmill.api.intake.json_stream import MalformedJson
from promptmill.api.intake.media_type import require_media_type
from promptmill.api.intake.ndjson_reader import QUERY, LineFaults, NdjsonReader
from promptmill.api.intake.prompt_reader import ReadingLimits
from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.errors import Invalid
from promptmill.settings import Settings

_Read = TypeVar("_Read")

_BLOCK_BYTES: Final = 256 * 1024
"""A step's worth of body: a few milliseconds of decoding."""
_INLINE_BYTES: Final = 16 * 1024
"""Bodies up to this size are read on the spot; the way to a thread would take longer."""
_PIECE_PROMPTS: Final = 2_000
_PIECE_BYTES: Final = 1024 * 1024


class BodyForm(StrEnum):
    """The forms that a batch may be sent in, by their media types."""

    JSON = "application/json"
    """One object with a list of prompts."""
    NDJSON = "application/x-ndjson"
    """A prompt on each line; the other fields are query parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedBatch:
    """A batch as it came in."""

    draft: BatchDraft
    sha256: str
    """Of the body's bytes, hexadecimal: two requests with the same one asked for the same."""


def body_form(request: Request) -> BodyForm:
    """The form of the body, by its header.

    Raises:
        Refused: It is neither, or not in UTF-8, or compressed.
    """
    wanted = "application/json, or application/x-ndjson for a prompt per line"
    return BodyForm(require_media_type(request, set(BodyForm), wanted))


async def receive_batch(
    request: Request, settings: Settings, models: ModelCheck | None = None
) -> ReceivedBatch:
    """Read and check the whole of a JSON body.

    `models` is given when every model that is named has to be installed, but for `auto_pull`.

    Raises:
        Refused: It is too large.
        MalformedJson: It is no JSON.
        Invalid: Everything else that is wrong with it, all at once.
    """
    intake = _JsonIntake(settings, models)
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


class NdjsonBody:
    """An NDJSON body on its way, with the batch that its query parameters describe."""

    def __init__(
        self, request: Request, settings: Settings, models: ModelCheck | None = None
    ) -> None:
        """Nothing of the body is read yet; `models` as in `receive_batch`.

        Raises:
            Invalid: There are far too many query parameters.
        """
        self._request = request
        self._most_bytes = settings.max_upload_bytes
        self._faults = LineFaults()
        limits = _reading_limits(settings, settings.max_upload_prompts)
        self.draft = read_fields(
            fields_of_query(request, self._faults), limits, self._faults, place=QUERY
        )
        """The batch without its prompts; worthless until `pieces` has ended without an error."""
        self._reader = NdjsonReader(limits, self.draft, self._faults, models)
        self._hash = hashlib.sha256(canonical(request))

    @property
    def sha256(self) -> str:
        """Of what has been read and of the parameters, hexadecimal."""
        return self._hash.hexdigest()

    @property
    def prompts(self) -> int:
        """How many have been read."""
        return self._reader.count

    async def pieces(self) -> AsyncIterator[list[PromptDraft]]:
        """The prompts, some thousands at a time, for as long as nothing is wrong.

        Raises:
            Refused: The body is too large.
            Invalid: Every line and parameter that is wrong, after the last line.
        """
        piece: list[PromptDraft] = []
        size = received = 0
        async for block in _blocks(self._request, self._most_bytes):
            received += len(block)
            piece += await _aside(received, self._feed, block)
            size += len(block)
            if self._faults:
                piece.clear()  # Nothing will be stored; the rest is read for what is wrong in it.
            elif len(piece) >= _PIECE_PROMPTS or size >= _PIECE_BYTES:
                yield piece
                piece, size = [], 0
        piece += self._reader.end()
        self._faults.raise_if_any()
        yield piece

    def _feed(self, block: bytes) -> list[PromptDraft]:
        self._hash.update(block)
        return self._reader.feed(block)


class _JsonIntake:
    """The reader of the JSON form and the checksum, fed together."""

    def __init__(self, settings: Settings, models: ModelCheck | None) -> None:
        self._hash = hashlib.sha256()
        self._draft: BatchDraft | None = None
        self._received = 0
        self._reader = read_batch(_reading_limits(settings, settings.max_prompts), models)
        next(self._reader)

    async def take(self, block: bytes) -> None:
        self._received += len(block)
        await _aside(self._received, self._feed, block)

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


async def _aside(received: int, read: Callable[[bytes], _Read], block: bytes) -> _Read:
    """Read a block, in a thread unless the body is small so far."""
    if received <= _INLINE_BYTES:
        return read(block)
    return await asyncio.to_thread(read, block)


def _reading_limits(settings: Settings, max_prompts: int) -> ReadingLimits:
    return ReadingLimits(
        max_prompts=max_prompts,
        max_prompt_bytes=settings.max_prompt_bytes,
        default_model=settings.default_model,
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

"""A small JSON object as a body: received whole, within a bound, and judged as strictly as a batch.

For requests about a batch that is there already. `POST /batches` streams; see `request_body`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from fastapi import Request

from promptmill.api.errors.problems import BODY_TOO_LARGE, Refused
from promptmill.api.errors.violations import Faults
from promptmill.api.intake.json_stream import MAX_MEMBERS, JsonStream, MalformedJson, Step
from promptmill.api.intake.media_type import require_media_type
from promptmill.domain.errors import FieldProblem, Invalid

T = TypeVar("T")

MOST_BYTES: Final = 1024 * 1024
"""Most bytes of such a body: 100,000 indexes of prompts have room, and it is decoded in one go."""
_INLINE_BYTES: Final = 16 * 1024
"""Bodies up to this size are read on the spot; the way to a thread would take longer."""
_MEDIA_TYPE: Final = "application/json"


async def receive_whole(request: Request) -> bytes:
    """The bytes of the body; empty if there is none.

    Raises:
        Refused: There are too many of them, or by its header the body is no JSON.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > MOST_BYTES:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        if len(body) + len(chunk) > MOST_BYTES:
            raise _too_large()
        body += chunk
    if body:
        require_media_type(request, {_MEDIA_TYPE}, _MEDIA_TYPE)
    return bytes(body)


async def read_aside(read: Callable[[bytes], T], body: bytes) -> T:
    """What `read` makes of the body, in a thread unless it is small."""
    if len(body) <= _INLINE_BYTES:
        return read(body)
    return await asyncio.to_thread(read, body)


def members_of(body: bytes, faults: Faults) -> dict[str, Any]:
    """The members of the object that the body is; a name given twice is noted.

    Raises:
        MalformedJson: It is no JSON.
        Invalid: It is no object, or one with far too many members.
    """
    reading = _read_object(JsonStream(), faults)
    next(reading)
    try:
        reading.send(body)
        reading.send(b"")
    except StopIteration as end:
        members: dict[str, Any] = end.value
        return members
    raise AssertionError  # the reader ends at the end


def null_faults(members: Mapping[str, Any], why: str) -> Iterator[tuple[tuple[str], str]]:
    """A fault for each member that is null where null has no meaning; `why` says what to do."""
    for name, value in members.items():
        if value is None:
            yield (name,), f"must not be null; {why}"


def _read_object(stream: JsonStream, faults: Faults) -> Step[dict[str, Any]]:
    opening = yield from stream.peek()
    if not opening:
        raise MalformedJson("The body is empty; send a JSON object.")
    if opening != "{":
        yield from stream.value()
        yield from stream.end()
        raise Invalid("The body must be a JSON object.", (FieldProblem("", "must be an object"),))
    stream.enter()
    members: dict[str, Any] = {}
    while (name := (yield from stream.next_name(first=not members))) is not None:
        if name in members:
            faults.add((name,), "is given twice; give it once")
        if len(members) == MAX_MEMBERS:
            faults.add((), f"has more than {MAX_MEMBERS} members")
            faults.raise_if_any()
        members[name] = yield from stream.value()
        for twice in stream.repeated_names:
            faults.add((name,), f"has the name `{twice[:64]}` twice in one object; give it once")
        stream.repeated_names.clear()
    yield from stream.end()
    return members


def _too_large() -> Refused:
    return Refused(BODY_TOO_LARGE, f"The body of this request may have {MOST_BYTES} bytes at most.")

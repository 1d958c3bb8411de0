"""`/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`: one call, answered at once."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final, cast

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse

from promptmill.api.dependencies import caller_in, resources_of
from promptmill.api.openai.errors import ApiError, api_error, envelope, json_response
from promptmill.api.openai.operations import Address, Operation, json_body
from promptmill.domain.access.keys import Caller
from promptmill.domain.batches import TEXTS
from promptmill.domain.calls import Call
from promptmill.domain.outcomes import Failed, Outcome, Succeeded
from promptmill.observability.logs import get_logger
from promptmill.ollama.answer_checks.json_schema import schema_fault
from promptmill.ollama.heard_answer import Piece
from promptmill.services.openai.chunks import Chunks, event
from promptmill.services.openai.lines_out import error_of
from promptmill.services.openai.online import answer
from promptmill.services.openai.render import answer_body
from promptmill.services.openai.translation.faults import Fault, invalid_type
from promptmill.services.openai.translation.fields import Fields
from promptmill.services.openai.translation.translate import PARAMETERS, Endpoint, translate
from promptmill.services.resources import Resources

_MOST_BYTES: Final = 32 * 1024 * 1024
_TIMEOUT_S: Final = 600.0
_MISSING: Final = ("model_not_found", "model")

Asked = asyncio.Task[Outcome]


async def _answer(request: Request, endpoint: Endpoint) -> Response:
    resources, caller = resources_of(request), await caller_in(request)
    members = await json_body(request, most=_MOST_BYTES)
    call, mark = await asyncio.to_thread(_call, endpoint, members)
    name, created = secrets.token_hex(12), int(time.time())
    if members.get("stream"):
        chunks = Chunks(
            endpoint,
            name=name,
            created=created,
            model=call.model,
            with_usage=_wants_usage(members),
        )
        return await _stream(request, resources, call, caller, chunks)
    asking = asyncio.create_task(answer(resources, call, caller=caller), name="online")
    outcome = await _unless_client_leaves(request, asking)
    body = await asyncio.to_thread(
        answer_body,
        endpoint,
        _succeeded(outcome),
        name=name,
        created=created,
        model=call.model,
        mark=mark,
    )
    return json_response(body)


def _call(endpoint: Endpoint, members: dict[str, Any]) -> tuple[Call, Mapping[str, Any]]:
    """Translate a request to the call, and to the data that its response needs."""
    found = translate(endpoint, members, usable_schema=schema_fault)
    fields = dict(found.fields)
    messages, texts = fields.pop("messages", None), fields.pop(TEXTS, [found.text])
    call = Call(
        model=found.model,
        prompt=found.text if endpoint is Endpoint.COMPLETIONS else None,
        messages=tuple(messages) if endpoint is Endpoint.CHAT else None,
        texts=tuple(texts) if endpoint is Endpoint.EMBEDDINGS else None,
        parameters={**PARAMETERS, **fields},
        timeout_s=_TIMEOUT_S,
        cut_is_answer=True,
    )
    return call, found.mark


def _wants_usage(members: dict[str, Any]) -> bool:
    given = members.get("stream_options")
    if given is None:
        return False
    if not isinstance(given, dict):
        raise ApiError(400, invalid_type("stream_options", given, "an object"))
    faults: list[Fault] = []
    inside = Fields(cast("dict[str, Any]", given), faults, place="stream_options")
    wanted = inside.flag("include_usage")
    # Whether chunks are padded changes no answer.
    inside.ignore({"include_obfuscation"})
    inside.finish()
    if faults:
        raise ApiError(400, *faults)
    return bool(wanted)


def _succeeded(outcome: Outcome) -> Succeeded:
    if isinstance(outcome, Failed):
        raise _failure(outcome)
    return outcome


def _failure(outcome: Failed) -> ApiError:
    status, told = error_of(outcome.code, outcome.message)
    fault = Fault(told["message"], told["param"], told["code"])
    headers = {"Retry-After": "5"} if status == 503 else None  # noqa: PLR2004 - HTTP's number
    return ApiError(status, fault, kind=told["type"], headers=headers)


async def _unless_client_leaves(request: Request, asking: Asked) -> Outcome:
    """Wait for the outcome; if the client leaves before, the call is aborted."""
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({asking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            raise ClientDisconnect
        return asking.result()
    finally:
        for task in (asking, leaving):
            task.cancel()
        await asyncio.wait({asking, leaving})


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(
    request: Request, resources: Resources, call: Call, caller: Caller, chunks: Chunks
) -> Response:
    pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
    asking = asyncio.create_task(
        answer(resources, call, caller=caller, heard=pieces.put_nowait), name="online"
    )
    asking.add_done_callback(lambda _: pieces.put_nowait(None))
    # What goes wrong before the first piece is an error of HTTP.
    first = await _unless_client_leaves_early(request, asking, pieces)
    if first is None:
        _succeeded(asking.result())
    return StreamingResponse(
        _events(asking, pieces, first, chunks),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
    )


async def _unless_client_leaves_early(
    request: Request, asking: Asked, pieces: asyncio.Queue[Piece | None]
) -> Piece | None:
    """Wait for the first piece; None without any."""
    hearing = asyncio.create_task(pieces.get())
    leaving = asyncio.create_task(_left(request))
    try:
        await asyncio.wait({hearing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if hearing.done():
            return hearing.result()
    except asyncio.CancelledError:
        asking.cancel()
        raise
    finally:
        for task in (hearing, leaving):
            task.cancel()
    asking.cancel()
    await asyncio.wait({asking})
    raise ClientDisconnect


async def _events(
    asking: Asked, pieces: asyncio.Queue[Piece | None], first: Piece | None, chunks: Chunks
) -> AsyncGenerator[bytes, None]:
    try:
        for chunk in chunks.first():
            yield chunk
        piece = first
        while piece is not None:
            for chunk in chunks.of(piece):
                yield chunk
            piece = await pieces.get()
        try:
            outcome = _succeeded(asking.result())
        except Exception as error:  # noqa: BLE001 - the stream has begun: the error is a part of it
            told = api_error(error, missing=_MISSING)
            if told is None:
                get_logger().exception("An online call failed", action="online_failed")
            faults = told.faults if told else [Fault("The service failed.", None, "internal_error")]
            yield event(envelope(faults, told.kind if told else "server_error"))
            return
        for chunk in chunks.last(outcome):
            yield chunk
    finally:
        # A client that leaves ends its call.
        asking.cancel()


def _at(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        return await _answer(request, endpoint)

    return handle


CHAT: Final = Address(post=Operation(_at(Endpoint.CHAT)), missing=_MISSING)
COMPLETIONS: Final = Address(post=Operation(_at(Endpoint.COMPLETIONS)), missing=_MISSING)
EMBEDDINGS: Final = Address(post=Operation(_at(Endpoint.EMBEDDINGS)), missing=_MISSING)

"""Endpoint `/batches/{id}/events`: progress and results of a batch as Server-Sent Events."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from typing import Annotated, Any, Final

import anyio
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from pydantic_core import to_json
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from promptmill.api.dependencies import BatchId, ResourcesOf, StrictRoute
from promptmill.api.documents.batches import batch_summary, result_document
from promptmill.api.errors.violations import Faults
from promptmill.api.openapi.document import always, success, unknown_batch
from promptmill.contract import examples
from promptmill.domain.batches import Batch
from promptmill.services import batches
from promptmill.services.events import (
    Ended,
    Event,
    Progressed,
    ResultsStored,
    follow,
    has_nothing_after,
    number_of,
)

router = APIRouter(prefix="/batches", tags=["Batches"], route_class=StrictRoute)

LAST_EVENT_ID: Final = "Last-Event-ID"
HEARTBEAT_S: Final = 15.0
"""Seconds between two comments; proxies cut a connection that is silent for 30 or 60."""
_RECONNECT_AFTER_MS: Final = 1000
_FAREWELL_S: Final = 1.0
"""Seconds after which an open stream is closed when the service stops.

A client that does not read cannot delay the stop further.
"""
_SEPARATOR: Final = "\n"
_PIECE_BYTES: Final = 64 * 1024
# No longer than the numbers of results in the store.
_ID: Final = re.compile(r"([0-9]{1,10})(-end)?")

_PATH: Final = f"/batches/{examples.BATCH_ID}/events"
_STREAM: Final = f"""\
retry: {_RECONNECT_AFTER_MS}

id: 0
event: progress
data: {to_json(examples.SUMMARY).decode()}

id: 1
event: result
data: {to_json(examples.RESULT).decode()}

: heartbeat

id: 3-end
event: end
data: {to_json({**examples.SUMMARY, "status": "completed"}).decode()}

"""
_CONTENT: Final[dict[str, Any]] = {
    "text/event-stream": {
        "schema": {
            "type": "string",
            "description": "`progress` and `end` carry a batch without its results as JSON,"
            " `result` a result. The `id` of each is what `Last-Event-ID` takes.",
        },
        "examples": {"stream": {"summary": "A batch that is followed", "value": _STREAM}},
    }
}
_LAST_EVENT_ID: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": LAST_EVENT_ID,
            "in": "header",
            "required": False,
            "description": "The `id` of the last event that has arrived: the stream goes on after"
            " it. Left out, it begins with the first result. A browser sends it by itself.",
            "schema": {"type": "string", "pattern": f"^{_ID.pattern}$", "examples": ["17"]},
        }
    ]
}


class EventQuery(BaseModel):
    """Query of the events."""

    results: bool = Field(
        default=False,
        description="Whether each result comes as an event of its own as soon as it is stored.",
        examples=[True],
    )


def _responses() -> dict[int | str, dict[str, Any]]:
    told = success(200, "The events, until the batch has ended")
    told[200]["content"] = _CONTENT
    return {
        **always(_PATH, f"/header/{LAST_EVENT_ID}", "must be the `id` of an event of this batch"),
        **told,
        **success(204, "The batch has ended and everything was told: a browser stops asking"),
        **unknown_batch(_PATH),
    }


@router.get(
    "/{batch_id}/events",
    response_model=None,
    response_class=EventSourceResponse,
    summary="Follow a batch",
    openapi_extra=_LAST_EVENT_ID,
    responses=_responses(),
)
async def follow_batch(
    request: Request,
    batch_id: BatchId,
    query: Annotated[EventQuery, Query()],
    resources: ResourcesOf,
) -> Response:
    """Follow a batch, and its results if wanted, as Server-Sent Events.

    `progress` is sent at once and after each change, at most four times a second; `result`, with
    `?results=true`, once for each result in the order of storing; `end` when the batch has ended.
    Then the stream closes.
    """
    batch = await batches.get(resources, batch_id)
    number, knows_the_end = _last_seen(request, batch)
    if knows_the_end and has_nothing_after(batch, number):
        return Response(status_code=204)
    stop = anyio.Event()
    told = follow(resources, batch_id, after=number, with_results=query.results, stop=stop)
    return event_stream(told, stop=stop)


def event_stream(
    told: AsyncGenerator[Event, None], *, stop: anyio.Event, heartbeat_s: float = HEARTBEAT_S
) -> EventSourceResponse:
    """Build the response of an event stream; `stop` is set when the service is about to end."""
    return EventSourceResponse(
        _written(told),
        headers={"Cache-Control": "no-store"},
        ping=heartbeat_s,
        ping_message_factory=lambda: ServerSentEvent(comment="heartbeat", sep=_SEPARATOR),
        sep=_SEPARATOR,
        shutdown_event=stop,
        shutdown_grace_period=_FAREWELL_S,
    )


def _last_seen(request: Request, batch: Batch) -> tuple[int, bool]:
    """Read the number of the last event that arrived, and whether it was the end.

    Raises:
        Invalid: The header is not the id of an event of this batch.
    """
    text = request.headers.get(LAST_EVENT_ID, "")
    if not text:
        return 0, False
    found = _ID.fullmatch(text)
    faults = Faults()
    if found is None:
        faults.add(("header", LAST_EVENT_ID), "must be the `id` of an event of this batch")
    elif int(found[1]) > batch.last_event:
        faults.add(
            ("header", LAST_EVENT_ID),
            f"is beyond the batch's last event, {batch.last_event}; is it another batch's?",
        )
    faults.raise_if_any()
    assert found is not None  # noqa: S101 - else the line above has raised
    return int(found[1]), found[2] is not None


async def _written(told: AsyncGenerator[Event, None]) -> AsyncGenerator[bytes, None]:
    yield ServerSentEvent(retry=_RECONNECT_AFTER_MS, sep=_SEPARATOR).encode()
    async with contextlib.aclosing(told) as events:
        async for event in events:
            for piece in _pieces_of(event):
                yield piece


def _pieces_of(event: Event) -> Iterator[bytes]:
    """Yield an event in pieces small enough for a client that stops reading."""
    match event:
        case Progressed():
            yield _message("progress", str(event.number), batch_summary(event.batch))
        case ResultsStored():
            piece = bytearray()
            for one in event.results:
                piece += _message("result", str(number_of(one)), result_document(one))
                if len(piece) >= _PIECE_BYTES:
                    yield bytes(piece)
                    piece.clear()
            if piece:
                yield bytes(piece)
        case Ended():
            yield _message("end", f"{event.number}-end", batch_summary(event.batch))


def _message(name: str, event_id: str, document: dict[str, Any]) -> bytes:
    # JSON has no raw line ends, so that a document is one line of data.
    data = to_json(document).decode()
    return ServerSentEvent(data, event=name, id=event_id, sep=_SEPARATOR).encode()

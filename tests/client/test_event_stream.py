"""Events out of a stream, and going on after a connection has broken."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.client import (
    EndEvent,
    ProgressEvent,
    PromptmillProblem,
    ResultEvent,
    ServiceUnreachable,
    UnexpectedAnswer,
)
from promptmill.client.event_stream import Message, MessageParser
from tests.client.test_clients import batch, result

Clients = Callable[..., Any]
HEADERS = {"content-type": "text/event-stream; charset=utf-8"}
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))


def told(name: str, event_id: str, document: object) -> bytes:
    data = json.dumps(document, ensure_ascii=False)
    return f"id: {event_id}\nevent: {name}\ndata: {data}\n\n".encode()


PROGRESS = told("progress", "0", batch())
RESULTS = [told("result", f"{number}", result(number)) for number in range(1, 4)]
END = told("end", "3-end", batch("completed"))


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Pieces of an answer, and how it breaks off, if it does."""

    def __init__(self, *pieces: bytes, breaks: bool = False) -> None:
        self._pieces = pieces
        self._breaks = breaks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if self._breaks:
            raise httpx.RemoteProtocolError("incomplete chunked read")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


class Service:
    """Answers one after the other, and what was asked for each."""

    def __init__(self, *answers: httpx.Response | Stream | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str | None]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.query.decode(), request.headers.get("last-event-id")))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Stream):
            return httpx.Response(200, stream=answer, headers=HEADERS)
        return answer


@given(
    sent=st.lists(st.tuples(TEXT, TEXT, TEXT.filter(bool))),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 400)),
)
def test_every_cut_gives_back_the_messages_that_were_written(
    sent: list[tuple[str, str, str]], end: str, cuts: list[int]
) -> None:
    stream = "".join(
        f"id: {event_id}{end}: a comment{end}event: {name}{end}data: {data}{end}{end}"
        for event_id, name, data in sent
    ).encode()
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    parser = MessageParser()

    messages = [
        message
        for start, stop in itertools.pairwise(places)
        for message in parser.feed(stream[start:stop])
    ]

    assert messages == [
        Message(name=name or "message", id=event_id, data=data) for event_id, name, data in sent
    ]


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"data:a\ndata: b\n\n", [Message(name="message", id="", data="a\nb")]),
        (b"id: 7\n\ndata: a\n\n", [Message(name="message", id="7", data="a")]),
        (
            b"id: 7\ndata: a\n\ndata: b\n\n",
            [Message(name="message", id="7", data=one) for one in "ab"],
        ),
        (b"id: 7\x008\ndata: a\n\n", [Message(name="message", id="", data="a")]),
        (b"event: x\n\ndata: a\n\n", [Message(name="message", id="", data="a")]),
        (b"data\n\n", [Message(name="message", id="", data="")]),
        (b": heartbeat\n\nretry: 1000\n\n", []),
        (b"data: whole\n\ndata: half\n", [Message(name="message", id="", data="whole")]),
    ],
)
def test_messages_are_read_as_the_standard_says(stream: bytes, messages: list[Message]) -> None:
    assert list(MessageParser().feed(stream)) == messages


def test_a_long_line_in_many_pieces_costs_no_more_than_its_length() -> None:
    parser = MessageParser()
    for piece in [b"data: ", *([b"x" * 100] * 20_000)]:
        assert list(parser.feed(piece)) == []

    (message,) = parser.feed(b"\n\n")
    assert len(message.data) == 2_000_000


async def test_a_batch_is_followed_to_its_end(client_of: Clients) -> None:
    service = Service(Stream(PROGRESS, b"".join(RESULTS), b": heartbeat\n\n", END))

    events = [one async for one in client_of(service).events("batch_1", results=True)]

    assert [(type(one), one.id) for one in events] == [
        (ProgressEvent, "0"),
        (ResultEvent, "1"),
        (ResultEvent, "2"),
        (ResultEvent, "3"),
        (EndEvent, "3-end"),
    ]
    assert events[1].result.index == 1
    assert events[-1].batch.has_ended
    assert service.asked == [("results=true", None)]


async def test_a_connection_that_breaks_is_made_again_behind_the_last_whole_event(
    client_of: Clients,
) -> None:
    service = Service(
        Stream(PROGRESS, RESULTS[0], RESULTS[1][:-1], breaks=True),
        httpx.ConnectError("refused"),
        httpx.Response(503, json={"title": "Starting"}),
        Stream(PROGRESS, RESULTS[1]),  # Ended properly, as by a service that stops.
        Stream(RESULTS[2] + END),
    )

    events = [one async for one in client_of(service).events("batch_1", results=True)]

    assert [one.id for one in events if isinstance(one, ResultEvent)] == ["1", "2", "3"]
    assert [last_id for _, last_id in service.asked] == [None, "1", "1", "1", "2"]


async def test_one_goes_on_from_the_event_that_was_named(client_of: Clients) -> None:
    service = Service(Stream(RESULTS[2], END))

    events = [one async for one in client_of(service).events("batch_1", last_event_id="2")]

    assert [one.id for one in events] == ["3", "3-end"]
    assert service.asked == [("", "2")]


async def test_nothing_comes_after_an_end_that_is_known(client_of: Clients) -> None:
    service = Service(httpx.Response(204))

    assert [one async for one in client_of(service).events("batch_1", last_event_id="3-end")] == []


async def test_events_of_a_newer_service_are_left_out(client_of: Clients) -> None:
    weather = told("weather", "2", {"rain": True})
    service = Service(Stream(PROGRESS, weather, breaks=True), Stream(END))

    assert [one.id async for one in client_of(service).events("batch_1")] == ["0", "3-end"]
    assert [last_id for _, last_id in service.asked] == [None, "2"]


async def test_a_service_that_does_not_come_back_is_given_up(client_of: Clients) -> None:
    service = Service(Stream(PROGRESS, breaks=True), httpx.ConnectError("refused"))
    events = client_of(service).events("batch_1", reconnect_s=0.01)

    assert (await anext(events)).id == "0"
    with pytest.raises(ServiceUnreachable, match="refused"):
        await anext(events)


async def test_a_service_that_tells_nothing_any_more_is_given_up(client_of: Clients) -> None:
    service = Service(Stream(PROGRESS), Stream())
    events = client_of(service).events("batch_1", reconnect_s=0.01)

    assert (await anext(events)).id == "0"
    with pytest.raises(ServiceUnreachable, match="ended before the batch"):
        await anext(events)


async def test_a_batch_that_is_deleted_meanwhile_is_a_problem(client_of: Clients) -> None:
    service = Service(Stream(PROGRESS), httpx.Response(404, json={"title": "Not found"}))
    events = client_of(service).events("batch_1")

    assert (await anext(events)).id == "0"
    with pytest.raises(PromptmillProblem, match="404"):
        await anext(events)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"<html>", "text/html"),
        (told("progress", "0", {"id": 7}), "text/event-stream"),
        (b"event: result\ndata: {\n\n", "text/event-stream"),
    ],
)
async def test_what_is_no_stream_of_events_is_unexpected(
    client_of: Clients, content: bytes, media_type: str
) -> None:
    answer = httpx.Response(200, content=content, headers={"content-type": media_type})

    with pytest.raises(UnexpectedAnswer):
        [one async for one in client_of(Service(answer)).events("batch_1")]

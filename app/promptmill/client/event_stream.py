"""Parsing of a batch's events from a stream of Server-Sent Events, without I/O.

`MessageParser` parses the format (WHATWG HTML, "Server-sent events"); `Following` parses the
service's events and resumes after a broken connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from promptmill.client.errors import ServiceUnreachable, UnexpectedAnswer
from promptmill.client.requests import batches
from promptmill.client.requests.batches import Request
from promptmill.contract.batches import BatchSummary
from promptmill.contract.results import Result

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_NO_CONTENT: Final = 204


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressEvent:
    """Progress of the batch; the first event of a stream holds the current state."""

    id: str
    """Id to pass as `last_event_id` to continue after this event."""
    batch: BatchSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultEvent:
    """Storing of a result."""

    id: str
    """Id to pass as `last_event_id` to continue after this event."""
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEvent:
    """End of the batch; the last event."""

    id: str
    """Id to pass as `last_event_id`; nothing follows it unless prompts are run again."""
    batch: BatchSummary


BatchEvent = ProgressEvent | ResultEvent | EndEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Message of an event stream."""

    name: str
    id: str
    """Id of the message, or of the last message before it that had an id."""
    data: str


class MessageParser:
    """Parser that takes pieces of a stream and yields whole messages, without comments."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._after_return = False
        self._name = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, piece: bytes) -> Iterator[Message]:
        """Yield the messages that `piece` completes."""
        if not piece:
            return
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]
        self._after_return = piece.endswith(b"\r")
        *whole, rest = _LINE_END.split(piece)
        for line in whole:
            # Pieces are joined once per line, so that the cost of a long line is linear.
            message = self._take(b"".join((*self._rest, line)))
            self._rest.clear()
            if message is not None:
                yield message
        self._rest.append(rest)

    def _take(self, line: bytes) -> Message | None:
        if not line:
            return self._complete()
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case _:
                pass  # A comment has no field name; other fields are for browsers.
        return None

    def _complete(self) -> Message | None:
        name, data = self._name, self._data
        self._name, self._data = "", []
        if not data:
            return None
        return Message(name=name or "message", id=self._id, data="\n".join(data))


class Following:
    """State of following a batch, over as many connections as that takes."""

    def __init__(self, batch_id: str, *, results: bool, last_event_id: str | None) -> None:
        self._batch_id = batch_id
        self._results = results
        self._last_event_id = last_event_id
        self._parser = MessageParser()
        self.is_over = False
        """Whether the end event has arrived, so that no further request is needed."""

    def request(self) -> Request[bytes]:
        """Build the request for the events after the last one that has arrived."""
        return batches.batch_events(
            self._batch_id, results=self._results, last_event_id=self._last_event_id
        )

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Check the status and headers of a response that begins.

        Raises:
            UnexpectedAnswer: The response is not an event stream.
        """
        # A message that was cut by a broken connection is sent again whole.
        self._parser = MessageParser()
        if status == _NO_CONTENT:
            self.is_over = True
        elif not headers.get("content-type", "").startswith("text/event-stream"):
            raise UnexpectedAnswer("The response is not an event stream.")

    def feed(self, piece: bytes) -> Iterator[BatchEvent]:
        """Yield the events that `piece` completes, except kinds that only a newer service has.

        Raises:
            UnexpectedAnswer: An event cannot be read.
        """
        for message in self._parser.feed(piece):
            event = _event_of(message)
            self._last_event_id = message.id or None
            self.is_over = self.is_over or isinstance(event, EndEvent)
            if event is not None:
                yield event

    def finish(self) -> None:
        """Check that the response did not end before the batch.

        Raises:
            ServiceUnreachable: The end event has not arrived.
        """
        if not self.is_over:
            raise ServiceUnreachable("the stream of events ended before the batch did")


def _event_of(message: Message) -> BatchEvent | None:
    try:
        match message.name:
            case "progress":
                batch = BatchSummary.model_validate_json(message.data)
                return ProgressEvent(id=message.id, batch=batch)
            case "result":
                result = Result.model_validate_json(message.data)
                return ResultEvent(id=message.id, result=result)
            case "end":
                return EndEvent(id=message.id, batch=BatchSummary.model_validate_json(message.data))
            case _:
                return None
    except ValidationError as error:
        raise UnexpectedAnswer(
            f"An event `{message.name}` cannot be read: {batches.first_of(error)}"
        ) from None

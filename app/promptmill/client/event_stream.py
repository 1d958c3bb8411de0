"""Events of a batch out of a stream of Server-Sent Events that is cut anywhere. No I/O.

`MessageParser` knows the format (WHATWG HTML, "Server-sent events"), `Following` the service's
events and how to go on after a connection has broken.
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
    """The batch has changed; the first event of a stream tells how it stands."""

    id: str
    """For `last_event_id`, to go on after this event."""
    batch: BatchSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultEvent:
    """A result was stored."""

    id: str
    """For `last_event_id`, to go on after this event."""
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEvent:
    """The batch has ended; this is the last event."""

    id: str
    """For `last_event_id`: there is nothing after this event unless prompts are run again."""
    batch: BatchSummary


BatchEvent = ProgressEvent | ResultEvent | EndEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a stream."""

    name: str
    id: str
    """Of this message, or of the last one before it that had any."""
    data: str


class MessageParser:
    """Collects pieces of a stream and gives out its whole messages; comments are left out."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._after_return = False
        self._name = ""
        self._data: list[str] = []
        self._id = ""

    def feed(self, piece: bytes) -> Iterator[Message]:
        """The messages that `piece` completes."""
        if not piece:
            return
        if self._after_return and piece.startswith(b"\n"):
            piece = piece[1:]
        self._after_return = piece.endswith(b"\r")
        *whole, rest = _LINE_END.split(piece)
        for line in whole:
            # Pieces are joined once per line, so that a long line costs no more than its length.
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
                pass  # A comment has no name; other fields are for browsers, or of the future.
        return None

    def _complete(self) -> Message | None:
        name, data = self._name, self._data
        self._name, self._data = "", []
        if not data:
            return None
        return Message(name=name or "message", id=self._id, data="\n".join(data))


class Following:
    """One who follows a batch, over as many connections as it takes."""

    def __init__(self, batch_id: str, *, results: bool, last_event_id: str | None) -> None:
        self._batch_id = batch_id
        self._results = results
        self._last_event_id = last_event_id
        self._parser = MessageParser()
        self.is_over = False
        """Whether the end was told, so that nothing more is to be asked for."""

    def request(self) -> Request[bytes]:
        """What to ask for next: the events after the last one that has arrived."""
        return batches.batch_events(
            self._batch_id, results=self._results, last_event_id=self._last_event_id
        )

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer with an expected status begins.

        Raises:
            UnexpectedAnswer: It is no stream of events.
        """
        # Half a message of a connection that broke is told again.
        self._parser = MessageParser()
        if status == _NO_CONTENT:
            self.is_over = True
        elif not headers.get("content-type", "").startswith("text/event-stream"):
            raise UnexpectedAnswer("The answer is no stream of events.")

    def feed(self, piece: bytes) -> Iterator[BatchEvent]:
        """The events that `piece` completes; those that only a newer service has are left out.

        Raises:
            UnexpectedAnswer: One of them cannot be read.
        """
        for message in self._parser.feed(piece):
            event = _event_of(message)
            self._last_event_id = message.id or None
            self.is_over = self.is_over or isinstance(event, EndEvent)
            if event is not None:
                yield event

    def finish(self) -> None:
        """The answer is over.

        Raises:
            ServiceUnreachable: The end of the batch was not among its events.
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

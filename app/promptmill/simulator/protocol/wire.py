"""One HTTP exchange: reading the request, writing the answer, breaking the connection on purpose.

The rule a reader must know: an answer counts as ended when its last byte was handed to the
transport, and a fault that breaks the connection waits for the break, so that the server
underneath sees a client that has gone and logs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

from promptmill.simulator.engine.calls import Call
from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.protocol.gojson import encode, quote

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = b"application/json; charset=utf-8"
"""Content type that the server writes by default."""
BARE_JSON = b"application/json"
"""Content type of an error after a stream or a pull has chosen the type."""
NDJSON = b"application/x-ndjson"
TEXT = b"text/plain"

_WHOLE_BYTES = 2048
"""Bytes up to which Go's server buffers an answer and so knows its length; above, it is chunked."""


class Connection(Protocol):
    """Extensions of ASGI by the server under the simulator."""

    task: asyncio.Task[None] | None
    """Cancelled when the client goes."""

    def close(self) -> None:
        """Close in order, after what is already written."""

    def reset(self) -> None:
        """Close with a TCP reset."""


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "_extra",
        "_receive",
        "_send",
        "body",
        "call",
        "connection",
        "gone",
        "headers",
        "started",
    )

    def __init__(
        self,
        call: Call,
        headers: list[Header],
        receive: Receive,
        send: Send,
        connection: Connection | None,
    ) -> None:
        self.call = call
        self.headers = headers
        self.connection = connection
        self.body = b""
        self.started = False
        """Whether the status line is out."""
        self.gone = False
        """Whether the simulator itself has broken the connection."""
        self._extra: list[Header] = []
        self._receive = receive
        self._send = send

    def add_header(self, name: bytes, value: bytes) -> None:
        """A header for whatever answer follows."""
        self._extra.append((name, value))

    async def read(self) -> None:
        """Read the whole body."""
        message = await self._receive()
        body = message.get("body", b"")
        while message.get("more_body"):
            message = await self._receive()
            body += message.get("body", b"")
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        self.body = body

    async def wait_for_departure(self) -> None:
        """Return when the client has gone. Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def start(self, status: int, content_type: bytes, length: int | None = None) -> None:
        """Write the status line and the headers; without a length the body is chunked."""
        headers = (
            [(b"content-type", content_type), *self._extra] if content_type else [*self._extra]
        )
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        self.started = True
        self.call.status = status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, text: str) -> None:
        """Write a part of a chunked body."""
        body = text.encode("utf-8", "replace")
        await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def finish(self, text: str = "") -> None:
        """Write the last part of a chunked body."""
        body = text.encode("utf-8", "replace")
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def answer(
        self, status: int, content_type: bytes, text: str, *, late: bool = False
    ) -> None:
        """Write a whole answer. A late one is chunked, because its stream had begun inside."""
        body = text.encode("utf-8", "replace")
        length = None if late or len(body) > _WHOLE_BYTES else len(body)
        await self.start(status, content_type, length)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def json(self, value: object) -> None:
        """Answer 200 with a JSON value."""
        await self.answer(200, JSON, encode(value))

    async def refuse(self, refusal: Refusal, *, streaming: bool) -> None:
        """Answer as the native routes refuse."""
        self.call.outcome = "refused"
        text = f'{{"error":{quote(refusal.message)}}}'
        if refusal.signin_url:
            text = f'{text[:-1]},"signin_url":{quote(refusal.signin_url)}}}'
        late = refusal.late and streaming
        await self.answer(refusal.status, BARE_JSON if late else JSON, text, late=late)

    async def cut(self) -> None:
        """Close the connection here; what was written before still arrives. Never returns."""
        self.call.outcome = self.call.outcome or "cut"
        self.gone = True
        if self.connection is None:
            raise ConnectionAbortedError("the simulator cuts this answer on purpose")
        self.connection.close()
        await asyncio.Event().wait()

    async def reset(self) -> None:
        """Reset the connection. Never returns."""
        self.call.outcome = "cut"
        self.gone = True
        if self.connection is None:
            raise ConnectionAbortedError("the simulator resets this connection on purpose")
        self.connection.reset()
        await asyncio.Event().wait()

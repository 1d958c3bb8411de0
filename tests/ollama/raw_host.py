"""A host that sends exactly the bytes that a test gives it, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

NDJSON = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"
WORD = b'{"model":"tiny","created_at":"2026-11-23T17:00:56Z","response":" ton","done":false}\n'
LAST = b'{"model":"tiny","created_at":"2026-11-23T17:00:56Z","response":"","done":true,"done_reason":"stop","eval_count":2}\n'

Respond = Callable[["Exchange"], Awaitable[None]]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def plain(status: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass
class Exchange:
    """One request, and the way to answer it."""

    head: bytes
    body: bytes
    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    async def until_client_leaves(self) -> None:
        assert await self.reader.read() == b""


@dataclass
class RawHost:
    """What happened at the host."""

    url: str = ""
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    connections: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)


@contextlib.asynccontextmanager
async def raw_host(respond: Respond) -> AsyncIterator[RawHost]:
    """A host that lets `respond` answer each request; leaving the block drops every connection."""
    host = RawHost()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        tasks.add(task)
        host.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, found, length = head.lower().partition(b"content-length:")
                body = await reader.readexactly(int(length.split(b"\r\n")[0])) if found else b""
                host.requests.append((head, body))
                await respond(Exchange(head, body, writer, reader))
        except (asyncio.IncompleteReadError, ConnectionError):
            host.left.set()
        except asyncio.CancelledError:
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20, backlog=512)
    host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield host
    finally:
        server.close()
        ended = list(tasks)
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended)


def always(*pieces: bytes, close: bool = False) -> Respond:
    """Answer every request with these bytes."""

    async def respond(exchange: Exchange) -> None:
        await exchange.send(*pieces)
        if close:
            exchange.writer.close()

    return respond

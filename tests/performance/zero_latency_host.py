"""A pretend Ollama that answers at once, so that what is measured is the caller and not the host.

A bare `asyncio.Protocol` with answers made beforehand; it neither reads the prompt nor schedules.
It counts its calls: `GET /occupancy` returns what happened since the last one, as `Occupancy` says.
Run it as a process of its own and read its port from the first line that it prints:

    python tests/performance/zero_latency_host.py [--delay-ms 0] [--tokens 8] [--port 0]

It ends when its standard input is closed, so it never outlives the program that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator

import uvloop

_TIME = "2026-11-23T17:00:56.733492653Z"
_WORDS = (" 490", " ton", " hospi", " frien", " Alisa", " question", " botto", " friends")
_COUNTERS = {
    "total_duration": 76323845,
    "load_duration": 5432875,
    "prompt_eval_count": 19,
    "prompt_eval_duration": 2054692,
}


def _line(item: dict[str, object]) -> bytes:
    return json.dumps(item, separators=(",", ":")).encode() + b"\n"


def _generated(tokens: int) -> bytes:
    words = [_WORDS[number % len(_WORDS)] for number in range(tokens)]
    head = {"model": "tiny", "created_at": _TIME}
    lines = [_line({**head, "response": word, "done": False}) for word in words]
    final = {"response": "", "done": True, "done_reason": "stop", "context": list(range(300, 326))}
    counters = {**_COUNTERS, "eval_count": tokens, "eval_duration": tokens * 8390703}
    lines.append(_line({**head, **final, **counters}))
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(line), line) for line in lines)
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
        b"Date: Mon, 23 Nov 2026 17:00:56 GMT\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunks
        + b"0\r\n\r\n"
    )


def _told(item: dict[str, object]) -> bytes:
    body = _line(item).rstrip()
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )


def _answers(tokens: int) -> dict[bytes, bytes]:
    details = {"family": "llama", "parameter_size": "7.26M", "quantization_level": "F16"}
    model = {"name": "tiny:latest", "model": "tiny:latest", "size": 14717318, "digest": "b" * 64}
    installed = {**model, "modified_at": _TIME, "details": details}
    running = {**model, "details": details, "expires_at": _TIME, "size_vram": 0}
    return {
        b"/api/generate": _generated(tokens),
        b"/api/version": _told({"version": "0.0.0"}),
        b"/api/tags": _told({"models": [installed]}),
        b"/api/ps": _told({"models": [running]}),
    }


_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 18\r\n\r\n404 page not found"


class Occupancy:
    """The calls at the host, and how long a slot stood idle between two calls.

    A call takes the slot that has been free the longest.
    """

    def __init__(self) -> None:
        self._in_flight = 0
        self._freed: deque[float] = deque()
        self._begin()

    def _begin(self) -> None:
        self._since = self._changed = time.monotonic()
        self._calls = 0
        self._call_seconds = 0.0
        self._most = self._in_flight
        self._idle: list[float] = []

    def _change(self, by: int) -> float:
        now = time.monotonic()
        self._call_seconds += self._in_flight * (now - self._changed)
        self._changed = now
        self._in_flight += by
        self._most = max(self._most, self._in_flight)
        return now

    def arrive(self) -> None:
        """Count a call that begins."""
        now = self._change(1)
        if self._freed:
            self._idle.append(now - self._freed.popleft())

    def leave(self) -> None:
        """Count a call that has been answered."""
        self._freed.append(self._change(-1))
        self._calls += 1

    def take(self) -> dict[str, object]:
        """What happened since the last time: the mean and the most in flight, seconds idle."""
        elapsed = max(self._change(0) - self._since, 1e-9)
        taken: dict[str, object] = {
            "seconds": elapsed,
            "answered": self._calls,
            "in_flight": self._call_seconds / elapsed,
            "most": self._most,
            "idle": self._idle,
        }
        self._begin()
        return taken


class _Answering(asyncio.Protocol):
    def __init__(self, answers: dict[bytes, bytes], delay_s: float, counted: Occupancy) -> None:
        self._answers = answers
        self._delay_s = delay_s
        self._counted = counted
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            _, found, length = head.lower().partition(b"content-length:")
            size = int(length.split(b"\r\n", 1)[0]) if found else 0
            if len(rest) < size:
                return
            self._received = rest[size:]
            method, path, _ = head.split(b" ", 2)
            if path == b"/occupancy":
                self._write(_told(self._counted.take()))
                continue
            answer = self._answers.get(path, _NOT_FOUND)
            if self._delay_s and method == b"POST":
                self._counted.arrive()
                self._loop.call_later(self._delay_s, self._end, answer)
            else:
                self._write(answer)

    def _end(self, answer: bytes) -> None:
        self._counted.leave()
        self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def _serve(arguments: argparse.Namespace) -> None:
    answers = _answers(arguments.tokens)
    counted = Occupancy()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: _Answering(answers, arguments.delay_ms / 1000, counted),
        "127.0.0.1",
        arguments.port,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    closed = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), lambda: sys.stdin.buffer.read1() or closed.set())
    await closed.wait()


@contextlib.contextmanager
def running(*, delay_ms: float = 0.0, tokens: int = 8) -> Iterator[str]:
    """The base URL of such a host, which runs as long as the `with` block."""
    command = [sys.executable, __file__, "--delay-ms", str(delay_ms), "--tokens", str(tokens)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.stdin.close()
            process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay-ms", type=float, default=0.0, help="answer a prompt after so long")
    parser.add_argument("--tokens", type=int, default=8, help="lines before the last one")
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()

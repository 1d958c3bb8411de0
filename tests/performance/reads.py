"""How many reads of a batch one process answers, and how soon beside a worker at full load.

    python -m tests.performance.reads [idle] [busy]

`idle`: `GET /batches/{id}?limit=0` of a batch that has ended, by eight connections that each ask
again as soon as they are answered. Beside it the same requests to a bare ASGI application that
answers with the same bytes, as the reference. `busy`: 200 clients that each ask once a second while
prompts are worked off by a host without latency.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx
import uvicorn
import uvloop

from tests.performance import zero_latency_host
from tests.performance.service import QUESTION, run_batch, serving

CONNECTIONS = 8
SECONDS = 3.0
ROUNDS = 3
CLIENTS = 200
END_OF_HEAD = b"\r\n\r\n"


class Asker:
    """One connection that is kept open; asks for one address again and again."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        target = f"{self._url.path}?{self._url.query}"
        self._request = f"GET {target} HTTP/1.1\r\nHost: {self._url.netloc}\r\n\r\n".encode()

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            self._url.hostname, self._url.port
        )

    async def ask(self) -> bytes:
        """The body of the answer."""
        self._writer.write(self._request)
        head = await self._reader.readuntil(END_OF_HEAD)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = next(
            int(line[15:])
            for line in head.lower().split(b"\r\n")
            if line[:15] == b"content-length:"
        )
        return await self._reader.readexactly(length)

    async def for_a_while(self, seconds: float) -> int:
        """The number of answers within that time."""
        until, answers = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            await self.ask()
            answers += 1
        return answers


async def per_second(url: str) -> float:
    askers = [Asker(url) for _ in range(CONNECTIONS)]
    await asyncio.gather(*(asker.open() for asker in askers))
    began = time.perf_counter()
    answers = await asyncio.gather(*(asker.for_a_while(SECONDS) for asker in askers))
    return sum(answers) / (time.perf_counter() - began)


def bare(body: bytes) -> uvicorn.Server:
    """A server of one ASGI application that answers everything with `body`, in a thread."""

    async def app(
        scope: object, receive: object, send: Callable[[dict[str, object]], Awaitable[None]]
    ) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server


def idle() -> None:
    """Answers a second, beside those of a bare application, and the processor time of one."""
    rates: list[float] = []
    references: list[float] = []
    each_us: list[float] = []
    with tempfile.TemporaryDirectory() as name, zero_latency_host.running() as host_url:
        with serving(Path(name), host_url) as (url, process):
            run_batch(url, 10, rate_limit_delay=0)
            batch_id = httpx.get(f"{url}/batches").json()["data"][0]["id"]
            address = f"{url}/batches/{batch_id}?limit=0"
            server = bare(httpx.get(address).content)
            port = server.servers[0].sockets[0].getsockname()[1]
            for _ in range(ROUNDS):
                before = process.cpu_times()
                rates.append(uvloop.run(per_second(address)))
                after = process.cpu_times()
                used = after.user + after.system - before.user - before.system
                each_us.append(used / (rates[-1] * SECONDS) * 1e6)
                references.append(
                    uvloop.run(per_second(f"http://127.0.0.1:{port}/batches/x?limit=0"))
                )
            server.should_exit = True
    print(
        f"idle  {median(rates):.0f} reads/s, {median(each_us):.0f} µs of the service's processor"
        f" time each; a bare application {median(references):.0f}/s"
        f" ({median(rates) / median(references):.2f} of it)   (wanted: at least 1,500/s)"
    )


async def _once_a_second(url: str, is_over: threading.Event) -> list[float]:
    taken: list[float] = []

    async def client(number: int) -> None:
        asker = Asker(url)
        await asker.open()
        at = time.perf_counter() + number / CLIENTS
        while not is_over.is_set():
            await asyncio.sleep(max(at - time.perf_counter(), 0))
            await asker.ask()
            taken.append(time.perf_counter() - at)
            at += 1

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return taken


def busy(prompts: int = 40_000) -> None:
    """How long reads take while the worker is as busy as it can be, from when each was due."""
    is_over = threading.Event()
    with tempfile.TemporaryDirectory() as name, zero_latency_host.running() as host_url:
        with serving(Path(name), host_url) as (url, _), httpx.Client(base_url=url) as client:
            texts = [f"{n}: {QUESTION}" for n in range(prompts)]
            body = {"model": "tiny", "prompts": texts, "max_concurrent": 32, "rate_limit_delay": 0}
            batch_id = client.post("/batches", json=body, timeout=60).json()["id"]

            def wait() -> None:
                path, ended = f"/batches/{batch_id}?limit=0&wait_s=60", None
                while ended is None:
                    ended = httpx.get(url + path, timeout=90).json()["finished_at"]
                is_over.set()

            began = time.perf_counter()
            threading.Thread(target=wait).start()
            taken = sorted(uvloop.run(_once_a_second(f"{url}/batches/{batch_id}?limit=0", is_over)))
            seconds = time.perf_counter() - began
    p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    print(
        f"busy  {CLIENTS} clients, each once a second, n={len(taken)}: p50 {p50 * 1000:.1f} ms,"
        f" p99 {p99 * 1000:.1f} ms beside {prompts / seconds:.0f} prompts/s"
        "   (wanted: p99 at most 100 ms)"
    )


MEASUREMENTS = {"idle": idle, "busy": busy}


if __name__ == "__main__":
    for measurement in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[measurement]()

"""Which way of sending a prompt costs how much, with nothing behind it that takes time.

    python -m tests.performance.transport [--seconds 1.5] [--rounds 3] [--in-flight 32]

Four ways, each on asyncio's loop and on uvloop, against a host in a process of its own that answers
at once: httpx as it comes, httpx's client over aiohttp, that transport called directly, and
`OllamaClient.run`, which also parses the answer and watches its timeouts. The ways take turns, and
what counts is the ratio: the calls per second depend on the machine and on what else it does.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import uvloop

from promptmill.domain.calls import Call
from promptmill.domain.outcomes import Succeeded
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.transport import open_transport
from tests.performance import zero_latency_host

Send = Callable[[], Awaitable[None]]
_BODY = {"model": "tiny", "prompt": "A train leaves at 5. How far by 8?", "stream": True}
_NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)


@contextlib.asynccontextmanager
async def httpx_as_it_comes(url: str) -> AsyncIterator[Send]:
    async with httpx.AsyncClient(base_url=url, limits=_NO_LIMITS, trust_env=False) as client:
        yield _by_client(client)


@contextlib.asynccontextmanager
async def httpx_over_aiohttp(url: str) -> AsyncIterator[Send]:
    transport = open_transport(url)
    async with httpx.AsyncClient(base_url=url, transport=transport, trust_env=False) as client:
        yield _by_client(client)


def _by_client(client: httpx.AsyncClient) -> Send:
    async def send() -> None:
        async with client.stream("POST", "/api/generate", json=_BODY) as response:
            async for _ in response.aiter_raw():
                pass
            assert response.status_code == 200

    return send


@contextlib.asynccontextmanager
async def transport_directly(url: str) -> AsyncIterator[Send]:
    transport = open_transport(url)
    address = httpx.URL(f"{url}/api/generate")

    async def send() -> None:
        request = httpx.Request("POST", address, content=json.dumps(_BODY).encode())
        response = await transport.handle_async_request(request)
        async for _ in response.stream:
            pass
        await response.aclose()
        assert response.status_code == 200

    yield send
    await transport.aclose()


@contextlib.asynccontextmanager
async def ollama_client(url: str) -> AsyncIterator[Send]:
    client = OllamaClient(url)
    call = Call(model=_BODY["model"], prompt=_BODY["prompt"])

    async def send() -> None:
        assert type(await client.run(call)) is Succeeded

    yield send
    await client.aclose()


WAYS = {
    "httpx as it comes": httpx_as_it_comes,
    "httpx over aiohttp": httpx_over_aiohttp,
    "transport directly": transport_directly,
    "OllamaClient.run": ollama_client,
}


async def calls_per_second(way: str, url: str, *, in_flight: int, seconds: float) -> float:
    async with WAYS[way](url) as send:
        count = 0
        until = 0.0

        async def keep_sending() -> None:
            nonlocal count
            while time.perf_counter() < until:
                await send()
                count += 1

        async def for_so_long(duration: float) -> float:
            nonlocal count, until
            count = 0
            began = time.perf_counter()
            until = began + duration
            async with asyncio.TaskGroup() as senders:
                for _ in range(in_flight):
                    senders.create_task(keep_sending())
            return count / (time.perf_counter() - began)

        await for_so_long(seconds / 5)
        return await for_so_long(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.5, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is shown")
    parser.add_argument("--in-flight", type=int, default=32)
    parser.add_argument("--only", choices=WAYS, help="measure one way")
    arguments = parser.parse_args()
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    ways = [arguments.only] if arguments.only else list(WAYS)
    rates = {(way, loop): [] for way in ways for loop in loops}
    with zero_latency_host.running() as url:
        for _ in range(arguments.rounds):
            for (way, loop), found in rates.items():
                with asyncio.Runner(loop_factory=loops[loop]) as runner:
                    found.append(
                        runner.run(
                            calls_per_second(
                                way, url, in_flight=arguments.in_flight, seconds=arguments.seconds
                            )
                        )
                    )
    medians = {key: statistics.median(found) for key, found in rates.items()}
    slowest = medians[ways[0], "asyncio"]
    print(f"{arguments.in_flight} in flight, calls/s (times {ways[0]!r} on asyncio)")
    for way in ways:
        row = [f"{medians[way, name]:8.0f} ({medians[way, name] / slowest:5.1f})" for name in loops]
        print(
            f"{way:<20}", "  ".join(f"{name} {cell}" for name, cell in zip(loops, row, strict=True))
        )


if __name__ == "__main__":
    main()

"""Following a batch over HTTP, as Server-Sent Events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
import uvicorn

from promptmill.api import build_api
from promptmill.api.routes.events import event_stream
from promptmill.client import AsyncPromptmill, EndEvent, ProgressEvent, ResultEvent
from promptmill.client.event_stream import Message, MessageParser
from promptmill.services.events import follow
from promptmill.worker.runner import working
from tests.api.conftest import answer_as_ollama

SIX = {"prompts": [f"p{n}" for n in range(6)], "rate_limit_delay": 0, "max_concurrent": 2}


def messages(stream: bytes) -> list[Message]:
    return list(MessageParser().feed(stream))


async def events(service: Any, batch_id: str, after: str | None = None, **query: str) -> Any:
    headers = {} if after is None else {"Last-Event-ID": after}
    return await service.client.get(f"/batches/{batch_id}/events", params=query, headers=headers)


@contextlib.asynccontextmanager
async def listening(service: Any) -> AsyncIterator[str]:
    """The API on a real socket: the transport of the other tests has no streams."""
    app = build_api()
    app.state.resources = service.resources
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def test_an_ended_batch_is_told_from_its_first_result_to_its_end(service) -> None:
    batch = await service.finished(SIX)
    summary = {key: batch[key] for key in batch if key not in {"results", "next_cursor"}}

    response = await events(service, batch["id"], results="true")
    first, *results, last = messages(response.content)

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    assert response.content.startswith(b"retry: 1000\n\n")
    assert (first.name, first.id, json.loads(first.data)) == ("progress", "0", summary)
    assert [(one.name, one.id) for one in results] == [("result", f"{n}") for n in range(1, 7)]
    told = sorted((json.loads(one.data) for one in results), key=lambda one: one["index"])
    assert told == batch["results"]
    assert (last.name, last.id, json.loads(last.data)) == ("end", "6-end", summary)


async def test_without_results_the_ids_are_those_of_the_newest_result(service) -> None:
    batch = await service.finished(SIX)

    told = messages((await events(service, batch["id"])).content)

    assert [(one.name, one.id) for one in told] == [("progress", "6"), ("end", "6-end")]


async def test_a_stream_that_is_cut_at_any_byte_goes_on_without_loss_or_repetition(service) -> None:
    batch = await service.finished(SIX)
    whole = (await events(service, batch["id"], results="true")).content
    rests: dict[str | None, list[Message]] = {}

    for cut in range(len(whole)):
        had = messages(whole[:cut])
        after = had[-1].id if had else None
        if after not in rests:
            rests[after] = messages(
                (await events(service, batch["id"], after, results="true")).content
            )
        told = [one.id for one in [*had, *rests[after]] if one.name == "result"]
        assert told == [f"{n}" for n in range(1, 7)], cut

    assert len(rests) == 8  # nothing, `0`, and each result but no end


async def test_a_follower_who_is_cut_again_and_again_gets_each_result_once(open_service) -> None:
    failing = {f"p{n}" for n in range(0, 60, 7)}

    def ollama(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/generate":
            body = json.loads(request.content)
            if body["prompt"] in failing:
                return httpx.Response(400, json={"error": "no"})
        return answer_as_ollama(request)

    service = await open_service(ollama)
    body = {"prompts": [f"p{n}" for n in range(60)], "rate_limit_delay": 0, "max_concurrent": 3}
    batch_id = (await service.post(body)).json()["id"]
    dice = random.Random(4)
    got: list[ResultEvent] = []
    async with (
        listening(service) as url,
        AsyncPromptmill(url) as client,
        working(service.resources),
    ):
        last_id: str | None = None
        for has_been_retried in (False, True):
            ended = False
            while not ended:
                left = dice.randrange(1, 25)
                told = client.events(batch_id, results=True, last_event_id=last_id)
                async with contextlib.aclosing(told):
                    async for event in told:
                        last_id = event.id
                        left -= 1
                        if isinstance(event, ResultEvent):
                            got.append(event)
                        ended = isinstance(event, EndEvent)
                        if not left:
                            break
            if not has_been_retried:
                assert [int(one.id) for one in got] == list(range(1, 61))
                failing.clear()
                retried = await service.client.post(f"/batches/{batch_id}/retry")
                assert retried.status_code == 202

    # Those that failed came again, with new numbers; the others did not.
    assert [int(one.id) for one in got] == list(range(1, 70))
    assert {one.result.index for one in got[60:]} == set(range(0, 60, 7))
    assert {one.result.status for one in got[60:]} == {"succeeded"}


async def test_a_running_batch_is_told_as_it_goes(open_service) -> None:
    turn = asyncio.Semaphore(0)

    async def ollama(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/generate":
            await turn.acquire()
        return answer_as_ollama(request)

    service = await open_service(ollama)
    batch_id = (await service.post({"prompts": ["a", "b"], "rate_limit_delay": 0})).json()["id"]
    async with listening(service) as url, AsyncPromptmill(url) as client:
        told = aiter(client.events(batch_id, results=True))
        waiting = await anext(told)
        assert isinstance(waiting, ProgressEvent)
        assert (waiting.batch.status, waiting.batch.counts.pending) == ("queued", 2)
        async with working(service.resources):
            running = await anext(told)
            assert isinstance(running, ProgressEvent)
            assert running.batch.status == "running"
            turn.release()
            while not isinstance(event := await anext(told), ResultEvent):
                pass
            assert event.result.success
            # The second one has no answer yet: what was told, was told as it happened.
            turn.release()
            rest = [one async for one in told]
    assert [type(one) for one in rest if not isinstance(one, ProgressEvent)] == [
        ResultEvent,
        EndEvent,
    ]


async def test_after_the_end_a_browser_is_told_to_stop_asking(service) -> None:
    batch = await service.finished(SIX)

    assert (await events(service, batch["id"], "6-end")).status_code == 204
    assert (await events(service, batch["id"], "6-end", results="true")).status_code == 204
    # Whoever has not seen the end gets it, even when no result is left.
    told = messages((await events(service, batch["id"], "6", results="true")).content)
    assert [(one.name, one.id) for one in told] == [("progress", "6"), ("end", "6-end")]


async def test_after_a_retry_the_stream_goes_on_behind_the_end(service) -> None:
    batch = await service.finished({"prompts": [{"prompt": "a", "model": "missing"}, "b"]})
    await service.client.post(f"/batches/{batch['id']}/retry")
    async with working(service.resources):
        await service.client.get(f"/batches/{batch['id']}", params={"wait_s": 30})

    told = messages((await events(service, batch["id"], "2-end", results="true")).content)

    assert [(one.name, one.id) for one in told] == [
        ("progress", "2"),
        ("result", "3"),
        ("end", "3-end"),
    ]
    assert json.loads(told[1].data)["index"] == 0


@pytest.mark.parametrize(
    "header",
    ["x", "-1", "1.5", "7", "end", "6-end-end", "99999999999", "9999999999", "\u00b2", "9" * 5000],
)
async def test_what_is_no_id_of_an_event_is_refused_by_the_headers_name(service, header) -> None:
    batch = await service.finished(SIX)

    response = await service.client.get(
        f"/batches/{batch['id']}/events", headers={"Last-Event-ID": header.encode()}
    )

    assert response.status_code == 422
    assert [one["pointer"] for one in response.json()["errors"]] == ["/header/Last-Event-ID"]


async def test_what_cannot_be_followed_is_a_problem_before_anything_is_streamed(service) -> None:
    batch = await service.finished(SIX)

    assert (await events(service, "batch_0")).status_code == 404
    assert (await events(service, batch["id"], result="true")).status_code == 422
    assert (await events(service, batch["id"], results="maybe")).status_code == 422


async def test_a_silent_stream_has_heartbeats(service) -> None:
    batch_id = (await service.post(SIX)).json()["id"]
    stop = anyio.Event()
    told = follow(service.resources, batch_id, after=0, with_results=True, stop=stop)
    stream = bytearray()

    async def send(message: Any) -> None:
        stream.extend(message.get("body", b""))
        if stream.count(b": heartbeat\n\n") == 3:
            stop.set()

    response = event_stream(told, stop=stop, heartbeat_s=0.02)
    await asyncio.wait_for(response({"type": "http", "method": "GET"}, _nobody_leaves, send), 10)

    # Nobody works, so that nothing else is to be told.
    assert [one.name for one in messages(bytes(stream))] == ["progress"]


async def _nobody_leaves() -> Any:
    await asyncio.Event().wait()


async def test_for_a_reader_who_takes_nothing_nothing_is_read_ahead(service) -> None:
    prompts = [f"{n} " + "x" * 10_000 for n in range(400)]
    batch = await service.finished(
        {"prompts": prompts, "rate_limit_delay": 0, "max_concurrent": 99}
    )
    stop = anyio.Event()
    told = follow(service.resources, batch["id"], after=0, with_results=True, stop=stop)
    stuck, full = asyncio.Event(), asyncio.Event()
    sizes: list[int] = []

    async def send(message: Any) -> None:
        sizes.append(len(message.get("body", b"")))
        if len(sizes) == 5:
            full.set()
            await stuck.wait()

    response = event_stream(told, stop=stop)
    blocked = asyncio.create_task(response({"type": "http", "method": "GET"}, _nobody_leaves, send))
    await full.wait()

    # Another one is not held up by it.
    other = await events(service, batch["id"], results="true")
    assert len(messages(other.content)) == 402
    assert len(sizes) == 5
    # What one write may hold up, and a result of twice 10 kB.
    assert max(sizes) < 64 * 1024 + 25_000
    stuck.set()
    await blocked
    assert sum(sizes) == len(other.content)


async def test_who_leaves_frees_everything(service) -> None:
    batch_id = (await service.post(SIX)).json()["id"]

    async def come_and_go(url: str) -> None:
        async with AsyncPromptmill(url) as client:
            async with contextlib.aclosing(client.events(batch_id, results=True)) as told:
                await anext(told)

    async with listening(service) as url, asyncio.timeout(10):
        # The first stream of a process starts a task that watches for the process's end, for good.
        await come_and_go(url)
        while left := streams():
            await asyncio.wait(left)
        before = asyncio.all_tasks()
        for _ in range(5):
            await come_and_go(url)
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)


def streams() -> list[asyncio.Task]:
    return [
        task
        for task in asyncio.all_tasks()
        if task.get_coro().__qualname__.startswith("EventSourceResponse.")
    ]


async def test_the_stream_of_a_batch_that_is_deleted_closes_without_an_end(service) -> None:
    prompts = [f"p{n}" for n in range(51)]
    body = {"prompts": prompts, "rate_limit_delay": 0, "max_concurrent": 50}
    batch_id = (await service.finished(body))["id"]
    options = {"after": 0, "with_results": True, "stop": asyncio.Event()}
    told = follow(service.resources, batch_id, **options)
    await anext(told)

    assert (await service.client.delete(f"/batches/{batch_id}")).status_code == 204

    # What had been read before is told, and nothing more.
    (last,) = [one async for one in told]
    assert len(last.results) == 50
    assert [one async for one in follow(service.resources, batch_id, **options)] == []


async def test_a_server_that_stops_ends_its_streams_properly(service) -> None:
    batch_id = (await service.post(SIX)).json()["id"]
    async with httpx.AsyncClient() as client, asyncio.timeout(10):
        async with contextlib.AsyncExitStack() as stack:
            async with listening(service) as url:
                address = f"{url}/batches/{batch_id}/events"
                response = await stack.enter_async_context(client.stream("GET", address))
                pieces = response.aiter_bytes()
                first = await anext(pieces)
            # No error: the last chunk has arrived, and with it the knowledge that it was the last.
            rest = b"".join([piece async for piece in pieces])

    # After some seconds without a worker the batch also says what it waits for.
    assert {one.name for one in messages(first + rest)} == {"progress"}


async def test_a_new_wait_alone_is_told(service) -> None:
    batch_id = (await service.post({"prompts": ["a"]})).json()["id"]
    told = follow(service.resources, batch_id, after=0, with_results=False, stop=anyio.Event())
    async with contextlib.aclosing(told), asyncio.timeout(20):
        first, second = await anext(told), await anext(told)

    assert first.batch.waiting_for is None
    assert second.batch.counts == first.batch.counts
    assert second.batch.waiting_for.reason == "workers_missing"

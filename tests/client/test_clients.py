"""What both clients do, against a service that is a function."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from promptmill.client import (
    Batch,
    Outage,
    Promptmill,
    PromptmillProblem,
    Result,
    ServiceUnreachable,
    UnexpectedAnswer,
    WaitTimeout,
)
from promptmill.contract.hosts import HostPage
from promptmill.contract.results import ResultPage
from promptmill.contract.service import Health, ModelPage, WorkerPage
from tests.documents import whole

Clients = Callable[..., Any]


def batch(status: str = "running", **fields: Any) -> dict[str, Any]:
    return whole(
        Batch,
        {
            "id": "batch_1",
            "object": "batch",
            "status": status,
            "model": "tiny",
            "counts": {"total": 2, "pending": 0, "running": 0, "succeeded": 2, "failed": 0},
            "progress": 1.0,
            "created_at": "2026-11-23T06:30:00.123Z",
            **fields,
        },
    )


def result(index: int) -> dict[str, Any]:
    return whole(
        Result,
        {
            "index": index,
            "prompt": f"question {index}",
            "response": "one\u2028two",
            "model": "tiny",
            "success": True,
            "status": "succeeded",
        },
    )


async def test_a_submission_whose_answer_was_lost_is_repeated_under_the_same_key(
    client_of: Clients,
) -> None:
    seen: list[tuple[str, bytes]] = []

    def service(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["idempotency-key"], request.content))
        if len(seen) == 1:
            raise httpx.ReadError("cut", request=request)
        return httpx.Response(202, json=batch("queued"))

    submitted = await client_of(service).submit(["a", "b"], model="tiny")

    assert submitted.id == "batch_1"
    assert len(seen) == 2
    assert seen[0] == seen[1]


async def test_two_submissions_are_two_batches(client_of: Clients) -> None:
    keys: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        return httpx.Response(202, json=batch())

    client = client_of(service)
    await client.submit(["a"])
    await client.submit(["a"])

    assert len(set(keys)) == 2


async def test_a_refusal_is_raised_with_its_fields(client_of: Clients) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            422,
            json={
                "title": "Invalid request",
                "errors": [{"pointer": "/max_concurrent", "detail": "must be at most 256"}],
            },
        )

    with pytest.raises(PromptmillProblem) as caught:
        await client_of(service).submit(["a"], max_concurrent=999)

    assert caught.value.status == 422
    assert [error.pointer for error in caught.value.errors] == ["/max_concurrent"]


async def test_workers_are_told_with_their_state_and_their_times(client_of: Clients) -> None:
    worker = {
        "id": "box-1-ab",
        "host_name": "box",
        "pid": 1,
        "version": "0.1.0",
        "concurrency": 8,
        "alive": False,
        "state": "lost",
        "in_flight": 2,
        "finished": 3,
        "fenced": 1,
        "started_at": "2026-11-23T06:00:00.000Z",
        "seen_at": "2026-11-23T06:30:00.000Z",
        "stopped_at": None,
    }

    def service(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/workers"
        return httpx.Response(200, json=whole(WorkerPage, {"data": [worker]}))

    (told,) = await client_of(service).workers()

    assert (told.id, told.alive, told.state, told.in_flight) == ("box-1-ab", False, "lost", 2)
    assert (told.seen_at - told.started_at).total_seconds() == 1800


async def test_hosts_are_told_with_what_they_hold_and_why_one_is_put_aside(
    client_of: Clients,
) -> None:
    loaded = {"name": "tiny:latest", "size": 9, "size_vram": 4, "context_length": None}
    aside = {"next_look_s": 3.2, "error_code": "server_busy", "reason": "busy"}
    host = {
        "url": "http://gpu:11434",
        "reachable": True,
        "slots": None,
        "in_flight": 3,
        "loaded_models": [loaded],
        "quarantine": aside,
        "a_field_of_a_later_version": 1,
    }

    def service(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/hosts"
        return httpx.Response(200, json=whole(HostPage, {"data": [host]}))

    (told,) = await client_of(service).hosts()

    assert (told.url, told.reachable, told.slots, told.in_flight) == (host["url"], True, None, 3)
    assert told.loaded_models is not None
    assert told.loaded_models[0].size_vram == 4
    assert told.quarantine is not None
    assert told.quarantine.error_code == "server_busy"
    assert (told.calls, told.latency_s) == (None, None)


async def test_a_service_that_is_not_there_is_unreachable(client_of: Clients) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(ServiceUnreachable, match="refused"):
        await client_of(service, attempts=1).models()


async def test_an_answer_that_cannot_be_decoded_is_unexpected(client_of: Clients) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        headers = {"content-encoding": "gzip"}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b"no gzip"))

    with pytest.raises(UnexpectedAnswer):
        await client_of(service).health()


async def test_results_are_asked_for_page_by_page(client_of: Clients) -> None:
    cursors: list[str | None] = []

    def service(request: httpx.Request) -> httpx.Response:
        cursor = request.url.params.get("cursor")
        cursors.append(cursor)
        if cursor is None:
            return httpx.Response(
                200, json=whole(ResultPage, {"data": [result(0), result(1)], "next_cursor": "c"})
            )
        return httpx.Response(200, json=whole(ResultPage, {"data": [result(2)]}))

    results = [one async for one in client_of(service).results("batch_1", page_size=2)]

    assert [one.index for one in results] == [0, 1, 2]
    assert cursors == [None, "c"]


async def test_a_stream_of_results_is_read_line_by_line(client_of: Clients) -> None:
    lines = "".join(json.dumps(result(index), ensure_ascii=False) + "\n" for index in range(3))

    def service(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept"] == "application/x-ndjson"
        assert request.url.params["status"] == "succeeded"
        return httpx.Response(200, content=lines.encode())

    results = [
        one async for one in client_of(service).stream_results("batch_1", status="succeeded")
    ]

    assert results == [Result.model_validate(result(index)) for index in range(3)]


class _Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield json.dumps(result(0)).encode() + b"\n"
        raise httpx.RemoteProtocolError("incomplete chunked read")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


async def test_a_stream_that_breaks_off_is_not_taken_for_its_end(client_of: Clients) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=_Cut())

    results = client_of(service).stream_results("batch_1")

    assert (await anext(results)).index == 0
    with pytest.raises(ServiceUnreachable):
        await anext(results)


async def test_a_refused_stream_is_a_problem(client_of: Clients) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"title": "Not found", "detail": "There is no batch_1."})

    with pytest.raises(PromptmillProblem, match="There is no batch_1"):
        [one async for one in client_of(service).stream_results("batch_1")]


async def test_watching_goes_on_after_an_outage(client_of: Clients) -> None:
    answers: list[Any] = [batch(), None, httpx.Response(503, text="starting"), batch("completed")]

    def service(request: httpx.Request) -> httpx.Response:
        answer = answers.pop(0)
        if answer is None:
            raise httpx.ConnectError("refused", request=request)
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)

    client = client_of(service, attempts=1)
    sightings = [one async for one in client.watch("batch_1", every_s=0.0)]

    assert [
        one.status if isinstance(one, Batch) else type(one.error).__name__ for one in sightings
    ] == ["running", "ServiceUnreachable", "ServiceUnreachable", "completed"]
    assert isinstance(sightings[1], Outage)


async def test_waiting_ends_with_the_batch(client_of: Clients) -> None:
    waits: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        waits.append(request.url.params["wait_s"])
        return httpx.Response(200, json=batch("completed" if len(waits) == 2 else "running"))

    ended = await client_of(service).wait("batch_1")

    assert ended.has_ended
    assert ended.all_succeeded
    assert waits == ["30.000", "30.000"]


async def test_waiting_ends_with_the_time_that_was_given(client_of: Clients) -> None:
    def service(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=batch("running"))

    with pytest.raises(WaitTimeout, match="batch_1"):
        await client_of(service).wait("batch_1", timeout_s=0.0)


async def test_the_other_questions_are_answered_with_records(client_of: Clients) -> None:
    asked: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.path}")
        match request.url.path:
            case "/models":
                return httpx.Response(
                    200, json=whole(ModelPage, {"data": [{"name": "tiny:latest", "size": 7}]})
                )
            case "/health":
                return httpx.Response(200, json=whole(Health, {"status": "ok"}))
            case "/ready":
                return httpx.Response(503, json={"title": "Not ready"})
            case "/batches":
                return httpx.Response(200, json={"data": [batch()], "next_cursor": "c"})
            case "/batches/batch_1/cancel":
                return httpx.Response(202, json=batch("cancelling"))
            case _:
                return httpx.Response(204)

    client = client_of(service)

    assert [model.name for model in await client.models()] == ["tiny:latest"]
    assert (await client.health()).status == "ok"
    assert not (await client.ready()).is_ready
    assert (await client.list_batches()).next_cursor == "c"
    assert (await client.cancel("batch_1")).status == "cancelling"
    assert await client.delete("batch_1") is None
    assert asked[-2:] == ["POST /batches/batch_1/cancel", "DELETE /batches/batch_1"]


def test_a_path_before_the_service_is_kept() -> None:
    def service(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://host/mill/health"
        assert request.headers["authorization"] == "Bearer x"
        return httpx.Response(200, json=whole(Health, {"status": "ok"}))

    with Promptmill(
        "http://host/mill/",
        headers={"Authorization": "Bearer x"},
        transport=httpx.MockTransport(service),
    ) as client:
        assert client.health().status == "ok"

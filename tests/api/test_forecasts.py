"""`eta_s` and `queue_position` wherever a batch is told: one, a list, events, the answer to a PATCH."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from promptmill.domain.hosts.reports import CallSpeed, HostReport, Quarantine
from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.workers import WorkerIdentity
from promptmill.services.events import Progressed, follow
from promptmill.store.hosts import host_reports, workers
from promptmill.store.hosts.hosts import register_host
from tests.api.conftest import Service


@pytest.fixture
async def measured(service: Service) -> Service:
    """A worker elsewhere has measured a second a call, at a host of four slots."""
    database = service.resources.database
    identity = WorkerIdentity(id="w", host_name="h", pid=1, version="0.1.0", concurrency=256)
    await database.write(workers.register, identity)
    await tell(service, aside=None)
    return service


async def tell(service: Service, *, aside: Quarantine | None) -> None:
    """Let the worker tell how the host stands."""
    database = service.resources.database
    key = await database.write(register_host, "http://gpu-1:11434")
    report = HostReport(
        url="http://gpu-1:11434",
        slots=4,
        aside=aside,
        on_trial=False,
        calls=9,
        failed=0,
        latency_s=1.0,
        paces={"qwen3:8b": CallSpeed(call_s=1.0, age_s=0.0)},
    )
    await database.write(host_reports.write, "w", {key: report})


async def post(service: Service, prompts: int, **fields: object) -> str:
    body = {"prompts": ["x"] * prompts, "model": "qwen3:8b", "rate_limit_delay": 0, **fields}
    return (await service.post(body)).json()["id"]


async def read(service: Service, batch_id: str) -> dict[str, Any]:
    return (await service.client.get(f"/batches/{batch_id}", params={"limit": 0})).json()


async def test_a_queued_batch_tells_its_place_and_when_it_will_have_ended(measured) -> None:
    first = await post(measured, 40)
    urgent = await post(measured, 40, priority=1)
    unknown = await post(measured, 40, model="never-ran")

    told = {one["id"]: (one["queue_position"], one["eta_s"]) for one in await measured.stored()}

    assert told == {urgent: (1, 10.0), first: (2, 20.0), unknown: (3, None)}
    assert (await read(measured, first))["eta_s"] == 20.0


async def test_nothing_is_foretold_while_the_only_host_is_put_aside(measured) -> None:
    busy = Quarantine(error_code=ErrorCode.SERVER_BUSY, reason="busy", next_look_s=60.0)
    await tell(measured, aside=busy)

    assert (await read(measured, await post(measured, 40)))["eta_s"] is None


async def test_what_a_client_changes_changes_the_forecast(measured) -> None:
    batch_id = await post(measured, 40)
    path = f"/batches/{batch_id}"

    narrower = await measured.client.patch(path, json={"max_concurrent": 1})
    paused = await measured.client.post(f"{path}/pause")
    resumed = await measured.client.post(f"{path}/resume")

    told = [answer.json()["eta_s"] for answer in (narrower, paused, resumed)]
    assert told == [40.0, None, 40.0]


async def test_nothing_is_foretold_beyond_the_time_that_a_batch_has(measured) -> None:
    batch_id = await post(measured, 400, expires_in_s=30)

    assert 0 < (await read(measured, batch_id))["eta_s"] <= 30


async def test_the_events_of_a_batch_tell_it_and_a_new_forecast_alone_is_no_event(
    measured,
) -> None:
    batch_id = await post(measured, 40)
    stop = asyncio.Event()
    told = follow(measured.resources, batch_id, after=0, with_results=False, stop=stop, apart_s=0.0)
    async with contextlib.aclosing(told) as events:
        first = await anext(events)
        await post(measured, 40)
        changed = asyncio.ensure_future(anext(events))
        done, _ = await asyncio.wait([changed], timeout=0.5)
        forecast = (await read(measured, batch_id))["eta_s"]
        stop.set()
        with contextlib.suppress(StopAsyncIteration):
            await changed

    assert isinstance(first, Progressed)
    assert first.batch.eta_s == 10.0
    assert forecast == 20.0
    assert not done

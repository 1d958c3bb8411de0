"""A batch that does not advance says why; the log tells once of a host that is set aside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from promptmill.domain.batches import Batch, WaitingReason
from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.hosts import Host
from promptmill.services import batches, control, hosts
from promptmill.worker.reporting.host_log import HostLog
from tests.worker.conftest import Ollama, Service, stream

PATIENCE_S = 20
WORDS = "you have reached your hourly usage limit"


async def until(service: Service, batch_id: str, met: Callable[[Batch], bool]) -> Batch:
    """The batch as soon as it is so; the database has no event for it."""
    async with asyncio.timeout(PATIENCE_S):
        while not met(batch := await batches.get(service.resources, batch_id)):
            await asyncio.sleep(0.02)
    return batch


def waits(reason: WaitingReason) -> Callable[[Batch], bool]:
    return lambda batch: batch.waiting_for is not None and batch.waiting_for.reason is reason


async def test_a_host_that_nobody_can_connect_to_is_named_and_the_batch_is_queued(
    serving: Any, ollama: Ollama
) -> None:
    ollama.up = False
    async with serving() as service:
        batch_id = await service.submit(2)
        batch = await until(service, batch_id, waits(WaitingReason.HOST_UNREACHABLE))
        assert (batch.state, batch.started_at_ms) == (JobState.QUEUED, None)
        assert batch.waiting_for is not None
        url = service.resources.host.url
        assert batch.waiting_for.message == f"No connection to {url} could be made: refused"
        assert (batch.waiting_for.host, batch.eta_s) == (url, None)
        assert batch.waiting_for.until_ms is not None
        (listed,) = (await batches.list_batches(service.resources, limit=10)).batches
        assert listed.waiting_for is not None
        ollama.up = True
        ended = await service.ended(batch_id)
        assert (ended.counts.succeeded, ended.waiting_for) == (2, None)


async def test_a_host_out_of_service_lets_calls_end_and_begins_nothing_until_it_is_back(
    serving: Any, ollama: Ollama
) -> None:
    ollama.hold = asyncio.Event()
    async with serving() as service:
        (host,) = await hosts.list_hosts(service.resources)
        assert host.id is not None
        batch_id = await service.submit(12)
        async with asyncio.timeout(PATIENCE_S):
            await ollama.arrived.wait()
        await until(service, batch_id, lambda batch: batch.counts.running == 5)
        closed = await hosts.set_enabled(service.resources, host.id, enabled=False)
        assert closed.enabled is False
        ollama.hold.set()
        batch = await until(service, batch_id, waits(WaitingReason.HOST_DISABLED))
        assert (batch.counts.succeeded, batch.counts.pending) == (5, 7)
        assert (batch.waiting_for.host, batch.eta_s) == (host.url, None)
    async with serving() as service:
        # Another worker finds it so.
        batch = await until(service, batch_id, waits(WaitingReason.HOST_DISABLED))
        assert len(ollama.asked) == 5
        await hosts.set_enabled(service.resources, host.id, enabled=True)
        assert (await service.ended(batch_id)).counts.succeeded == 12


async def test_a_usage_limit_is_told_with_its_words_and_its_end(
    serving: Any, ollama: Ollama
) -> None:
    ollama.answer = lambda _: httpx.Response(
        429, json={"error": WORDS}, headers={"Retry-After": "3600"}
    )
    async with serving() as service:
        batch_id = await service.submit(1)
        batch = await until(service, batch_id, waits(WaitingReason.USAGE_LIMIT))
        assert batch.state is JobState.QUEUED
        assert batch.waiting_for is not None
        assert WORDS in batch.waiting_for.message
        left_ms = (batch.waiting_for.until_ms or 0) - batch.read_at_ms
        assert 3_500_000 < left_ms <= 3_600_000
        assert len(ollama.asked) == 1


async def test_a_pause_a_delay_and_another_attempt_are_told(serving: Any, ollama: Ollama) -> None:
    ollama.answer = lambda body: (
        httpx.Response(500, json={"error": "broken"}) if "bad" in body["prompt"] else stream()
    )
    async with serving(retry_base_s=600, retry_most_s=600) as service:
        slow = Limits(max_concurrent=1, rate_limit_delay_s=3600.0)
        paced = await service.submit(2, limits=slow)
        failing = await service.submit(["bad"])
        batch = await until(service, paced, waits(WaitingReason.START_LIMIT))
        assert batch.counts.succeeded == 1
        await until(service, failing, waits(WaitingReason.NEXT_ATTEMPT))
        await control.pause(service.resources, paced)
        await until(service, paced, waits(WaitingReason.PAUSED))


async def test_another_batch_that_goes_first_is_the_reason(serving: Any, ollama: Ollama) -> None:
    ollama.hold = asyncio.Event()
    async with serving(concurrency=1) as service:
        first = await service.submit(1)
        await ollama.arrived.wait()
        second = await service.submit(1)
        await until(service, second, waits(WaitingReason.OTHER_BATCHES))
        assert (await batches.get(service.resources, first)).waiting_for is None
        ollama.hold.set()
        await service.ended(second)


async def test_without_a_worker_that_is_the_reason(serving: Any) -> None:
    async with serving(embedded_worker=False) as service:
        batch_id = await service.submit(1)
        await until(service, batch_id, waits(WaitingReason.WORKERS_MISSING))


# --- the log --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def logged_host(ollama: Ollama) -> AsyncIterator[tuple[Host, HostLog, list[float]]]:
    now = [100.0]
    client = OllamaClient("gpu", transport=httpx.MockTransport(ollama))
    host = Host(client, clock=lambda: now[0])
    yield host, HostLog(host, clock=lambda: now[0]), now
    await client.aclose()


def call(model: str = "m") -> Any:
    from promptmill.domain.calls import Call

    return Call(model=model, prompt="x")


def told(lines: list[Any]) -> list[tuple[str, str]]:
    return [(line["log_level"], line["action"]) for line in lines]


async def test_a_host_that_goes_and_comes_back_has_one_warning_and_one_line_of_information(
    ollama: Ollama,
) -> None:
    async with logged_host(ollama) as (host, log, now):
        with capture_logs() as lines:
            ollama.up = False
            await host.run(call())
            for _ in range(20):
                log.note()
                now[0] += 10.0
                await host.probe()
            ollama.up = True
            now[0] += 10.0
            await host.probe()
            log.note()
            await host.run(call())
            log.note()
            log.note()
    assert told(lines) == [("warning", "host_aside"), ("info", "host_back")]
    assert lines[0]["host"] == "http://gpu:11434"
    assert "refused" in lines[0]["event"]


async def test_a_host_that_is_busy_again_and_again_is_told_of_once(ollama: Ollama) -> None:
    ollama.answer = lambda _: httpx.Response(503, json={"error": "server busy"})
    async with logged_host(ollama) as (host, log, now):
        with capture_logs() as lines:
            for _ in range(10):
                await host.run(call())
                log.note()
                now[0] += 5.0
                await host.probe()
                log.note()
    assert told(lines) == [("warning", "host_aside")]


async def test_a_host_that_is_back_without_work_is_told_of_after_a_while(ollama: Ollama) -> None:
    async with logged_host(ollama) as (host, log, now):
        with capture_logs() as lines:
            ollama.up = False
            await host.look()
            log.note()
            ollama.up = True
            now[0] += 1.0
            await host.probe()
            log.note()
            assert told(lines) == [("warning", "host_aside")]
            now[0] += 10.0
            log.note()
    assert told(lines) == [("warning", "host_aside"), ("info", "host_back")]


async def test_a_usage_limit_has_one_warning_with_its_words_and_one_line_at_its_end(
    ollama: Ollama,
) -> None:
    ollama.answer = lambda _: httpx.Response(429, json={"error": WORDS})
    async with logged_host(ollama) as (host, log, now):
        with capture_logs() as lines:
            for _ in range(5):
                await host.run(call("cloud"))
                log.note()
                now[0] += 300.0
            ollama.answer = lambda _: stream()
            await host.run(call("cloud"))
            log.note()
    assert told(lines) == [("warning", "model_limited"), ("info", "model_back")]
    assert WORDS in lines[0]["event"]
    assert (lines[0]["model"], lines[0]["until"][:4]) == ("cloud:latest", lines[0]["until"][:4])


@pytest.mark.parametrize("reason", list(WaitingReason))
def test_every_reason_stands_in_the_documentation_of_the_api(reason: WaitingReason) -> None:
    from typing import get_args

    from promptmill.contract.batches import WaitingFor, WaitingWord

    assert f"`{reason.value}`" in (WaitingFor.model_fields["reason"].description or "")
    assert reason.value in get_args(WaitingWord)

"""Outcomes that the database refuses, or takes late: none of them costs another prompt anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.outcomes import CallMetrics, ErrorCode
from promptmill.domain.workers import WorkerIdentity
from promptmill.ollama.text import LARGEST_NUMBER, LONGEST_NAME, MOST_TOKENS
from promptmill.runtime import open_resources
from promptmill.services import batches
from promptmill.store.db.tables.batches import job_stats, result
from promptmill.store.db.tables.benchmarks import benchmark_run
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import completions
from promptmill.store.queue.leases import HostShare
from promptmill.worker.runner import Worker
from promptmill.worker.scheduling.allocation import WorkerHost
from tests.worker.conftest import Ollama, Service, stream

TOO_LARGE = CallMetrics(total_duration=2**70)


@pytest.fixture
async def idle(settings: Any, ollama: Ollama) -> AsyncIterator[tuple[Service, Worker]]:
    """A service with a worker whose roles the test runs itself."""
    async with open_resources(settings, transport=httpx.MockTransport(ollama)) as resources:
        url = resources.host.url
        key = await resources.database.write(register_host, url)
        place = WorkerHost(host=resources.host, share=HostShare(key=key, url=url, slots=None))
        identity = WorkerIdentity(
            id="w", host_name="h", pid=1, version=resources.settings.ollama_host, concurrency=8
        )
        yield Service(resources), Worker(resources, identity=identity, places=[place])


async def finish_calls(worker: Worker) -> None:
    await worker.dispatcher.run_once()
    while worker.executor.running:
        await asyncio.sleep(0)


def spoil(worker: Worker, *indexes: int) -> None:
    """Give these outcomes a number that no column holds."""
    taken = worker.recorder.take(100)
    worker.recorder.put_back(
        [
            replace(each, outcome=replace(each.outcome, metrics=TOO_LARGE))
            if index in indexes
            else each
            for index, each in enumerate(taken)
        ]
    )


async def test_an_outcome_that_the_database_refuses_fails_alone(idle: Any) -> None:
    service, worker = idle
    first, second = await service.submit(3), await service.submit(2)
    await finish_calls(worker)
    spoil(worker, 1)

    await worker.dispatcher.run_once()

    ended = [await batches.get(service.resources, each) for each in (first, second)]
    results = [each for one in (first, second) for each in await service.results(one)]
    assert [each.state for each in ended] == [JobState.COMPLETED, JobState.COMPLETED]
    assert [each.error_code for each in results if each.status is TaskState.FAILED] == [
        ErrorCode.COULD_NOT_BE_STORED
    ]
    assert sum(each.status is TaskState.SUCCEEDED for each in results) == 4
    assert worker.executor.in_flight == 0


async def test_an_outcome_that_cannot_be_recorded_at_all_is_kept_while_others_go_on(
    idle: Any,
) -> None:
    service, worker = idle
    database = service.resources.database
    batch_id = await service.submit(2)
    await finish_calls(worker)
    (first, _) = worker.recorder.take(2)
    worker.recorder.put_back([first, _])
    # A row of that key makes the database refuse the outcome in whatever form.
    await database.write(
        lambda tx: tx.execute(
            sa.insert(result).values(
                id=first.lease.task_id, status="failed", model="m", attempts=1, finished_at_ms=0
            )
        )
    )

    await worker.dispatcher.run_once()

    assert (await batches.get(service.resources, batch_id)).counts.succeeded == 1
    assert list(worker.executor.leases()) == [(first.lease.task_id, first.lease.token)]
    other = await service.submit(1)
    await finish_calls(worker)
    await worker.dispatcher.run_once()
    assert (await batches.get(service.resources, other)).state is JobState.COMPLETED


async def test_what_a_host_sends_beyond_all_bounds_is_stored_without_its_nonsense(
    serving: Any, ollama: Ollama
) -> None:
    ollama.answer = lambda body: stream(
        done_reason="because " * 40,
        eval_count=2**62,
        prompt_eval_count=-1,
        total_duration=2**63 - 1,
        logprobs=[
            {"token": "a", "logprob": float("-inf")},
            {"token": "b", "logprob": float("nan")},
        ],
    )
    async with serving() as service:
        batch_id = await service.submit(3)
        assert (await service.ended(batch_id)).state is JobState.COMPLETED
        (first, *_) = await service.results(batch_id)
        assert len(first.done_reason) == LONGEST_NAME
        assert (first.metrics.eval_count, first.metrics.prompt_eval_count) == (None, None)
        assert first.metrics.total_duration is None
        assert [each["logprob"] for each in first.logprobs] == [None, None]


def test_the_bounds_of_what_comes_in_are_those_of_the_columns() -> None:
    assert result.c.done_reason.type.length == benchmark_run.c.done_reason.type.length
    assert result.c.done_reason.type.length == LONGEST_NAME
    # PostgreSQL's BIGINT is the narrowest of the columns for numbers: eight bytes.
    for column in (result.c.total_duration, result.c.eval_count, job_stats.c.completion_tokens):
        assert column.type.python_type is int
        assert type(column.type).__name__ == "BigInteger"
    assert LARGEST_NUMBER < 2**63
    assert MOST_TOKENS * 2**32 < 2**63, "a batch may have 2**32 prompts"


async def test_a_prompt_whose_outcome_waits_for_the_database_keeps_its_lease(
    idle: Any, settings: Any
) -> None:
    service, worker = idle
    batch_id = await service.submit(2)
    await finish_calls(worker)
    await asyncio.sleep(settings.lease_s)  # The lease has to run out by the database's clock.

    await worker.rescuer.run_once()
    await worker.dispatcher.run_once()

    batch = await batches.get(service.resources, batch_id)
    assert batch.counts.succeeded == 2
    assert worker.dispatcher.fenced == 0


async def test_a_prompt_that_is_lost_again_comes_back_apart_from_its_neighbours(
    idle: Any,
) -> None:
    service, worker = idle
    await service.submit(3)
    database, waits = service.resources.database, iter(range(1, 10))

    def draw(losses: int) -> float:
        return next(waits) * 100.0 * losses

    for _ in range(2):
        await finish_calls(worker)
        worker.recorder.take(100)
        await database.write(completions.rescue, all_running=True, backoff_s=draw)
    await worker.dispatcher.run_once()
    assert worker.executor.running == 0
    assert next(waits) == 4, "each of the three has a wait of its own"

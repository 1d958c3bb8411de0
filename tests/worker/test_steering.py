"""A batch that is steered while a real worker works on it, on both databases and by real time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from promptmill.domain.batches import Batch, BatchChanges, Counts, FailureLimit
from promptmill.domain.errors import Conflict
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from promptmill.services import batches, control
from tests.worker.conftest import Service, stream

ONE_BY_ONE = Limits(max_concurrent=1, rate_limit_delay_s=0)
TWO_AT_ONCE = Limits(max_concurrent=2, rate_limit_delay_s=0)


async def seen(service: Service, batch_id: str, condition: Callable[[Counts], bool]) -> Batch:
    """The batch as soon as its counts are so."""
    async with asyncio.timeout(20):
        while True:
            batch = await batches.get(service.resources, batch_id)
            if condition(batch.counts):
                return batch
            await asyncio.sleep(0.01)


async def in_flight(ollama: Any, number: int) -> None:
    """Wait until the host has that many calls at once."""
    async with asyncio.timeout(20):
        while ollama.in_flight < number:
            ollama.arrived.clear()
            await ollama.arrived.wait()


async def test_a_paused_batch_lets_others_by_and_goes_on_when_resumed(
    serving: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with serving() as service:
        batch_id = await service.submit(10, limits=TWO_AT_ONCE)
        await in_flight(ollama, 2)
        paused = await control.pause(service.resources, batch_id)
        ollama.hold.set()
        await seen(service, batch_id, lambda counts: counts.succeeded == 2)
        # Another batch that comes and goes shows that the worker has looked for work.
        await service.ended(await service.submit(["another"]))
        rested = await batches.get(service.resources, batch_id)
        asked = len(ollama.asked)
        await control.resume(service.resources, batch_id)
        ended = await service.ended(batch_id)

    assert (paused.state, paused.counts.running) == (JobState.PAUSED, 2)
    assert (rested.state, rested.counts.pending, rested.counts.running) == (JobState.PAUSED, 8, 0)
    assert asked == 3
    assert (ended.state, ended.counts.succeeded) == (JobState.COMPLETED, 10)
    assert len(ollama.asked) == 11


async def test_what_is_running_when_the_time_runs_out_may_finish_and_the_rest_expires(
    serving: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with serving() as service:
        batch_id = await service.submit(4, limits=ONE_BY_ONE, expires_in_s=2)
        await in_flight(ollama, 1)
        await seen(service, batch_id, lambda counts: counts.expired == 3)
        ollama.hold.set()
        batch = await service.ended(batch_id)
        results = await service.results(batch_id)

    assert batch.state is JobState.EXPIRED
    assert batch.error == "Time ran out before 3 of the 4 prompts had an answer."
    assert (batch.counts.succeeded, batch.counts.expired) == (1, 3)
    assert [one.error_code for one in results] == [None, *[ErrorCode.EXPIRED] * 3]
    assert len(ollama.asked) == 1


async def test_a_prompt_that_waits_for_its_next_attempt_expires_too(
    serving: Any, ollama: Any
) -> None:
    ollama.answer = lambda body: httpx.Response(500, json={"error": "runner broke"})
    async with serving(retry_base_s=3600, retry_most_s=3600) as service:
        batch_id = await service.submit(1, max_attempts=20, expires_in_s=2)
        batch = await service.ended(batch_id)
        (result,) = await service.results(batch_id)

    assert batch.state is JobState.EXPIRED
    assert (result.status, result.error_code) == (TaskState.EXPIRED, ErrorCode.EXPIRED)
    assert result.attempts >= 1


async def test_an_expired_batch_runs_to_its_end_after_a_retry(serving: Any, ollama: Any) -> None:
    async with serving() as service:
        batch_id = await service.submit(3, expires_in_s=0.001)
        await control.pause(service.resources, batch_id)
        expired = await service.ended(batch_id)
        await control.retry(service.resources, batch_id)
        ended = await service.ended(batch_id)

    assert (expired.state, expired.counts.expired) == (JobState.EXPIRED, 3)
    assert (ended.state, ended.counts.succeeded) == (JobState.COMPLETED, 3)
    assert (ended.expires_at_ms, ended.error) == (None, None)


async def test_a_batch_that_fails_too_often_is_stopped_and_can_be_retried(
    serving: Any, ollama: Any
) -> None:
    good = ollama.answer
    ollama.answer = lambda body: httpx.Response(404, json={"error": "model 'm' not found"})
    async with serving() as service:
        batch_id = await service.submit(20, limits=ONE_BY_ONE, max_failures=FailureLimit("10%"))
        stopped = await service.ended(batch_id)
        asked = len(ollama.asked)
        ollama.answer = good
        await control.retry(service.resources, batch_id, indexes=[0, 19])
        two = await service.ended(batch_id)
        await control.retry(service.resources, batch_id)
        ended = await service.ended(batch_id)
        with pytest.raises(Conflict, match="no prompt that failed"):
            await control.retry(service.resources, batch_id)

    assert stopped.state is JobState.FAILED
    assert "3 of 20 prompts failed, more than `max_failures` allows" in str(stopped.error)
    assert (stopped.counts.failed, stopped.counts.cancelled, asked) == (3, 17, 3)
    assert (two.counts.succeeded, two.counts.failed, two.counts.cancelled) == (2, 2, 16)
    assert (ended.state, ended.counts.succeeded) == (JobState.COMPLETED, 20)
    assert (ended.error, ended.max_failures) == (None, FailureLimit("10%"))


async def test_calls_that_run_when_the_stop_rule_strikes_may_finish(
    serving: Any, ollama: Any
) -> None:
    others = asyncio.Event()

    async def answer(body: dict[str, Any]) -> httpx.Response:
        if body["prompt"] == "Question 0":
            return httpx.Response(404, json={"error": "no"})
        await others.wait()
        return stream("late")

    ollama.answer = answer
    async with serving() as service:
        batch_id = await service.submit(9, max_failures=FailureLimit("0"))
        await seen(service, batch_id, lambda counts: counts.cancelled == 4)
        others.set()
        batch = await service.ended(batch_id)

    assert batch.state is JobState.FAILED
    assert (batch.counts.succeeded, batch.counts.failed, batch.counts.cancelled) == (4, 1, 4)


async def test_a_wider_limit_is_used_at_once(serving: Any, ollama: Any) -> None:
    ollama.hold = asyncio.Event()
    # Nobody looks at the database by itself in this time: the change wakes the worker.
    async with serving(poll_s=60) as service:
        batch_id = await service.submit(8, limits=ONE_BY_ONE)
        await in_flight(ollama, 1)
        await control.update(service.resources, batch_id, BatchChanges(max_concurrent=6))
        await in_flight(ollama, 6)
        ollama.hold.set()
        batch = await service.ended(batch_id)

    assert (ollama.peak, batch.counts.succeeded) == (6, 8)


async def test_a_long_delay_between_starts_can_be_taken_away(serving: Any, ollama: Any) -> None:
    async with serving(poll_s=60) as service:
        limits = Limits(max_concurrent=5, rate_limit_delay_s=3600)
        batch_id = await service.submit(4, limits=limits)
        await seen(service, batch_id, lambda counts: counts.succeeded == 1)
        await control.update(service.resources, batch_id, BatchChanges(rate_limit_delay_s=0))
        batch = await service.ended(batch_id)

    assert batch.counts.succeeded == 4

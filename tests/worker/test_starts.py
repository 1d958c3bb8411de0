"""A permit to start is good for moments: who comes later gives it back instead of calling."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from promptmill.domain.calls import Call
from promptmill.domain.limits import START_TOLERANCE_S, Limits
from promptmill.domain.outcomes import Outcome, Succeeded
from promptmill.domain.retry import Finish, TryAgain
from promptmill.store.queue.leases import Completion, Lease
from promptmill.worker.executor import Executor
from promptmill.worker.recorder import Recorder

# The clock on the wall is what these tests look at: they run one at a time.
pytestmark = pytest.mark.proof


def lease(*, delay_s: float, start_by: float) -> Lease:
    now = time.monotonic()
    return Lease(
        task_id=1,
        token=2,
        job_key=1,
        batch_id="batch_1",
        attempt=1,
        max_attempts=3,
        limits=Limits(max_concurrent=5, rate_limit_delay_s=delay_s),
        call=Call(model="m", prompt="Why?", parameters={}, timeout_s=10),
        host_key=1,
        accepted_at_ms=0,
        claimed_at_ms=0,
        claimed_at=now,
        start_by=start_by,
        available_at_ms=0,
    )


GIVEN_BACK = TryAgain(wait_s=0.0, charged=False, keeps_place=True, unused=True)


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def executor(calls: list[Call]) -> Executor:
    async def run(call: Call) -> Outcome:
        calls.append(call)
        return Succeeded(response="Because.")

    async def windows_of(call: Call, prompt_tokens: int | None) -> frozenset[int]:
        return frozenset()

    host: Any = SimpleNamespace(run=run, windows_of=windows_of, url="http://ollama:11434")
    arrived = asyncio.Event()
    return Executor({1: host}, Recorder(arrived), backoff_s=lambda attempt: 1.0)


async def outcome_of(executor: Executor, claimed: Lease) -> Completion:
    executor.start(claimed)
    return await next_of(executor)


async def next_of(executor: Executor) -> Completion:
    while not (recorded := executor._recorder.take(1)):
        await asyncio.sleep(0)
    executor.recorded(recorded)
    return recorded[0]


@pytest.mark.parametrize("delay_s", [0.0, 0.1])
async def test_a_call_whose_permit_is_over_is_not_made_and_keeps_its_place_and_attempts(
    executor: Executor, calls: list[Call], delay_s: float
) -> None:
    late = lease(delay_s=delay_s, start_by=time.monotonic() - 0.001)
    back = await outcome_of(executor, late)
    assert back.decision == GIVEN_BACK
    assert calls == []

    in_time = lease(delay_s=delay_s, start_by=time.monotonic() + 10)
    done = await outcome_of(executor, in_time)
    assert done.decision == Finish()
    assert len(calls) == 1


async def test_a_call_that_was_not_made_is_nothing_to_keep_a_distance_from(
    executor: Executor, calls: list[Call]
) -> None:
    await outcome_of(executor, lease(delay_s=3600, start_by=0.0))
    await outcome_of(executor, lease(delay_s=3600, start_by=time.monotonic() + 10))
    assert len(calls) == 1


async def test_a_permit_that_comes_too_early_for_this_process_is_spent_and_no_call_made(
    executor: Executor, calls: list[Call]
) -> None:
    await outcome_of(executor, lease(delay_s=3600, start_by=time.monotonic() + 10))
    early = await outcome_of(executor, lease(delay_s=3600, start_by=time.monotonic() + 10))
    assert early.decision == replace(GIVEN_BACK, unused=False)
    assert len(calls) == 1


async def test_a_stop_gives_the_permit_back_only_of_a_call_that_was_not_begun(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def run(call: Call) -> Outcome:
        begun.set()
        return await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(executor._hosts[1], "run", run)
    executor.start(lease(delay_s=0.1, start_by=time.monotonic() + 10))
    executor.abort_all()
    assert (await next_of(executor)).decision == GIVEN_BACK
    executor.start(lease(delay_s=0.1, start_by=time.monotonic() + 10))
    await begun.wait()
    executor.abort_all()
    assert (await next_of(executor)).decision == replace(GIVEN_BACK, unused=False)


async def test_only_missed_paced_starts_widen_the_window(executor: Executor) -> None:
    await outcome_of(executor, lease(delay_s=0.0, start_by=0.0))
    assert executor.start_window_s == START_TOLERANCE_S
    await outcome_of(executor, lease(delay_s=0.01, start_by=0.0))
    assert executor.start_window_s > START_TOLERANCE_S
    for _ in range(10):
        await outcome_of(executor, lease(delay_s=0.001, start_by=time.monotonic() + 10))
    assert executor.start_window_s == START_TOLERANCE_S


async def test_an_operator_is_told_once_that_calls_begin_late(executor: Executor) -> None:
    with capture_logs() as logged:
        for _ in range(2):
            for _ in range(8):
                await outcome_of(executor, lease(delay_s=0.01, start_by=0.0))
            while executor.start_window_s > START_TOLERANCE_S:
                await outcome_of(executor, lease(delay_s=0.0001, start_by=time.monotonic() + 10))
    assert [one["action"] for one in logged] == ["starts_late", "starts_late"]


async def test_starts_keep_their_distance_and_their_order_while_the_process_is_held_up(
    serving: Any, ollama: Any
) -> None:
    prompts, delay_s = 25, 0.05

    async def hold_up() -> None:
        while True:
            await asyncio.sleep(0.004)
            time.sleep(0.03)

    async with serving() as service:
        trouble = asyncio.create_task(hold_up())
        try:
            limits = Limits(max_concurrent=5, rate_limit_delay_s=delay_s)
            batch_id = await service.submit(prompts, limits=limits)
            await service.ended(batch_id, timeout_s=60)
        finally:
            trouble.cancel()
        results = await service.results(batch_id)

    assert [body["prompt"] for body in ollama.asked] == [f"Question {n}" for n in range(prompts)]
    gaps = [later.started_at_ms - one.started_at_ms for one, later in pairwise(results)]
    assert min(gaps) >= (delay_s - START_TOLERANCE_S) * 1000
    assert all(one.attempts == 1 for one in results)


async def test_batches_with_a_delay_start_without_waiting_for_one_another(
    serving: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with serving(embedded_worker=False) as api:
        limits = Limits(max_concurrent=5, rate_limit_delay_s=3600)
        for _ in range(3):
            await api.submit(2, limits=limits)
    async with serving(poll_s=60), asyncio.timeout(20):
        while ollama.in_flight < 3:
            ollama.arrived.clear()
            await ollama.arrived.wait()
        ollama.hold.set()


async def test_exports_that_keep_every_reader_busy_hold_up_no_paced_start(
    serving: Any, ollama: Any
) -> None:
    gate = threading.Event()
    async with serving() as service:
        read = service.resources.database.read
        busy = [asyncio.create_task(read(lambda _: gate.wait())) for _ in range(50)]
        try:
            await service.submit(4, limits=Limits(max_concurrent=4, rate_limit_delay_s=0.1))
            async with asyncio.timeout(10):
                while len(ollama.asked) < 4:
                    ollama.arrived.clear()
                    await ollama.arrived.wait()
        finally:
            gate.set()
            await asyncio.gather(*busy)

"""A whole worker on both databases: from an accepted batch to its results."""

from __future__ import annotations

import asyncio
import statistics
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from promptmill.domain.errors import Unavailable
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from promptmill.services import batches
from promptmill.store.db.database import Transaction
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import claims
from promptmill.store.queue.leases import HostShare, Lease
from promptmill.worker.runner import Worker, working


async def test_every_prompt_gets_its_own_answer_in_order(serving: Any) -> None:
    async with serving() as service:
        batch_id = await service.submit(50)
        batch = await service.ended(batch_id)
        results = await service.results(batch_id)
    assert batch.state is JobState.COMPLETED
    assert (batch.counts.succeeded, batch.counts.total) == (50, 50)
    assert [one.response for one in results] == [f"re: Question {n}" for n in range(50)]
    assert all(one.attempts == 1 and one.metrics.latency_s is not None for one in results)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_batch_ends_in_the_transaction_that_records_its_last_result(serving: Any) -> None:
    """So nobody sees a batch that runs with nothing left. `xmin` is the writing transaction."""

    def writers(tx: Transaction) -> Sequence[int]:
        of_job = sa.text("SELECT xmin::text::bigint FROM job")
        of_results = sa.text("SELECT max(xmin::text::bigint) FROM result")
        return [tx.execute(each).scalar_one() for each in (of_job, of_results)]

    async with serving() as service:
        await service.ended(await service.submit(3))
        job, last_result = await service.resources.database.read(writers)
    assert job == last_result


async def test_no_more_run_at_once_than_the_batch_allows(serving: Any, ollama: Any) -> None:
    ollama.hold = asyncio.Event()
    async with serving() as service:
        batch_id = await service.submit(20, limits=Limits(max_concurrent=4, rate_limit_delay_s=0))
        while ollama.in_flight < 4:
            ollama.arrived.clear()
            await ollama.arrived.wait()
        counts = (await batches.get(service.resources, batch_id)).counts
        assert (counts.running, counts.pending) == (4, 16)
        ollama.hold.set()
        await service.ended(batch_id)
    assert ollama.peak == 4


async def test_two_batches_share_the_hosts_slots(serving: Any, ollama: Any) -> None:
    async with serving(ollama_slots=3) as service:
        first, second = await service.submit(20), await service.submit(20)
        await service.ended(first)
        await service.ended(second)
    assert ollama.peak <= 3


@pytest.mark.proof
async def test_starts_keep_the_distance_asked_for(serving: Any, ollama: Any) -> None:
    async with serving() as service:
        limits = Limits(max_concurrent=5, rate_limit_delay_s=0.05)
        await service.ended(await service.submit(8, limits=limits))
    gaps = [later - earlier for earlier, later in pairwise(ollama.starts)]
    assert min(gaps) >= 0.049
    assert statistics.median(gaps) < 0.05 * 1.5


async def test_a_failed_attempt_is_tried_again_until_one_succeeds(
    serving: Any, ollama: Any
) -> None:
    answers = [
        httpx.Response(500, json={"error": "llama runner process no longer running: -1 "}),
        httpx.Response(500, json={"error": "llama runner process no longer running: -1 "}),
    ]
    good = ollama.answer
    ollama.answer = lambda body: answers.pop() if answers else good(body)
    async with serving() as service:
        batch_id = await service.submit(1)
        await service.ended(batch_id)
        (result,) = await service.results(batch_id)
    assert (result.status, result.attempts) == (TaskState.SUCCEEDED, 3)


async def test_attempts_run_out(serving: Any, ollama: Any) -> None:
    ollama.answer = lambda body: httpx.Response(500, json={"error": "runner broke"})
    async with serving() as service:
        batch_id = await service.submit(1, max_attempts=2)
        batch = await service.ended(batch_id)
        (result,) = await service.results(batch_id)
    assert (batch.state, len(ollama.asked)) == (JobState.FAILED, 2)
    assert (result.error_code, result.attempts) == (ErrorCode.SERVER_ERROR, 2)
    assert "runner broke" in str(result.error)


async def test_a_prompt_that_ollama_refuses_is_not_tried_again(serving: Any, ollama: Any) -> None:
    ollama.answer = lambda body: httpx.Response(404, json={"error": "model 'm' not found"})
    async with serving() as service:
        batch_id = await service.submit(3)
        batch = await service.ended(batch_id)
        results = await service.results(batch_id)
    assert len(ollama.asked) == 3
    assert {one.error_code for one in results} == {ErrorCode.MODEL_NOT_FOUND}
    assert "model 'm' not found" in str(batch.error)


async def test_a_host_that_is_down_costs_no_attempt(serving: Any, ollama: Any) -> None:
    ollama.up = False
    async with serving() as service:
        batch_id = await service.submit(3, max_attempts=1)
        while service.resources.host.available:
            await asyncio.sleep(0.01)
        batch = await batches.get(service.resources, batch_id)
        assert batch.counts.finished == 0
        ollama.up = True
        await service.ended(batch_id)
        results = await service.results(batch_id)
    assert [one.attempts for one in results] == [1, 1, 1]


async def test_cancelling_aborts_running_calls_and_keeps_results(serving: Any, ollama: Any) -> None:
    never = asyncio.Event()

    async def answer(body: dict[str, Any]) -> Any:
        if body["prompt"] != "Question 0":
            await never.wait()
        from tests.worker.conftest import stream

        return stream("first")

    ollama.answer = answer
    async with serving() as service:
        batch_id = await service.submit(10, limits=Limits(max_concurrent=2, rate_limit_delay_s=0))
        while (await batches.get(service.resources, batch_id)).counts.succeeded < 1:
            await asyncio.sleep(0.01)
        await batches.cancel(service.resources, batch_id)
        batch = await service.ended(batch_id)
        results = await service.results(batch_id)
        assert ollama.in_flight == 0
    assert batch.state is JobState.CANCELLED
    assert (batch.counts.succeeded, batch.counts.cancelled) == (1, 9)
    assert [one.index for one in results] == list(range(10))


async def test_a_graceful_stop_lets_running_calls_end(serving: Any, ollama: Any) -> None:
    ollama.hold = asyncio.Event()
    async with serving() as service:
        batch_id = await service.submit(10)
        await ollama.arrived.wait()
        asyncio.get_running_loop().call_later(0.2, ollama.hold.set)
    async with serving(embedded_worker=False) as service:
        counts = (await batches.get(service.resources, batch_id)).counts
    assert (counts.running, counts.succeeded) == (0, 5)
    assert len(ollama.asked) == 5


async def test_a_stop_in_the_middle_of_a_claim_leaves_no_prompt_under_a_lease(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed, go_on = threading.Event(), threading.Event()
    claim, drain = claims.claim, Worker.drain

    def claim_slowly(*args: Any, **fields: Any) -> Sequence[Lease]:
        leases = claim(*args, **fields)
        if leases:
            claimed.set()
            assert go_on.wait(20)
        return leases

    async def drain_meanwhile(worker: Worker) -> None:
        draining = asyncio.create_task(drain(worker))
        for _ in range(10):
            await asyncio.sleep(0)
        go_on.set()
        await draining

    async with serving(embedded_worker=False) as api:
        batch_id = await api.submit(3)
        with monkeypatch.context() as patched:
            patched.setattr(claims, "claim", claim_slowly)
            patched.setattr(Worker, "drain", drain_meanwhile)
            async with working(api.resources):
                assert await asyncio.to_thread(claimed.wait, 20)
        counts = (await batches.get(api.resources, batch_id)).counts
    assert (counts.running, counts.total) == (0, 3)


async def test_a_stop_past_its_deadline_gives_prompts_back_uncharged(
    serving: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with serving(drain_s=0.1) as service:
        batch_id = await service.submit(3)
        await ollama.arrived.wait()
    ollama.hold.set()
    async with serving() as service:
        await service.ended(batch_id)
        results = await service.results(batch_id)
    assert [one.attempts for one in results] == [1, 1, 1]


async def test_work_left_behind_by_a_dead_worker_is_taken_up(serving: Any) -> None:
    async with serving(embedded_worker=False) as service:
        batch_id = await service.submit(3)

        key = await service.resources.database.write(register_host, "http://h")
        share = HostShare(key=key, url="http://h", slots=None)
        await service.resources.database.write(
            claims.claim, wanted=3, owner="dead", lease_ms=1, share=share
        )
    async with serving() as service:
        await service.ended(batch_id)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_second_worker_on_a_sqlite_file_is_refused(serving: Any) -> None:
    async with serving():
        with pytest.raises(Unavailable, match="Another Promptmill"):
            async with serving():
                pass


async def test_a_call_that_fails_in_an_unforeseen_way_costs_the_prompt_not_the_worker(
    serving: Any, ollama: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as service:

        async def broken(call: Any) -> Any:
            raise RuntimeError("a bug")

        host = service.resources.host
        monkeypatch.setattr(host, "run", broken)
        batch_id = await service.submit(1, max_attempts=1)
        batch = await service.ended(batch_id)
        assert "RuntimeError" in str(batch.error)

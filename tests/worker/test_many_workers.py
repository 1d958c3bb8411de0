"""Workers that share a PostgreSQL: they wake each other, and take over from each other."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.limits import Limits
from promptmill.domain.workers import Worker
from promptmill.services import batches, workers
from promptmill.store.batches import jobs
from promptmill.store.db.notify import LISTENER_NAME
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import candidates, claims, completions
from promptmill.store.queue.leases import HostShare
from promptmill.worker.executor import Executor
from promptmill.worker.recorder import Recorder
from promptmill.worker.rescuer import Rescuer

ENOUGH_S = 10
"""For anything that needs no poll, on a busy machine; a third of the poll of `RARELY`."""
RARELY = {"poll_s": 30}
"""Polls so seldom that what is seen to happen in time was told."""
postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


async def until(condition: Callable[[], Awaitable[bool]], *, timeout_s: float = ENOUGH_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.01)


async def only_worker(service: Any) -> Worker:
    (worker,) = await workers.list_workers(service.resources)
    return worker


@pytest.mark.postgresql
@postgresql_only
async def test_a_batch_posted_to_one_process_wakes_the_worker_of_another(serving: Any) -> None:
    async with (
        serving(**RARELY) as _working,
        serving(embedded_worker=False, **RARELY) as api,
    ):
        await listening(api, 2)
        # The worker has looked once and pauses now.
        await until(lambda: api_sees_idle(api))
        begun = time.monotonic()
        batch_id = await api.submit(3)
        # Who waits here is told of the end by the worker's process.
        await api.ended(batch_id, timeout_s=60)

    assert time.monotonic() - begun < ENOUGH_S


@pytest.mark.postgresql
@postgresql_only
async def test_cancelling_in_one_process_aborts_the_calls_of_another(
    serving: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with (
        serving(**RARELY) as _working,
        serving(embedded_worker=False, **RARELY) as api,
    ):
        await listening(api, 2)
        batch_id = await api.submit(2)
        await ollama.arrived.wait()
        begun = time.monotonic()
        await batches.cancel(api.resources, batch_id)
        await api.ended(batch_id, timeout_s=60)

    assert time.monotonic() - begun < ENOUGH_S
    assert ollama.in_flight == 0


@pytest.mark.postgresql
@postgresql_only
async def test_poll_only_never_listens_and_works_all_the_same(serving: Any) -> None:
    async with (
        serving(poll_only=True) as _working,
        serving(poll_only=True, embedded_worker=False) as api,
    ):
        await api.ended(await api.submit(3))
        assert await listeners(api) == 0
    async with serving(embedded_worker=False) as api:
        await listening(api, 1)


@pytest.mark.postgresql
@postgresql_only
async def test_what_a_stopping_worker_gives_back_another_takes_up_at_once(
    serving: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with (
        serving(embedded_worker=False, **RARELY) as api,
        contextlib.AsyncExitStack() as stack,
    ):
        async with serving(drain_s=0.1, **RARELY):
            batch_id = await api.submit(2)
            await until(lambda: runs(api, batch_id, 2))
            await stack.enter_async_context(serving(**RARELY))
            await listening(api, 3)
        begun = time.monotonic()
        ollama.hold.set()
        await api.ended(batch_id, timeout_s=60)
        assert time.monotonic() - begun < ENOUGH_S
    assert len(ollama.asked) == 4


async def test_a_worker_is_seen_while_it_is_idle_and_says_goodbye(serving: Any) -> None:
    async with serving(embedded_worker=False, heartbeat_s=0.1) as outside:
        assert await workers.list_workers(outside.resources) == []

    async with serving(heartbeat_s=0.1, concurrency=7) as service:
        first = await only_worker(service)
        assert (first.state, first.identity.concurrency) == ("alive", 7)

        async def seen_again() -> bool:
            return (await only_worker(service)).seen_at_ms > first.seen_at_ms

        await until(seen_again)
        await service.ended(await service.submit(5))

    async with serving(embedded_worker=False) as outside:
        last = await only_worker(outside)
    assert (last.state, last.finished, last.fenced, last.in_flight) == ("stopped", 5, 0, 0)
    assert last.identity == first.identity


async def test_an_outcome_that_came_too_late_is_counted_with_its_worker(
    serving: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with serving(lease_s=60, heartbeat_s=20, poll_s=0.1) as service:
        batch_id = await service.submit(1)
        await ollama.arrived.wait()
        await until(lambda: runs(service, batch_id, 1))
        # As if the worker had been silent for longer than its lease.
        await service.resources.database.write(completions.rescue, all_running=True)

        async def is_asked_again() -> bool:
            return len(ollama.asked) == 2

        await until(is_asked_again)
        ollama.hold.set()
        await service.ended(batch_id)
        assert len(await service.results(batch_id)) == 1
    async with serving(embedded_worker=False) as outside:
        worker = await only_worker(outside)
    assert (worker.finished, worker.fenced) == (1, 1)


@pytest.mark.postgresql
@postgresql_only
async def test_a_heartbeat_goes_on_when_its_session_was_cut(serving: Any) -> None:
    async with serving(heartbeat_s=0.1) as service:
        before = await only_worker(service)
        await service.resources.database.write(
            lambda tx: tx.execute(
                sa.text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
        )

        async def seen_again() -> bool:
            return (await only_worker(service)).seen_at_ms > before.seen_at_ms + 500

        await until(seen_again)


@pytest.mark.proof
@pytest.mark.postgresql
@postgresql_only
async def test_a_dead_workers_prompts_go_back_as_soon_as_its_lease_runs_out(
    serving: Any, ollama: Any
) -> None:
    async with serving(lease_s=12, heartbeat_s=1, **RARELY) as service:
        database = service.resources.database
        key = await database.write(register_host, "http://elsewhere:11434")
        share = HostShare(key=key, url="http://elsewhere:11434", slots=None)

        def die_with_a_prompt(tx: Any) -> None:
            from tests.worker.conftest import BatchDraft, PromptDraft

            draft = BatchDraft(
                prompts=[PromptDraft("Why?")], model="m", limits=Limits(rate_limit_delay_s=0)
            )
            jobs.insert(tx, draft, batch_id="batch_1")
            claims.claim(
                tx,
                wanted=1,
                owner="dead",
                lease_ms=5_000,
                share=share,
                aging_ms=candidates.NEVER_MS,
            )

        begun = time.monotonic()
        await database.write(die_with_a_prompt)
        await ollama.arrived.wait()

    # Looking each third of 12 s, it would have been found out after 8 s.
    assert 5 <= time.monotonic() - begun < 6.5


@pytest.mark.parametrize(("lease_ends_in_s", "least", "most"), [(0.7, 0.7, 1.3), (29, 8, 10)])
async def test_the_rescuer_sleeps_until_the_next_lease_runs_out_but_not_for_long(
    serving: Any, lease_ends_in_s: float, least: float, most: float
) -> None:
    async with serving(embedded_worker=False) as service:
        database, signals = service.resources.database, service.resources.signals
        rescuer = Rescuer(
            database=database,
            signals=signals,
            executor=Executor({}, Recorder(asyncio.Event()), backoff_s=float),
            owner="w",
            lease_s=30,
            backoff_s=float,
            retry_most_s=60,
        )
        assert 8 <= await rescuer.run_once() <= 10

        await service.submit(1)
        key = await database.write(register_host, "http://h")
        await database.write(
            claims.claim,
            wanted=1,
            owner="w",
            lease_ms=round(lease_ends_in_s * 1000),
            share=HostShare(key=key, url="http://h", slots=None),
            aging_ms=candidates.NEVER_MS,
        )

        assert least - 0.5 <= await rescuer.run_once() <= most


async def runs(service: Any, batch_id: str, number: int) -> bool:
    return (await batches.get(service.resources, batch_id)).counts.running == number


async def api_sees_idle(api: Any) -> bool:
    return [one.in_flight for one in await workers.list_workers(api.resources)] == [0]


async def listeners(service: Any) -> int:
    statement = sa.text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = :name AND datname = current_database()"
    )
    return await service.resources.database.read(
        lambda tx: tx.execute(statement, {"name": LISTENER_NAME}).scalar_one()
    )


async def listening(service: Any, number: int) -> None:
    async def are() -> bool:
        return await listeners(service) == number

    await until(are)

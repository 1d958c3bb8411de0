"""Following a batch whose work is done here or by others, on both databases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.services import batches, control
from promptmill.services.events import Ended, Event, Progressed, ResultsStored, follow, number_of
from promptmill.settings import Settings

ENOUGH_S = 20
RARELY = {"poll_s": 60}
"""Polls so seldom that what is seen to happen in time was told."""
postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def following(
    service: Any, batch_id: str, *, stop: asyncio.Event | None = None, **options: Any
) -> AsyncIterator[Event]:
    fields = {"after": 0, "with_results": True, **options}
    return follow(service.resources, batch_id, stop=stop or asyncio.Event(), **fields)


async def numbers_until_the_end(told: AsyncIterator[Event]) -> list[int]:
    numbers: list[int] = []
    last: Event | None = None
    async for last in told:
        if isinstance(last, ResultsStored):
            numbers += map(number_of, last.results)
    assert isinstance(last, Ended)
    return numbers


async def seen(told: AsyncIterator[Event], state: JobState) -> None:
    async for event in told:
        if not isinstance(event, ResultsStored) and event.batch.state is state:
            return
    raise AssertionError("the end")


async def test_what_happens_in_this_process_is_told_without_a_poll(
    serving: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with asyncio.timeout(ENOUGH_S), serving(**RARELY) as service:
        batch_id = await service.submit(4, limits=Limits(max_concurrent=2, rate_limit_delay_s=0))
        told = following(service, batch_id)
        await seen(told, JobState.RUNNING)
        await control.pause(service.resources, batch_id)
        await seen(told, JobState.PAUSED)
        ollama.hold.set()
        results = await anext(told)
        assert isinstance(results, ResultsStored)
        await control.resume(service.resources, batch_id)
        numbers = await numbers_until_the_end(told)
    assert [*map(number_of, results.results), *numbers] == [1, 2, 3, 4]


async def test_cancelled_prompts_are_told_too(serving: Any, ollama: Any) -> None:
    ollama.hold = asyncio.Event()
    async with asyncio.timeout(ENOUGH_S), serving(**RARELY) as service:
        batch_id = await service.submit(300, limits=Limits(max_concurrent=2, rate_limit_delay_s=0))
        told = following(service, batch_id)
        await seen(told, JobState.RUNNING)
        await batches.cancel(service.resources, batch_id)
        assert await numbers_until_the_end(told) == list(range(1, 301))


async def test_progress_is_told_at_most_four_times_a_second(serving: Any) -> None:
    begun = time.monotonic()
    async with serving() as service:
        batch_id = await service.submit(
            2000, limits=Limits(max_concurrent=50, rate_limit_delay_s=0)
        )
        told = [one async for one in following(service, batch_id)]
    most = (time.monotonic() - begun) * 4 + 1
    progress = [one for one in told if isinstance(one, Progressed)]
    assert 1 < len(progress) <= most
    # Nothing is told twice, and the places only grow.
    assert len({one.batch.counts for one in progress}) == len(progress)
    places = [one.number for one in told if not isinstance(one, ResultsStored)]
    assert places == sorted(places)


async def test_while_nothing_changes_nothing_is_told(serving: Any) -> None:
    async with serving(embedded_worker=False, poll_s=0.05) as service:
        batch_id = await service.submit(1)
        stop = asyncio.Event()
        told = following(service, batch_id, stop=stop, apart_s=0.01)
        assert isinstance(await anext(told), Progressed)
        asyncio.get_running_loop().call_later(0.5, stop.set)
        assert [one async for one in told] == []


@pytest.mark.proof
async def test_stopping_ends_a_stream_at_once(serving: Any) -> None:
    async with serving(embedded_worker=False, **RARELY) as service:
        stop = asyncio.Event()
        told = following(service, await service.submit(1), stop=stop)
        await anext(told)
        next_one = asyncio.create_task(anext(told))
        await asyncio.sleep(0)
        begun = time.monotonic()
        stop.set()
        with pytest.raises(StopAsyncIteration):
            await next_one
    assert time.monotonic() - begun < 1


@pytest.mark.postgresql
@postgresql_only
async def test_results_that_other_processes_store_are_told_once_each_in_their_order(
    serving: Any,
) -> None:
    async with (
        asyncio.timeout(60),
        serving(),
        serving(),
        serving(embedded_worker=False, poll_s=0.05) as api,
    ):
        batch_id = await api.submit(3000, limits=Limits(max_concurrent=60, rate_limit_delay_s=0))
        told = following(api, batch_id, apart_s=0.001)
        assert await numbers_until_the_end(told) == list(range(1, 3001))


@pytest.mark.postgresql
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_stream_survives_a_restart_of_the_database(
    serving: Any, settings: Settings, own_postgresql: Any, ollama: Any
) -> None:
    ollama.hold = asyncio.Event()
    async with asyncio.timeout(60), serving(database_url=own_postgresql.tcp_url) as service:
        batch_id = await service.submit(3)
        told = following(service, batch_id)
        await seen(told, JobState.RUNNING)
        rest = asyncio.create_task(numbers_until_the_end(told))
        await asyncio.to_thread(own_postgresql.stop)
        try:
            # Several looks in vain.
            await asyncio.sleep(1)
            assert not rest.done()
        finally:
            await asyncio.to_thread(own_postgresql.start)
        ollama.hold.set()
        assert await rest == [1, 2, 3]

"""Looks at batches with `max_concurrent: auto`: what they read, and what they write."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from promptmill.domain.batches import BatchChanges
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode, Failed
from promptmill.domain.retry import TryAgain
from promptmill.store.batches import transitions
from promptmill.store.batches.scheduling import adaptive_concurrency
from promptmill.store.batches.scheduling.adaptive_concurrency import Changed
from promptmill.store.db.database import Database
from promptmill.store.db.tables.batches import job, job_stats
from promptmill.store.queue.leases import Recorded
from tests.conftest import FakeClock
from tests.store.farm import Farm, failure

START = Limits(max_concurrent=4, rate_limit_delay_s=0)


def look(database: Database) -> list[Changed]:
    """Look at every batch that is to be adapted; what that changed."""
    keys = database.read_now(adaptive_concurrency.adapted_jobs)
    changes = [database.write_now(adaptive_concurrency.adapt, key) for key in keys]
    return [change for change in changes if change is not None]


def work(farm: Farm, clock: FakeClock, *, slots: int, seconds: int) -> list[Changed]:
    """A host of so many slots, each prompt half a second; looked at once a second."""
    changed: list[Changed] = []
    for _ in range(seconds):
        for _ in range(2):
            leases = farm.leases()
            clock.forward(0.5)
            farm.complete(*leases[:slots])
            waiting = leases[slots:]
            if waiting:
                farm.complete(*waiting, outcome=failure(), decision=TryAgain(0.0, charged=False))
        changed += look(farm.database)
    return changed


def stored(database: Database, column: sa.Column[Any]) -> Any:
    return database.read_now(lambda tx: tx.execute(sa.select(column)).scalar_one())


def test_the_limit_rises_while_throughput_grows(farm: Farm, clock: FakeClock) -> None:
    batch_id = farm.submit(2_000, limits=START, auto_concurrency=True)

    changed = work(farm, clock, slots=100, seconds=30)

    numbers = [(one.before, one.now) for one in changed]
    assert numbers[:3] == [(4, 5), (5, 6), (6, 7)]
    batch = farm.batch(batch_id)
    assert batch.auto_concurrency
    assert batch.limits.max_concurrent == numbers[-1][1]
    assert len(farm.leases()) == numbers[-1][1]


def test_a_batch_with_a_number_is_never_looked_at(farm: Farm, clock: FakeClock) -> None:
    farm.submit(200, limits=START)

    assert work(farm, clock, slots=100, seconds=6) == []
    assert stored(farm.database, job.c.auto_state) is None


def test_a_batch_that_waits_or_is_paused_is_not_looked_at(farm: Farm) -> None:
    batch_id = farm.submit(20, limits=START, auto_concurrency=True)
    assert farm.database.read_now(adaptive_concurrency.adapted_jobs) == []
    farm.leases()
    assert len(farm.database.read_now(adaptive_concurrency.adapted_jobs)) == 1

    farm.database.write_now(transitions.request_pause, batch_id)

    assert farm.database.read_now(adaptive_concurrency.adapted_jobs) == []


def test_several_workers_feed_a_search_once(farm: Farm, clock: FakeClock) -> None:
    farm.submit(20, limits=START, auto_concurrency=True)
    leases = farm.leases()
    look(farm.database)
    clock.forward(1.0)
    farm.complete(*leases)
    look(farm.database)
    state = stored(farm.database, job.c.auto_state)

    clock.forward(0.1)
    look(farm.database)

    assert stored(farm.database, job.c.auto_state) == state


def test_calls_that_find_the_host_busy_are_counted_though_they_are_tried_again(
    farm: Farm,
) -> None:
    farm.submit(20, limits=START, auto_concurrency=True)
    busy: Failed = failure(ErrorCode.SERVER_BUSY)

    recorded = farm.complete(
        *farm.leases(), outcome=busy, decision=TryAgain(wait_s=0.0, charged=False)
    )
    farm.complete(*farm.leases()[:1], outcome=failure(ErrorCode.TIMEOUT))
    farm.complete(*farm.leases()[:1], outcome=failure(ErrorCode.SERVER_ERROR))

    assert recorded == Recorded(finished=0, fenced=0)
    assert stored(farm.database, job_stats.c.setbacks) == 5


def test_a_busy_host_halves_the_limit(farm: Farm, clock: FakeClock) -> None:
    batch_id = farm.submit(200, limits=START, auto_concurrency=True)
    assert work(farm, clock, slots=4, seconds=3) == []

    farm.complete(
        *farm.leases(),
        outcome=failure(ErrorCode.SERVER_BUSY),
        decision=TryAgain(wait_s=0.0, charged=False),
    )
    clock.forward(1.0)

    assert [(one.before, one.now) for one in look(farm.database)] == [(4, 2)]
    assert farm.batch(batch_id).limits.max_concurrent == 2


def test_the_time_of_a_pause_is_not_taken_for_slowness(farm: Farm, clock: FakeClock) -> None:
    farm.submit(2_000, limits=START, auto_concurrency=True)
    work(farm, clock, slots=4, seconds=10)
    before = stored(farm.database, job.c.auto_state)["watch"]["search"]
    running = farm.leases()

    clock.forward(3_600)
    farm.complete(*running)
    look(farm.database)

    after = stored(farm.database, job.c.auto_state)
    assert after["watch"]["search"] == before
    assert (after["watch"]["sample"]["prompts"], after["finished_at_ms"]) == (0, None)


def test_a_number_ends_the_adapting_and_auto_goes_on_from_it(farm: Farm, clock: FakeClock) -> None:
    batch_id = farm.submit(2_000, limits=START, auto_concurrency=True)
    work(farm, clock, slots=100, seconds=5)

    farm.database.write_now(transitions.update, batch_id, BatchChanges(max_concurrent=3))

    assert work(farm, clock, slots=100, seconds=5) == []
    batch = farm.batch(batch_id)
    assert (batch.limits.max_concurrent, batch.auto_concurrency) == (3, False)

    farm.database.write_now(transitions.update, batch_id, BatchChanges(auto_concurrency=True))

    assert work(farm, clock, slots=100, seconds=20)[0].before == 3

"""Sweeps that begin or go on from an old list of the jobs that are to be ended."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from promptmill.domain.lifecycle import JobState
from promptmill.store.batches import transitions
from promptmill.store.db.database import Transaction
from promptmill.store.queue import bulk
from tests.conftest import FakeClock
from tests.store.farm import Farm


def retry(farm: Farm, batch_id: str, *, expires_in_s: float | None = None) -> None:
    def work(tx: Transaction) -> None:
        key = transitions.reopen(tx, batch_id, expires_in_s=expires_in_s)
        bulk.run_again(tx, key)

    farm.database.write_now(work)


def test_a_retry_that_gives_more_time_is_not_undone_by_the_sweep_that_was_under_way(
    farm: Farm, clock: FakeClock
) -> None:
    batch_id = farm.submit(4, expires_in_s=1)
    clock.forward(2)
    (key,) = farm.database.read_now(transitions.out_of_time)
    assert farm.database.write_now(bulk.expire_pending, key, limit=2) == 2

    retry(farm, batch_id, expires_in_s=3600)

    assert farm.database.write_now(bulk.expire_pending, key, limit=2) == 0
    assert farm.states(batch_id) == {"pending": 4}


def test_a_retry_is_not_undone_by_a_worker_that_comes_late_to_the_cancelled_batch(
    farm: Farm,
) -> None:
    batch_id = farm.submit(3)
    farm.database.write_now(transitions.request_cancel, batch_id)
    (early,) = farm.database.read_now(transitions.ending_early)
    assert farm.sweep_cancelled() == 3
    assert farm.close() == [batch_id]

    retry(farm, batch_id)

    assert farm.database.write_now(bulk.cancel_pending, early.job_key) == 0
    assert farm.states(batch_id) == {"pending": 3}


@pytest.mark.parametrize("sweep", [bulk.cancel_pending, bulk.expire_pending])
@pytest.mark.parametrize("prompts_run", [False, True])
def test_a_batch_that_is_not_to_be_ended_is_left_alone(
    farm: Farm, sweep: Callable[[Transaction, int], int], prompts_run: bool
) -> None:
    batch_id = farm.submit(2, expires_in_s=60)
    running = farm.leases(int(prompts_run))
    key = farm.batch(batch_id).key

    assert farm.database.write_now(sweep, key) == 0

    assert farm.batch(batch_id).counts.pending == 2 - len(running)
    assert farm.batch(batch_id).state in {JobState.QUEUED, JobState.RUNNING}

"""What was read some time ago holds no more: retries, deletions and the clock come in between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from promptmill.domain.errors import Conflict, NotFound
from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import MOST_START_WINDOW_S, Limits
from promptmill.domain.outcomes import Blame, ErrorCode, Failed
from promptmill.domain.retry import TryAgain
from promptmill.store.batches import jobs, results, transitions
from promptmill.store.db import clocks
from promptmill.store.queue import bulk, completions
from tests.store.farm import LEASE_MS, Farm, failure
from tests.store.test_lifecycle import cancel, retry

HOUR_S = 3600
LIMITED = Failed(
    code=ErrorCode.SERVER_BUSY, message="429", blame=Blame.LIMIT, retry_after_s=HOUR_S / 10
)
HELD_BACK = TryAgain(HOUR_S / 10, charged=False, turned_away=True, waits_with_model=True)


def purge(farm: Farm, batch_id: str) -> None:
    farm.database.write_now(jobs.BATCHES.mark_deleted, batch_id)
    while farm.database.write_now(jobs.purge_some):
        pass


def test_a_sweep_from_an_old_list_leaves_a_cancelled_batch_that_runs_again_alone(
    farm: Farm,
) -> None:
    batch_id = farm.submit(3)
    cancel(farm, batch_id)
    (old,) = farm.database.read_now(transitions.ending_early)
    farm.sweep_cancelled()
    farm.close()
    retry(farm, batch_id)

    assert farm.database.write_now(bulk.cancel_pending, old.job_key) == 0
    assert farm.states(batch_id) == {"pending": 3}


@pytest.mark.parametrize("expires_in_s", [None, HOUR_S])
def test_a_sweep_from_an_old_list_leaves_a_batch_that_has_time_again_alone(
    farm: Farm, clock: Any, expires_in_s: float | None
) -> None:
    batch_id = farm.submit(3, expires_in_s=1)
    clock.forward(2)
    (old,) = farm.database.read_now(transitions.out_of_time)
    farm.database.write_now(bulk.expire_pending, old, limit=1)
    retry(farm, batch_id, expires_in_s=expires_in_s)

    assert farm.database.write_now(bulk.expire_pending, old) == 0
    assert farm.states(batch_id) == {"pending": 3}


def test_the_key_of_a_batch_that_is_gone_is_not_given_to_another(farm: Farm) -> None:
    first = farm.submit(1)
    key = farm.database.read_now(results.job_key, first)
    farm.complete(*farm.leases())
    farm.close()
    purge(farm, first)

    assert farm.database.read_now(results.job_key, farm.submit(1)) > key


@pytest.mark.parametrize("code", [ErrorCode.TIMEOUT, ErrorCode.SERVER_BUSY])
def test_a_late_setback_of_a_deleted_batch_is_dropped_and_holds_nothing_up(
    farm: Farm, clock: Any, code: ErrorCode
) -> None:
    gone = farm.submit(1)
    (late,) = farm.leases()
    farm.database.write_now(completions.rescue, all_running=True)
    farm.complete(*farm.leases())
    farm.close()
    purge(farm, gone)
    kept = farm.submit(1)
    (good,) = farm.leases()

    dropped = farm.complete(
        late, outcome=failure(code), decision=TryAgain(wait_s=0.0, charged=True)
    )

    assert (dropped.finished, dropped.fenced) == (0, 1)
    assert farm.complete(good).finished == 1
    assert farm.states(kept) == {"succeeded": 1}


def test_a_batch_that_was_retried_is_not_deleted_by_who_saw_it_ended(farm: Farm) -> None:
    batch_id = farm.submit(1)
    farm.complete(*farm.leases(), outcome=failure())
    farm.close()
    retry(farm, batch_id)

    with pytest.raises(Conflict):
        farm.database.write_now(jobs.BATCHES.mark_deleted, batch_id)
    with pytest.raises(NotFound):
        farm.database.write_now(jobs.BATCHES.mark_deleted, "batch_unknown")


# --- a clock that was ahead --------------------------------------------------------------------


def bring_near(farm: Farm) -> None:
    farm.database.write_now(
        clocks.bring_near,
        longest_wait_ms=60_000,
        longest_limit_ms=600_000,
        lease_ms=LEASE_MS,
    )


def test_prompts_that_came_while_the_clock_was_ahead_start_at_once(farm: Farm, clock: Any) -> None:
    clock.forward(HOUR_S)
    farm.submit(3)
    clock.forward(-HOUR_S)
    assert len(farm.leases()) == 3


def test_what_was_put_off_while_the_clock_was_ahead_is_due(farm: Farm, clock: Any) -> None:
    farm.submit(1)
    paced = farm.submit(2, limits=Limits(max_concurrent=5, rate_limit_delay_s=10))
    clock.forward(HOUR_S)
    for lease in farm.leases():
        farm.complete(
            lease, outcome=failure(), decision=TryAgain(wait_s=30, charged=True)
        ) if lease.limits.rate_limit_delay_s == 0 else farm.complete(lease)
    farm.complete(*farm.leases())
    clock.forward(-HOUR_S)
    assert farm.leases() == []

    bring_near(farm)

    assert len(farm.leases()) == 1, "the one without a delay"
    # The delay, after the latest moment at which the last permit can have been used.
    clock.forward(10 + MOST_START_WINDOW_S - 0.001)
    assert farm.leases() == []
    clock.forward(0.001)
    assert len(farm.leases()) == 1
    assert farm.states(paced) == {"succeeded": 1, "running": 1}


def test_a_usage_limit_that_was_met_while_the_clock_was_ahead_is_forgotten(
    farm: Farm, clock: Any
) -> None:
    farm.submit(1)
    clock.forward(HOUR_S)
    farm.complete(*farm.leases(), outcome=LIMITED, decision=HELD_BACK)
    clock.forward(-HOUR_S)
    assert farm.leases() == []
    bring_near(farm)
    assert len(farm.leases()) == 1


def test_a_wait_that_a_host_has_asked_for_is_kept_with_groups_and_without(farm: Farm) -> None:
    farm.submit(2)
    limited, alone = farm.leases()
    farm.complete(limited, outcome=LIMITED, decision=HELD_BACK)
    farm.complete(alone, outcome=LIMITED, decision=replace(HELD_BACK, waits_with_model=False))
    bring_near(farm)
    assert farm.leases() == []


def test_waits_that_are_no_longer_than_they_may_be_are_kept(farm: Farm) -> None:
    farm.submit(1)
    farm.submit(2, limits=Limits(max_concurrent=5, rate_limit_delay_s=10))
    for lease in [*farm.leases(), *farm.leases()]:
        farm.complete(lease, outcome=failure(), decision=TryAgain(wait_s=30, charged=True))
    bring_near(farm)
    assert farm.leases() == []


def test_a_lease_that_was_given_while_the_clock_was_ahead_ends_within_ten_leases(
    farm: Farm, clock: Any
) -> None:
    farm.submit(1)
    clock.forward(HOUR_S)
    farm.leases()
    clock.forward(-HOUR_S)
    bring_near(farm)

    clock.forward(10 * LEASE_MS / 1000 + 1)

    assert farm.database.write_now(completions.rescue) == 1


def test_a_batch_that_ended_while_its_cancellation_was_asked_for_keeps_its_reason(
    farm: Farm,
) -> None:
    from promptmill.domain.batches import FailureLimit

    batch_id = farm.submit(2, max_failures=FailureLimit("0"))
    farm.complete(*farm.leases(1), outcome=failure())
    farm.sweep_cancelled()
    farm.close()
    with pytest.raises(Conflict):
        cancel(farm, batch_id)
    assert farm.batch(batch_id).state is JobState.FAILED

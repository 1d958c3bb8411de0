"""Prompts that a host turns away: a limited model waits at its host, and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Blame, ErrorCode, Failed
from promptmill.domain.retry import MOST_CRASHES, TryAgain
from promptmill.store.batches import transitions
from promptmill.store.db.database import Database
from promptmill.store.hosts import usage_limits
from promptmill.store.hosts.usage_limits import Limited
from promptmill.store.queue.leases import Lease
from tests.store.farm import Farm, failure
from tests.store.test_groups import WIDE, Grouped

LIMITED = Failed(
    code=ErrorCode.SERVER_BUSY, message="hourly limit", blame=Blame.LIMIT, retry_after_s=3600.0
)
WAITS = TryAgain(3600.0, charged=False, turned_away=True, waits_with_model=True)


@pytest.fixture
def grouped(database: Database) -> Grouped:
    return Grouped(database)


def models(leases: list[Lease]) -> list[str]:
    return [lease.call.model for lease in leases]


def test_a_limited_model_waits_until_its_moment_and_then_goes_on_in_its_order(
    grouped: Grouped, clock: Any
) -> None:
    grouped.submit(3, model="cloud", limits=WIDE)
    grouped.advance()
    first, *_ = grouped.claim(1)
    grouped.complete(first, outcome=LIMITED, decision=WAITS)
    assert grouped.claim() == []
    clock.forward(3599.9)
    assert grouped.claim() == []
    clock.forward(0.2)
    assert [lease.call.prompt for lease in grouped.claim()] == [f"Question {n}" for n in range(3)]


def test_the_other_models_of_the_host_go_on_at_once(grouped: Grouped) -> None:
    grouped.submit(3, model="cloud", limits=WIDE)
    grouped.advance()
    grouped.complete(grouped.claim(1)[0], outcome=LIMITED, decision=WAITS)
    grouped.submit(2, model="tiny", limits=WIDE)
    assert grouped.advance(), "the host gives the limited model up"
    grouped.advance()
    assert models(grouped.claim()) == ["tiny", "tiny"]


def test_another_host_goes_on_with_the_model(grouped: Grouped) -> None:
    grouped.submit(3, model="cloud", limits=WIDE)
    grouped.advance()
    grouped.complete(grouped.claim(1)[0], outcome=LIMITED, decision=WAITS)
    assert grouped.advance(grouped.other)
    assert models(grouped.claim(share=grouped.other)) == ["cloud"] * 3


def test_nothing_is_charged_and_the_turning_away_is_counted_apart_from_losses(
    grouped: Grouped, clock: Any
) -> None:
    grouped.submit(1, model="cloud", limits=WIDE)
    grouped.advance()
    for number in range(MOST_CRASHES + 1):
        (lease,) = grouped.claim()
        assert (lease.attempt, lease.losses, lease.turned_away) == (1, 0, number)
        grouped.complete(lease, outcome=LIMITED, decision=WAITS)
        clock.forward(3601)


def test_without_groups_each_prompt_waits_by_itself(farm: Farm, clock: Any) -> None:
    farm.submit(2, model="cloud", limits=Limits(max_concurrent=1, rate_limit_delay_s=0))
    (first,) = farm.leases()
    farm.complete(replace(first, load_key=0), outcome=LIMITED, decision=WAITS)
    assert [lease.call.prompt for lease in farm.leases()] == ["Question 1"]
    clock.forward(3601)
    farm.complete(*farm.leases())


def test_of_two_limits_the_later_end_counts(grouped: Grouped, clock: Any) -> None:
    grouped.submit(1, model="cloud", limits=WIDE)
    grouped.advance()
    (lease,) = grouped.claim()
    grouped.complete(lease, outcome=LIMITED, decision=WAITS)
    short = Limited(grouped.host_key, lease.load_key, wait_ms=1000, error="sooner")
    grouped.database.write_now(usage_limits.note, [short, short._replace(wait_ms=500)])
    clock.forward(2)
    assert grouped.claim() == []


def test_a_limit_can_be_forgotten_for_a_host(grouped: Grouped) -> None:
    grouped.submit(1, model="cloud", limits=WIDE)
    grouped.advance()
    grouped.complete(grouped.claim()[0], outcome=LIMITED, decision=WAITS)
    grouped.database.write_now(usage_limits.forget, grouped.other.key)
    assert grouped.claim() == []
    grouped.database.write_now(usage_limits.forget, grouped.host_key)
    assert len(grouped.claim()) == 1


DOWN = Failed(code=ErrorCode.HOST_UNREACHABLE, message="refused", blame=Blame.HOST)
TURNED_AWAY = TryAgain(0.0, charged=False, turned_away=True)


def test_a_batch_of_which_nothing_has_run_is_queued_again(farm: Farm) -> None:
    batch_id = farm.submit(3)
    first, second, third = farm.leases()
    assert farm.batch(batch_id).state is JobState.RUNNING
    farm.complete(first, second, outcome=DOWN, decision=TURNED_AWAY)
    assert farm.batch(batch_id).state is JobState.RUNNING, "one of its prompts runs"
    farm.complete(third, outcome=DOWN, decision=TURNED_AWAY)
    batch = farm.batch(batch_id)
    assert (batch.state, batch.started_at_ms) == (JobState.QUEUED, None)
    assert batch.queue_position == 1
    farm.complete(*farm.leases())
    farm.close()
    assert farm.batch(batch_id).state is JobState.COMPLETED


def test_a_batch_of_which_something_has_run_stays_running(farm: Farm) -> None:
    answered, failed_once = farm.submit(2), farm.submit(1)
    done, down, lost = farm.leases()
    farm.complete(done)
    farm.complete(lost, outcome=failure(), decision=TryAgain(0.0, charged=True))
    (again,) = farm.leases()
    assert again.attempt == 2
    farm.complete(down, again, outcome=DOWN, decision=TURNED_AWAY)
    assert farm.batch(answered).state is JobState.RUNNING
    assert farm.batch(failed_once).state is JobState.RUNNING


def test_a_paused_batch_stays_paused_when_its_prompts_come_back(farm: Farm) -> None:
    batch_id = farm.submit(1)
    leases = farm.leases()
    farm.database.write_now(transitions.request_pause, batch_id)
    farm.complete(*leases, outcome=DOWN, decision=TURNED_AWAY)
    assert farm.batch(batch_id).state is JobState.PAUSED

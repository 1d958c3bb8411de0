"""Attempts that ended without a result: what is recorded of them, and when it goes."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.retry import Finish, TryAgain
from promptmill.store.batches import jobs, prompts, results, transitions
from promptmill.store.db.tables.activity import attempt
from promptmill.store.queue import attempts, bulk, completions
from tests.store.farm import Farm, failure

AGAIN = TryAgain(wait_s=0, charged=True)


def earlier(farm: Farm, batch_id: str, index: int = 0) -> Any:
    return farm.database.read_now(
        lambda tx: prompts.whole(tx, results.job_key(tx, batch_id), index).earlier_attempts
    )


def recorded(farm: Farm) -> int:
    count = sa.select(sa.func.count()).select_from(attempt)
    return farm.database.read_now(lambda tx: tx.execute(count).scalar_one())


def test_a_prompt_that_succeeds_at_once_has_none(farm: Farm) -> None:
    batch_id = farm.submit(3)
    farm.complete(*farm.leases())
    assert earlier(farm, batch_id) == []
    assert recorded(farm) == 0


def test_each_attempt_that_goes_back_is_recorded_with_its_reason(farm: Farm) -> None:
    batch_id = farm.submit(1)
    first = farm.leases()
    farm.complete(*first, outcome=failure(), decision=AGAIN)
    farm.complete(
        *farm.leases(),
        outcome=failure(ErrorCode.SERVER_BUSY),
        decision=TryAgain(wait_s=0, charged=False, turned_away=True),
    )
    farm.complete(*farm.leases())

    one, two = earlier(farm, batch_id)

    assert (one.number, one.charged, one.error_code) == (1, True, ErrorCode.SERVER_ERROR)
    assert (one.host, one.error) == ("http://ollama:11434", "it broke")
    assert (one.started_at_ms, one.ended_at_ms) == (
        first[0].claimed_at_ms,
        first[0].claimed_at_ms + 5,
    )
    assert (two.number, two.charged, two.error_code) == (2, False, ErrorCode.SERVER_BUSY)


def test_the_last_attempt_is_the_result_and_not_among_them(farm: Farm) -> None:
    batch_id = farm.submit(1)
    farm.complete(*farm.leases(), outcome=failure(), decision=Finish())
    assert earlier(farm, batch_id) == []


def test_a_call_that_was_never_begun_is_no_attempt(farm: Farm) -> None:
    batch_id = farm.submit(1)
    unused = TryAgain(wait_s=0, charged=False, keeps_place=True, unused=True)
    farm.complete(*farm.leases(), outcome=failure(), decision=unused)
    assert earlier(farm, batch_id) == []


def test_an_attempt_whose_lease_was_lost_is_recorded_once(farm: Farm) -> None:
    batch_id = farm.submit(1)
    late = farm.leases()
    farm.database.write_now(completions.rescue, all_running=True)
    farm.complete(*late, outcome=failure(), decision=AGAIN)

    (one,) = earlier(farm, batch_id)

    assert one.error_code is ErrorCode.LEASE_LOST
    assert (one.host, one.started_at_ms) == ("http://ollama:11434", None)


def test_of_a_prompt_that_goes_back_often_the_first_ones_are_kept(farm: Farm) -> None:
    batch_id = farm.submit(1)
    refused = TryAgain(wait_s=0, charged=False, turned_away=True)
    for _ in range(attempts.MOST_KEPT + 5):
        farm.complete(*farm.leases(), outcome=failure(), decision=refused)
    assert len(earlier(farm, batch_id)) == attempts.MOST_KEPT


def test_a_prompt_that_is_run_again_begins_without_them(farm: Farm) -> None:
    batch_id = farm.submit(2)
    farm.complete(*farm.leases(), outcome=failure(), decision=AGAIN)
    farm.complete(*farm.leases(), outcome=failure())
    assert recorded(farm) == 2

    def again(tx: Any) -> None:
        key = transitions.reopen(tx, batch_id, expires_in_s=None)
        bulk.run_chosen_again(tx, key, [1])

    farm.close()
    farm.database.write_now(again)

    assert len(earlier(farm, batch_id, 0)) == 1
    assert earlier(farm, batch_id, 1) == []


@pytest.mark.parametrize("piece", [1, 100])
def test_they_go_with_their_batch_and_only_with_it(farm: Farm, piece: int) -> None:
    gone, stays = farm.submit(3), farm.submit(3)
    farm.complete(*farm.leases(), outcome=failure(), decision=AGAIN)
    farm.complete(*farm.leases(), outcome=failure())
    farm.close()
    farm.database.write_now(jobs.BATCHES.mark_deleted, gone)
    while farm.database.write_now(jobs.purge_some, limit=piece):
        pass
    assert recorded(farm) == 3
    assert len(earlier(farm, stays)) == 1

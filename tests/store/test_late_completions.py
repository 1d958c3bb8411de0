"""A worker that lost its lease and gives the prompt back: the prompt stays with who has it now."""

from __future__ import annotations

import pytest

from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.retry import Finish, TryAgain
from promptmill.store.batches import jobs
from promptmill.store.db.tables.batches import job_stats
from promptmill.store.queue import completions
from tests.store.farm import Farm, failure


@pytest.mark.parametrize("charged", [True, False])
def test_a_prompt_given_back_late_stays_with_the_worker_that_has_it_now(
    farm: Farm, charged: bool
) -> None:
    batch_id = farm.submit(1)
    (lost,) = farm.leases(owner="paused")
    farm.database.write_now(completions.rescue, all_running=True)
    (held,) = farm.leases(owner="fresh")

    late = farm.complete(lost, outcome=failure(), decision=TryAgain(wait_s=0.0, charged=charged))

    assert (late.finished, late.fenced) == (0, 1)
    assert farm.states(batch_id) == {"running": 1}
    assert farm.complete(held).finished == 1


@pytest.mark.parametrize("decision", [Finish(), TryAgain(wait_s=0.0, charged=True)])
def test_a_late_timeout_of_a_deleted_batch_is_dropped_and_counts_for_no_other(
    farm: Farm, decision: Finish | TryAgain
) -> None:
    gone = farm.submit(1)
    (lost,) = farm.leases(owner="frozen")
    farm.database.write_now(completions.rescue, all_running=True)
    farm.complete(*farm.leases(owner="fresh"))
    farm.close()
    farm.database.write_now(jobs.BATCHES.mark_deleted, gone)
    while farm.database.write_now(jobs.purge_some):
        pass
    farm.submit(1)

    late = farm.complete(lost, outcome=failure(ErrorCode.TIMEOUT), decision=decision)

    assert (late.finished, late.fenced) == (0, 1)
    assert farm.database.read_now(lambda tx: tx.execute(job_stats.select()).one()).setbacks == 0

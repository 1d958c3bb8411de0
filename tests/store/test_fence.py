"""Two leases of one prompt, the lost one and the new one, whose outcomes come together."""

from __future__ import annotations

import pytest

from promptmill.domain.outcomes import Outcome
from promptmill.domain.retry import Finish
from promptmill.store.queue import completions
from promptmill.store.queue.leases import Completion, Lease
from tests.store.farm import Farm, answer, failure


@pytest.mark.parametrize("lost_comes_first", [True, False])
@pytest.mark.parametrize("lost_failed", [True, False])
def test_of_two_outcomes_in_one_flush_only_that_of_the_lease_that_holds_is_stored(
    farm: Farm, lost_comes_first: bool, lost_failed: bool
) -> None:
    batch_id = farm.submit(1)
    (lost,) = farm.leases()
    farm.database.write_now(completions.rescue, all_running=True)
    (held,) = farm.leases()
    late = completion(lost, failure() if lost_failed else answer(lost))
    good = completion(held, answer(held))
    both = [late, good] if lost_comes_first else [good, late]

    recorded = farm.database.write_now(completions.complete, both)

    assert (recorded.finished, recorded.fenced) == (1, 1)
    assert farm.states(batch_id) == {"succeeded": 1}
    assert len(farm.results(batch_id)) == 1
    assert farm.batch(batch_id).usage.completion_tokens == 20


def completion(lease: Lease, outcome: Outcome) -> Completion:
    return Completion(
        lease=lease,
        outcome=outcome,
        decision=Finish(),
        host_url="http://ollama:11434",
        started_at_ms=lease.claimed_at_ms,
        finished_at_ms=lease.claimed_at_ms + 5,
    )

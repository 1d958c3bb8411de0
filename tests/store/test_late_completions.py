"""A worker that lost its lease and gives the prompt back: the prompt stays with who has it now."""

from __future__ import annotations

import pytest

from app.domain.retry import TryAgain
from app.store import queue
from tests.store.farm import Farm, failure


@pytest.mark.parametrize("charged", [True, False])
def test_a_prompt_given_back_late_stays_with_the_worker_that_has_it_now(
    farm: Farm, charged: bool
) -> None:
    batch_id = farm.submit(1)
    (lost,) = farm.leases(owner="paused")
    farm.database.write_now(queue.rescue, all_running=True)
    (held,) = farm.leases(owner="fresh")

    late = farm.complete(lost, outcome=failure(), decision=TryAgain(wait_s=0.0, charged=charged))

    assert (late.finished, late.fenced) == (0, 1)
    assert farm.states(batch_id) == {"running": 1}
    assert farm.complete(held).finished == 1

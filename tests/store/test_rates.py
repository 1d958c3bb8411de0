"""How fast a batch goes: by its last results, from the moment it was last started."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.store.batches import jobs, transitions
from promptmill.store.queue import bulk
from tests.store.farm import Farm, failure


def work(farm: Farm, clock: Any, *, prompts: int, each_s: float, fail: bool = False) -> None:
    """Let so many prompts end, one after the other; the last one just now."""
    for _ in range(prompts):
        clock.forward(each_s)
        farm.complete(*farm.leases(1), outcome=failure() if fail else None)


def rate(farm: Farm, batch_id: str) -> Any:
    # Prompts of the farm end 5 ms after they were claimed.
    measured = farm.batch(batch_id).prompts_per_s
    return None if measured is None else pytest.approx(measured, rel=0.02)


def test_a_batch_has_no_rate_before_its_first_result(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(20)
    assert rate(farm, batch_id) is None
    farm.leases(1)
    clock.forward(1)

    assert rate(farm, batch_id) is None


def test_a_rate_forgets_how_slowly_it_began(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(200)
    work(farm, clock, prompts=10, each_s=10.0)
    assert rate(farm, batch_id) == 0.1
    work(farm, clock, prompts=10, each_s=1.0)

    assert rate(farm, batch_id) == 1.0


def test_a_rate_falls_while_nothing_ends_and_a_window_of_few_results_is_not_relied_on(
    farm: Farm, clock: Any
) -> None:
    batch_id = farm.submit(200)
    work(farm, clock, prompts=8, each_s=1.0)
    window = farm.batch(batch_id).window
    assert window is not None
    assert (window.results, window.is_reliable) == (4, False)
    work(farm, clock, prompts=12, each_s=1.0)
    clock.forward(90)

    assert rate(farm, batch_id) == 0.1


def test_the_time_of_a_pause_does_not_count(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(200)
    work(farm, clock, prompts=20, each_s=1.0)
    farm.database.write_now(transitions.request_pause, batch_id)
    assert rate(farm, batch_id) is None
    clock.forward(3600)
    farm.database.write_now(transitions.request_resume, batch_id)
    assert rate(farm, batch_id) is None
    work(farm, clock, prompts=4, each_s=2.0)

    assert rate(farm, batch_id) == 0.5


def test_a_retry_counts_from_its_own_start(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(20)
    work(farm, clock, prompts=20, each_s=1.0, fail=True)
    farm.close()
    assert rate(farm, batch_id) == 20 / 19
    clock.forward(3600)
    key = farm.database.write_now(transitions.reopen, batch_id, expires_in_s=None)
    farm.database.write_now(bulk.run_again, key)
    assert rate(farm, batch_id) is None
    work(farm, clock, prompts=6, each_s=2.0)

    assert rate(farm, batch_id) == 0.5


def test_a_result_that_was_taken_back_hides_no_rate(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(40)
    work(farm, clock, prompts=20, each_s=1.0, fail=True)
    key = farm.database.write_now(transitions.reopen, batch_id, expires_in_s=None)
    farm.database.write_now(bulk.run_again, key)

    assert rate(farm, batch_id) == 20 / 19


def test_a_list_tells_the_rate_of_each_batch(farm: Farm, clock: Any) -> None:

    first = farm.submit(40)
    work(farm, clock, prompts=20, each_s=1.0)
    second = farm.submit(40, priority=1)
    work(farm, clock, prompts=20, each_s=0.5)
    rates = {
        one.id: pytest.approx(one.prompts_per_s, rel=0.02)
        for one in farm.database.read_now(jobs.page, limit=10)
    }

    assert rates == {first: 10 / 20, second: 2.0}

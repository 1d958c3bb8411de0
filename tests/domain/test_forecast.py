"""Forecasts in numbers that can be reckoned in the head: calls of a second, four slots."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.limits import Limits
from promptmill.domain.scheduling.forecast import (
    Demand,
    Forecast,
    ForecastHost,
    ForecastInputs,
    Window,
    results_in_window,
)

A, B = 1, 2
"""Groups, each with a model of its own: `a` and `b`."""
TURN_S = 120.0


def demand(key: int, prompts: int, **fields: Any) -> Demand:
    group = fields.pop("group", A)
    limits = Limits(
        max_concurrent=fields.pop("width", 4), rate_limit_delay_s=fields.pop("delay_s", 0.0)
    )
    return Demand(
        **{
            "key": key,
            "prompts": prompts,
            "priority": 0,
            "limits": limits,
            "models": frozenset({"ab"[group - 1]}),
            "groups": frozenset({group}),
            "waits_since_ms": key,
            **fields,
        }
    )


def place(slots: int | None = 4, *, running: dict[int, float] | None = None, **call_s: float):
    return ForecastHost(slots=slots, call_s=call_s or {"a": 1.0, "b": 1.0}, turns=running or {})


def left(
    own: Demand,
    *others: Demand,
    places: list[ForecastHost] | None = None,
    rate: float | None = None,
) -> float | None:
    outlook = ForecastInputs(
        demands={one.key: one for one in (own, *others)},
        places=[place()] if places is None else places,
        turn_s=TURN_S,
    )
    return Forecast(outlook).seconds_left(own, rate=rate)


def test_nothing_is_foretold_of_a_model_that_nobody_has_measured() -> None:
    assert left(demand(1, 10), places=[place(b=1.0)]) is None
    assert left(demand(1, 10), places=[]) is None


def test_a_batch_alone_fills_the_slots_or_its_own_limit() -> None:
    assert left(demand(1, 100)) == pytest.approx(25)
    assert left(demand(1, 100, width=50)) == pytest.approx(25)
    assert left(demand(1, 100, width=2)) == pytest.approx(50)
    assert left(demand(1, 100, delay_s=2.0)) == pytest.approx(200)
    assert left(demand(1, 100, width=50), places=[place(None)]) == pytest.approx(2)


def test_a_last_prompt_takes_a_whole_call() -> None:
    assert left(demand(1, 1)) == pytest.approx(1)


def test_several_hosts_add_up_to_what_they_do_together() -> None:
    hosts = [place(4, a=1.0), place(2, a=0.5), place(9, b=1.0)]

    assert left(demand(1, 80, width=20), places=hosts) == pytest.approx(10)
    # Half as many in flight go half as fast.
    assert left(demand(1, 80, width=3), places=hosts) == pytest.approx(20)


def test_what_a_batch_that_runs_alone_does_is_measured_and_not_reckoned() -> None:
    assert left(demand(1, 100), rate=2.0) == pytest.approx(50)
    assert left(demand(1, 100), places=[], rate=2.0) == pytest.approx(50)
    below = demand(2, 500, priority=-1)
    assert left(demand(1, 100), below, rate=2.0) == pytest.approx(50)


def test_equal_batches_take_turns_prompt_by_prompt() -> None:
    short, long = demand(1, 100), demand(2, 300)

    assert left(short, long) == pytest.approx(50)
    assert left(long, short) == pytest.approx(100)
    assert left(long, short, demand(3, 100)) == pytest.approx(125)
    # What they were measured at together says nothing of the time when the short one has ended.
    assert left(long, short, rate=2.0) == pytest.approx(100)


def test_each_of_many_batches_that_are_alike_counts_and_not_the_batch_itself() -> None:
    others = [demand(key, 4) for key in range(2, 1_002)]

    assert left(demand(1, 10), *others) == pytest.approx(2.5 + 1_000)
    assert left(demand(1, 4), *others) == pytest.approx(1 + 1_000)


def test_a_higher_priority_goes_before_and_a_lower_one_does_not_count() -> None:
    low, high = demand(1, 40), demand(2, 400, priority=5)

    assert left(low, high) == pytest.approx(110)
    assert left(high, low) == pytest.approx(100)


def test_what_leaves_slots_free_is_run_beside() -> None:
    narrow_and_long = demand(2, 1000, priority=5, width=1)
    paced_and_long = demand(3, 1000, priority=5, delay_s=1.0)

    assert left(demand(1, 30), narrow_and_long) == pytest.approx(10)
    assert left(demand(1, 30), paced_and_long) == pytest.approx(10)
    assert left(demand(1, 10, width=2), demand(2, 1000, width=2), rate=1.9) == pytest.approx(
        10 / 1.9
    )


def test_without_slots_batches_of_one_model_do_not_wait_for_each_other() -> None:
    assert left(demand(1, 100), demand(2, 400, priority=5), places=[place(None)]) == pytest.approx(
        25
    )


def test_a_group_that_the_host_does_not_run_waits_for_the_other_ones_turn() -> None:
    running = [place(running={A: 20.0})]
    first, second = demand(1, 40), demand(2, 80, group=B)

    # Both end within a turn, so that they run one after the other.
    assert left(second, first, places=running) == pytest.approx(10 + 20)
    assert left(second, first, places=running, rate=4.0) == pytest.approx(10 + 20)
    assert left(first, second, places=running) == pytest.approx(10)
    # A turn of 120 s, of which 20 are over, and then again one before the rest.
    long = demand(1, 4000)
    assert left(second, long, places=running) == pytest.approx(100 + 20)
    assert left(demand(2, 600, group=B), long, places=running) == pytest.approx(100 + 120 + 150)
    # Long enough for the other one to get a turn before its own end.
    assert left(demand(1, 600), second, places=running) == pytest.approx(150 + 20)


def test_of_two_groups_that_no_host_runs_the_higher_or_older_one_begins() -> None:
    older, younger = demand(1, 40), demand(2, 40, group=B)

    assert left(older, younger) == pytest.approx(10)
    assert left(younger, older) == pytest.approx(20)
    assert left(older, demand(3, 40, group=B, priority=1)) == pytest.approx(20)


def test_a_group_of_higher_priority_shortens_the_turn_of_the_one_that_runs() -> None:
    running = [place(running={A: 0.0})]
    urgent = demand(2, 160, group=B, priority=1)

    assert left(demand(1, 100), urgent, places=running) == pytest.approx(25)
    assert left(demand(1, 140), urgent, places=running) == pytest.approx(35 + 40)
    assert left(urgent, demand(1, 4000), places=running) == pytest.approx(30 + 40)


def test_groups_that_a_host_runs_beside_each_other_share_its_slots() -> None:
    both = [place(running={A: 50.0, B: 10.0})]

    assert left(demand(1, 100), demand(2, 300, group=B), places=both) == pytest.approx(50)


def test_groups_on_hosts_of_their_own_do_not_wait_for_each_other() -> None:
    hosts = [place(running={A: 1.0}), place(running={B: 1.0})]

    own, other = demand(1, 100, width=16), demand(2, 300, group=B, width=16)
    assert left(own, other, places=hosts) == pytest.approx(25)


def test_a_competitor_whose_model_was_never_measured_is_taken_to_be_alike() -> None:
    other = demand(2, 100, models=frozenset({"unheard-of"}))

    assert left(demand(1, 100), other) == pytest.approx(50)


def test_a_rate_falls_while_time_passes_without_a_result() -> None:
    window = Window(results=10, since_ms=1_000)

    assert window.rate(6_000) == pytest.approx(2)
    assert window.rate(101_000) == pytest.approx(0.1)
    assert window.rate(1_000) is None
    assert Window(results=0, since_ms=0).rate(5_000) is None


def test_a_rate_is_that_of_the_later_half_of_two_rounds_at_least_and_a_hundred_at_most() -> None:
    assert [results_in_window(stored, 0) for stored in (1, 2, 20, 150, 5_000)] == [
        1,
        1,
        10,
        75,
        100,
    ]
    assert [results_in_window(stored, 4) for stored in (3, 8, 12, 40)] == [3, 8, 8, 20]
    assert results_in_window(5_000, 80) == 160

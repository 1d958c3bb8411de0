"""`max_concurrent: auto` on simulated throughput: it finds what a host can do, and stays there."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from promptmill.domain.scheduling.adaptive_concurrency import Sample, Search, Watch, watch

Curve = Callable[[int], float]
"""Prompts per second with so many in flight."""


def slots(number: int, *, prompt_s: float = 1.0, loss: float = 0.0) -> Curve:
    """A host of so many slots; each call beyond costs the share `loss` of its throughput."""

    def rate(limit: int) -> float:
        beyond = max(limit - number, 0)
        return min(limit, number) / prompt_s / (1 + loss * beyond)

    return rate


def run(
    curve: Curve, state: Watch, *, looks: int, noise: float = 0.0, seed: int = 1, setbacks: int = 0
) -> tuple[Watch, list[int], float]:
    """Let it look every ten seconds; the state, the limits in force, and the mean throughput."""
    draw = random.Random(seed)
    limits: list[int] = []
    done = 0
    for _ in range(looks):
        limit = state.search.limit
        limits.append(limit)
        prompts = max(round(curve(limit) * 10 * draw.gauss(1, noise / 3)), 1)
        latency = limit * 10 / prompts
        squares = prompts * latency**2 * (1 + noise**2)
        seen = Sample(
            prompts=prompts,
            duration_s=10.0,
            busy_s=prompts * latency,
            squares=squares,
            setbacks=setbacks,
        )
        done += prompts
        state = watch(state, seen)
    return state, limits, done / (10 * looks)


def begun(limit: int = 5) -> Watch:
    return Watch(search=Search(limit=limit))


@pytest.mark.parametrize("number", [1, 2, 4, 16, 50])
@pytest.mark.parametrize("start", [2, 5, 8])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_throughput_comes_within_a_tenth_of_the_best(number: int, start: int, noise: float) -> None:
    curve = slots(number)
    state, _, _ = run(curve, begun(start), looks=60, noise=noise)
    _, _, rate = run(curve, state, looks=200, noise=noise)
    assert rate >= 0.9 * curve(number)


@pytest.mark.parametrize("number", [1, 4, 16])
def test_it_goes_down_where_more_in_flight_than_slots_costs_throughput(number: int) -> None:
    curve = slots(number, loss=0.08)
    state, _, _ = run(curve, begun(8), looks=60, noise=0.05)
    _, _, rate = run(curve, state, looks=200, noise=0.05)
    assert rate >= 0.9 * curve(number)


def test_it_finds_the_best_of_what_was_measured_on_a_real_server() -> None:
    measured = {1: 86, 2: 173, 3: 221, 4: 268, 5: 252, 6: 237, 7: 221, 8: 206}
    state, _, _ = run(lambda limit: measured.get(limit, 190) / 60, begun(8), looks=80)
    assert state.search.settled is not None
    assert state.search.settled.limit == 4


def test_small_losses_on_the_way_down_do_not_add_up() -> None:
    def gentle(limit: int) -> float:
        return 100 * limit**0.05

    state, _, _ = run(gentle, begun(8), looks=16)
    assert state.search.settled is not None
    assert gentle(state.search.settled.limit) >= 0.975 * gentle(8)


def test_noise_does_not_make_it_wander() -> None:
    state, _, _ = run(slots(4), begun(), looks=60, noise=0.3)
    _, limits, _ = run(slots(4), state, looks=400, noise=0.3)
    assert min(limits) >= 3
    assert max(limits) <= 10


def test_it_rests_longer_each_time_that_a_search_found_nothing() -> None:
    _, limits, _ = run(slots(4), begun(4), looks=400)
    resting = sum(limit == 4 for limit in limits[200:])
    assert resting >= 180


def test_it_follows_a_host_whose_capacity_changes() -> None:
    state, _, _ = run(slots(4), begun(), looks=80)
    state, _, _ = run(slots(16), state, looks=200)
    assert state.search.limit >= 14
    state, _, _ = run(slots(4, loss=0.08), state, looks=200)
    assert state.search.limit <= 6


def test_a_busy_host_and_calls_that_time_out_halve_it_down_to_one() -> None:
    state, limits, _ = run(slots(16), begun(16), looks=12, setbacks=5)
    assert limits[:6] == [16, 16, 8, 8, 4, 4]
    assert state.search.limit == 1


def test_after_setbacks_it_rises_again() -> None:
    state, _, _ = run(slots(16), begun(16), looks=6, setbacks=5)
    state, _, _ = run(slots(16), state, looks=300)
    assert state.search.limit >= 14


def test_a_few_setbacks_among_many_calls_change_nothing() -> None:
    _, limits, _ = run(slots(16), begun(16), looks=10, setbacks=1)
    assert min(limits) >= 12


def test_it_stays_within_its_bounds() -> None:
    state, limits, _ = run(float, begun(100), looks=80)
    assert max(limits) == 256
    assert state.search.limit > 180
    _, limits, _ = run(slots(1, loss=1.0), begun(3), looks=60)
    assert min(limits) == 1


def test_what_does_not_fill_its_limit_is_left_alone() -> None:
    state = begun(5)
    for _ in range(50):
        state = watch(state, Sample(prompts=100, duration_s=10.0, busy_s=10.0, squares=1.0))
    assert state.search.limit == 5


def test_what_was_begun_under_the_limit_before_is_not_counted_for_the_new_one() -> None:
    state = Watch(search=Search(limit=8))
    one = Sample(prompts=7, duration_s=2.0, busy_s=10.0, squares=20.0)
    state = watch(state, one)
    assert state.is_settling
    state = watch(state, one)
    assert not state.is_settling
    assert state.sample == Sample()


def test_prompts_that_differ_much_need_a_longer_sample() -> None:
    alike = Sample(prompts=30, duration_s=10.0, busy_s=30.0, squares=30.0)
    differing = Sample(prompts=30, duration_s=10.0, busy_s=30.0, squares=60.0)
    assert alike.is_enough(5)
    assert not differing.is_enough(5)
    assert sum([differing] * 3, differing).is_enough(5)

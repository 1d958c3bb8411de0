"""The pure rules: limits, retries, ids, transitions."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.ids import RANDOM_BITS, sortable_id
from promptmill.domain.lifecycle import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    TERMINAL_JOB_STATES,
    TERMINAL_TASK_STATES,
    JobEvent,
    TaskEvent,
    TaskState,
    job_target,
    task_target,
)
from promptmill.domain.limits import (
    MOST_START_WINDOW_S,
    START_TOLERANCE_S,
    Limits,
    adapted_window_s,
    next_start_at_ms,
    parse_parameter_size,
    recommended_limits,
    startable,
)
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Succeeded
from promptmill.domain.retry import MOST_CRASHES, MOST_TURNED_AWAY, Finish, TryAgain, decide

FREE = Limits(max_concurrent=5, rate_limit_delay_s=0)


@given(
    wanted=st.integers(0, 300),
    running=st.integers(0, 300),
    most=st.integers(1, 256),
    delay=st.sampled_from([0.0, 0.1]),
)
def test_no_limit_is_ever_passed(wanted, running, most, delay) -> None:
    limits = Limits(max_concurrent=most, rate_limit_delay_s=delay)
    number = startable(wanted=wanted, running=running, limits=limits)
    assert 0 <= number <= wanted
    assert number == 0 or running + number <= most
    assert delay == 0 or number <= 1


def test_all_that_a_batch_allows_is_used() -> None:
    assert startable(wanted=9, running=2, limits=FREE) == 3


@pytest.mark.parametrize(("delay_s", "next_ms"), [(0.1, 1100), (0.0001, 1001), (0.0305, 1031)])
def test_a_delay_is_never_cut_short(delay_s: float, next_ms: int) -> None:
    assert next_start_at_ms(1000, replace(FREE, rate_limit_delay_s=delay_s)) == next_ms


@pytest.mark.parametrize(("window_s", "next_ms"), [(0.001, 1100), (0.005, 1100), (0.03, 1125)])
def test_what_a_start_may_come_late_is_added_to_the_delay(window_s: float, next_ms: int) -> None:
    paced = replace(FREE, rate_limit_delay_s=0.1)
    assert next_start_at_ms(1000, paced, window_s=window_s) == next_ms


@given(late_s=st.floats(0, MOST_START_WINDOW_S))
def test_a_window_grows_until_a_slow_machine_can_start_within_it(late_s: float) -> None:
    window_s, missed = START_TOLERANCE_S, 0
    while late_s > window_s:
        window_s, missed = adapted_window_s(window_s, missed=True), missed + 1
    assert missed <= 19
    assert adapted_window_s(window_s, missed=True) <= MOST_START_WINDOW_S


def test_a_window_settles_where_a_fifth_of_the_starts_is_missed() -> None:
    lateness = random.Random(7)
    window_s, missed = START_TOLERANCE_S, 0
    for _ in range(5_000):
        is_late = lateness.expovariate(1 / 0.02) > window_s
        missed += is_late
        window_s = adapted_window_s(window_s, missed=is_late)
    assert 0.15 < missed / 5_000 < 0.25
    for _ in range(50):
        window_s = adapted_window_s(window_s, missed=False)
    assert window_s == START_TOLERANCE_S


@pytest.mark.parametrize(
    ("size", "most", "delay"),
    [("3.2B", 8, 0.05), ("8.2B", 5, 0.1), ("30B", 5, 0.1), ("70.6B", 2, 0.2), ("270M", 8, 0.05)],
)
def test_limits_are_recommended_by_the_models_size(size: str, most: int, delay: float) -> None:
    recommended = recommended_limits(parse_parameter_size(size))
    assert recommended == Limits(max_concurrent=most, rate_limit_delay_s=delay)


def test_an_unknown_size_and_little_memory_have_limits_too() -> None:
    assert recommended_limits(parse_parameter_size("big")) == Limits()
    little = recommended_limits(3e9, little_memory=True)
    assert little == Limits(max_concurrent=2, rate_limit_delay_s=0.5)


def failed(blame: Blame) -> Failed:
    return Failed(code=ErrorCode.SERVER_ERROR, message="m", blame=blame)


@pytest.mark.parametrize(
    ("outcome", "attempt", "decision"),
    [
        (Succeeded(response="x"), 1, Finish()),
        (failed(Blame.PROMPT), 1, Finish()),
        (failed(Blame.ATTEMPT), 1, TryAgain(wait_s=1.0, charged=True)),
        (failed(Blame.ATTEMPT), 2, TryAgain(wait_s=2.0, charged=True)),
        (failed(Blame.ATTEMPT), 3, Finish()),
        (failed(Blame.HOST), 3, TryAgain(wait_s=0.0, charged=False, turned_away=True)),
    ],
)
def test_what_follows_depends_on_whom_the_failure_speaks_about(outcome, attempt, decision) -> None:
    assert decide(outcome, attempt=attempt, max_attempts=3, backoff_s=float) == decision


def test_what_fell_with_its_host_is_not_charged_until_it_has_fallen_too_often() -> None:
    fallen = Failed(code=ErrorCode.SERVER_ERROR, message="died", blame=Blame.LOSS)

    def follows(losses: int, attempt: int = 1):
        return decide(fallen, attempt=attempt, max_attempts=3, backoff_s=float, losses=losses)

    assert follows(0) == TryAgain(1.0, charged=False, lost=True)
    assert follows(MOST_CRASHES - 2) == TryAgain(9.0, charged=False, lost=True)
    assert follows(0, attempt=3) == TryAgain(3.0, charged=False, lost=True)
    assert follows(MOST_CRASHES - 1) == TryAgain(1.0, charged=True)
    assert follows(MOST_CRASHES - 1, attempt=3) == Finish()


@pytest.mark.parametrize("blame", [Blame.HOST, Blame.LIMIT])
def test_what_a_host_turns_away_is_not_charged_and_comes_to_an_end_all_the_same(blame) -> None:
    def follows(turned_away: int, attempt: int = 1):
        return decide(
            failed(blame),
            attempt=attempt,
            max_attempts=3,
            backoff_s=float,
            turned_away=turned_away,
        )

    uncharged = [follows(number) for number in range(MOST_TURNED_AWAY - 1)]
    assert all(not one.charged and one.turned_away for one in uncharged)
    assert follows(MOST_TURNED_AWAY - 1) == TryAgain(1.0, charged=True)
    assert follows(MOST_TURNED_AWAY - 1, attempt=3) == Finish()


def test_a_prompt_that_its_host_always_turns_away_waits_longer_each_time() -> None:
    waits = [
        decide(
            failed(Blame.HOST), attempt=1, max_attempts=3, backoff_s=float, turned_away=number
        ).wait_s
        for number in (0, 9, 10, 20)
    ]
    assert waits == [0.0, 0.0, 1.0, 11.0]


def test_a_model_that_is_limited_waits_as_long_as_its_host_says() -> None:
    limited = replace(failed(Blame.LIMIT), retry_after_s=3600.0)
    follows = decide(limited, attempt=1, max_attempts=3, backoff_s=float)
    assert follows == TryAgain(3600.0, charged=False, turned_away=True, waits_with_model=True)
    last = decide(limited, attempt=1, max_attempts=3, backoff_s=float, turned_away=99)
    assert last == TryAgain(3600.0, charged=True)


def test_a_refusal_is_not_charged_while_another_host_is_left_until_there_were_too_many() -> None:
    refused = Failed(code=ErrorCode.HOST_REFUSED, message="401", blame=Blame.REFUSAL)

    def follows(losses: int = 0, attempt: int = 1, *, is_elsewhere: bool):
        return decide(
            refused,
            attempt=attempt,
            max_attempts=3,
            backoff_s=float,
            losses=losses,
            is_elsewhere=is_elsewhere,
        )

    assert follows(attempt=3, is_elsewhere=True) == TryAgain(3.0, charged=False, lost=True)
    assert follows(MOST_CRASHES - 1, is_elsewhere=True) == TryAgain(1.0, charged=True)
    assert follows(is_elsewhere=False) == TryAgain(1.0, charged=True)
    assert follows(attempt=3, is_elsewhere=False) == Finish()


@given(
    times=st.lists(st.integers(0, 2**48 - 1), min_size=2, max_size=2),
    randoms=st.lists(st.integers(0, 2**RANDOM_BITS - 1), min_size=2, max_size=2),
)
def test_ids_sort_by_their_time(times: list[int], randoms: list[int]) -> None:
    first, second = (
        sortable_id("batch", now_ms=time, random=random)
        for time, random in zip(times, randoms, strict=True)
    )
    assert len(first) == len(second) == 32
    if times[0] != times[1]:
        assert (first < second) == (times[0] < times[1])


def test_only_a_retry_leaves_a_terminal_state() -> None:
    for event, moves in JOB_TRANSITIONS.items():
        is_retry = event in {JobEvent.RETRY, JobEvent.RETRY_UNSTARTED}
        assert bool(TERMINAL_JOB_STATES & set(moves)) == is_retry
    for event, moves in TASK_TRANSITIONS.items():
        assert bool(TERMINAL_TASK_STATES & set(moves)) == (event is TaskEvent.RUN_AGAIN)


def test_a_prompt_that_succeeded_never_runs_again() -> None:
    assert TaskState.SUCCEEDED not in TASK_TRANSITIONS[TaskEvent.RUN_AGAIN]


def test_every_event_leads_to_one_state() -> None:
    for event in JobEvent:
        assert set(JOB_TRANSITIONS[event].values()) == {job_target(event)}
    for event in TaskEvent:
        assert set(TASK_TRANSITIONS[event].values()) == {task_target(event)}

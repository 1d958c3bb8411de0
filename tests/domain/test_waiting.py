"""Why a batch waits: one reason for each thing that can hold it up, and none while it advances."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.batches import Batch, Counts, Usage, WaitingFor, WaitingReason
from promptmill.domain.hosts.reports import Quarantine
from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.scheduling.downloads import Pull, PullState
from promptmill.domain.scheduling.waiting import (
    Standing,
    StandingHost,
    StandingJob,
    StandingLimit,
    is_blocked,
    may_wait,
    waiting_for,
)

NOW = 1_800_000_000_000
URL = "http://gpu-1:11434"
BATCH = Batch(
    key=1,
    id="batch_1",
    state=JobState.QUEUED,
    model="m",
    limits=Limits(max_concurrent=2, rate_limit_delay_s=0),
    parameters={},
    timeout_s=300.0,
    max_attempts=3,
    priority=0,
    metadata={},
    counts=Counts(total=3, pending=3),
    usage=Usage(),
    created_at_ms=NOW - 60_000,
    started_at_ms=None,
    finished_at_ms=None,
    error=None,
    read_at_ms=NOW,
)
JOB = StandingJob(
    load_groups=frozenset({7}),
    due_at_ms=NOW - 60_000,
    next_start_at_ms=0,
    last_claimed_at_ms=0,
    awaits_models=False,
)
READY = StandingHost(key=1, url=URL, enabled=True, aside=None, held_by=None, is_working=False)
DOWN = Quarantine(
    error_code=ErrorCode.HOST_UNREACHABLE, reason="Connection refused", next_look_s=5.0
)


def aside(code: ErrorCode = ErrorCode.HOST_UNREACHABLE, seconds: float = 5.0) -> StandingHost:
    return replace(READY, aside=replace(DOWN, error_code=code, next_look_s=seconds))


def asked(
    *hosts: StandingHost, batch: Batch = BATCH, job: StandingJob = JOB, **standing
) -> WaitingFor | None:
    return waiting_for(batch, Standing(hosts=hosts or (READY,), jobs={1: job}, **standing))


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (ErrorCode.HOST_UNREACHABLE, WaitingReason.HOST_UNREACHABLE),
        (ErrorCode.HOST_REFUSED, WaitingReason.HOST_REFUSES),
        (ErrorCode.SERVER_BUSY, WaitingReason.HOST_BUSY),
        (ErrorCode.SERVER_ERROR, WaitingReason.HOST_FAILS),
        (ErrorCode.TIMEOUT, WaitingReason.HOST_FAILS),
    ],
)
def test_a_host_that_is_set_aside_is_the_reason_with_its_own_words(code, reason) -> None:
    assert asked(aside(code)) == WaitingFor(
        reason, "Connection refused", until_ms=NOW + 5000, host=URL
    )


def test_a_host_that_is_set_aside_is_told_at_once_and_not_only_after_a_while() -> None:
    fresh = replace(BATCH, created_at_ms=NOW)
    assert asked(aside(), batch=fresh) is not None


def test_of_several_hosts_that_are_set_aside_the_first_to_be_tried_is_told() -> None:
    later = replace(aside(seconds=9.0), key=2, url="http://gpu-2:11434")
    assert (reason := asked(later, aside(seconds=2.0))) is not None
    assert (reason.host, reason.until_ms) == (URL, NOW + 2000)


def test_a_host_that_takes_work_leaves_nothing_to_wait_for_unless_it_takes_none_for_long() -> None:
    beside = replace(READY, key=2, url="http://gpu-2:11434")
    lately = replace(JOB, last_claimed_at_ms=NOW - 2_000)
    assert asked(aside(), beside, job=lately) is None
    long_ago = replace(JOB, last_claimed_at_ms=NOW - 60_000)
    assert (reason := asked(aside(), beside, job=long_ago)) is not None
    assert reason.reason is WaitingReason.HOST_UNREACHABLE


def test_a_benchmark_is_named_and_nobody_knows_until_when() -> None:
    reason = asked(replace(READY, held_by="bench_1", is_working=True))
    assert reason is not None
    assert (reason.reason, reason.until_ms) == (WaitingReason.BENCHMARK, None)
    assert "bench_1" in reason.message


def test_a_usage_limit_of_its_model_holds_a_batch_up_and_one_of_another_model_does_not() -> None:
    limit = StandingLimit(until_ms=NOW + 3_600_000, error="hourly usage limit")
    assert asked(limits={(1, 7): limit}) == WaitingFor(
        WaitingReason.USAGE_LIMIT, "hourly usage limit", until_ms=NOW + 3_600_000, host=URL
    )
    assert asked(limits={(1, 8): limit, (2, 7): limit}) is None
    two_models = replace(JOB, load_groups=frozenset({7, 8}))
    assert asked(job=two_models, limits={(1, 7): limit}) is None


def test_no_worker_goes_before_all_that_hosts_may_say() -> None:
    assert (reason := asked(aside(), has_workers=False)) is not None
    assert reason.reason is WaitingReason.WORKERS_MISSING


def test_a_model_that_is_pulled_is_named() -> None:
    pull = Pull(model="qwen3:8b", host=None, state=PullState.WAITING)
    reason = asked(batch=replace(BATCH, pulls=(pull,)), job=replace(JOB, awaits_models=True))
    assert reason is not None
    assert reason.reason is WaitingReason.MODEL_MISSING
    assert "qwen3:8b" in reason.message


def test_a_pause_is_told_whatever_else_holds_it_up() -> None:
    reason = asked(aside(), batch=replace(BATCH, state=JobState.PAUSED), has_workers=False)
    assert reason is not None
    assert reason.reason is WaitingReason.PAUSED


def test_a_host_that_works_on_other_batches_is_named() -> None:
    assert asked(replace(READY, is_working=True)) == WaitingFor(
        WaitingReason.OTHER_BATCHES, f"{URL} works on other batches first.", host=URL
    )


def test_its_own_delay_is_told_when_it_is_worth_while() -> None:
    slow = replace(BATCH, limits=Limits(rate_limit_delay_s=3600.0))
    assert asked(batch=slow, job=replace(JOB, next_start_at_ms=NOW + 500)) is None
    reason = asked(batch=slow, job=replace(JOB, next_start_at_ms=NOW + 60_000))
    assert reason is not None
    assert (reason.reason, reason.until_ms) == (WaitingReason.START_LIMIT, NOW + 60_000)
    assert "3600 s" in reason.message


def test_prompts_that_failed_wait_for_their_next_attempt() -> None:
    reason = asked(job=replace(JOB, due_at_ms=NOW + 30_000))
    assert reason is not None
    assert (reason.reason, reason.until_ms) == (WaitingReason.NEXT_ATTEMPT, NOW + 30_000)


@pytest.mark.parametrize(
    "batch",
    [
        replace(BATCH, counts=Counts(total=3, pending=2, running=1)),
        replace(BATCH, counts=Counts(total=3, succeeded=3)),
        *(
            replace(BATCH, state=state)
            for state in JobState
            if state not in {JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}
        ),
    ],
)
def test_what_advances_or_has_ended_waits_for_nothing(batch: Batch) -> None:
    assert not may_wait(batch)
    assert asked(aside(), batch=batch, has_workers=False) is None


def test_what_is_about_to_start_waits_for_nothing() -> None:
    assert asked() is None
    assert asked(replace(READY, is_working=True), batch=replace(BATCH, created_at_ms=NOW)) is None


def test_only_what_holds_a_batch_up_altogether_hides_its_end() -> None:
    assert is_blocked(asked(aside()))
    assert not is_blocked(asked(replace(READY, is_working=True)))
    assert not is_blocked(None)


HOSTS = st.builds(
    StandingHost,
    key=st.integers(1, 3),
    url=st.just(URL),
    aside=st.none()
    | st.builds(
        Quarantine,
        error_code=st.sampled_from(ErrorCode),
        reason=st.just("why"),
        next_look_s=st.floats(0, 10),
    ),
    held_by=st.none() | st.just("bench_1"),
    is_working=st.booleans(),
)
TIMES = st.integers(NOW - 100_000, NOW + 100_000)


@given(
    hosts=st.lists(HOSTS, max_size=3, unique_by=lambda host: host.key),
    job=st.builds(
        StandingJob,
        load_groups=st.frozensets(st.integers(1, 3), max_size=3),
        due_at_ms=st.none() | TIMES,
        next_start_at_ms=TIMES,
        last_claimed_at_ms=st.just(0) | TIMES,
        awaits_models=st.booleans(),
    ),
    limits=st.dictionaries(
        st.tuples(st.integers(1, 3), st.integers(1, 3)),
        st.builds(StandingLimit, until_ms=st.integers(NOW, NOW + 100_000), error=st.just("limit")),
    ),
    state=st.sampled_from(JobState),
    has_workers=st.booleans(),
)
def test_whatever_the_state_of_things_a_reason_is_a_sentence_about_what_is_to_come(
    hosts, job, limits, state, has_workers
) -> None:
    standing = Standing(has_workers=has_workers, hosts=hosts, limits=limits, jobs={1: job})
    reason = waiting_for(replace(BATCH, state=state), standing)
    if reason is not None:
        assert may_wait(replace(BATCH, state=state))
        assert reason.message
        assert reason.until_ms is None or reason.until_ms >= NOW
    elif has_workers and hosts and all(host.aside or host.held_by for host in hosts):
        assert not may_wait(replace(BATCH, state=state))

"""Pause, change, retry, expiry, the stop rule, and taking turns; each on both databases."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.batches import BatchChanges, FailureLimit
from promptmill.domain.errors import Conflict, NotFound
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Blame, ErrorCode, Failed
from promptmill.domain.retry import MOST_CRASHES
from promptmill.services import control
from promptmill.store.batches import jobs, results, transitions
from promptmill.store.db.tables.batches import job
from promptmill.store.queue import bulk, candidates, completions
from tests.store.farm import UNPACED, Farm, failure

REFUSED = Failed(code=ErrorCode.INVALID_REQUEST, message="no", blame=Blame.PROMPT)


def change(farm: Farm, batch_id: str, **changes: Any) -> None:
    farm.database.write_now(transitions.update, batch_id, BatchChanges(**changes))


def pause(farm: Farm, batch_id: str) -> None:
    farm.database.write_now(transitions.request_pause, batch_id)


def resume(farm: Farm, batch_id: str) -> None:
    farm.database.write_now(transitions.request_resume, batch_id)


def cancel(farm: Farm, batch_id: str) -> None:
    farm.database.write_now(transitions.request_cancel, batch_id)


def retry(farm: Farm, batch_id: str, *indexes: int, expires_in_s: float | None = None) -> int:
    def work(tx: Any) -> int:
        key = transitions.reopen(tx, batch_id, expires_in_s=expires_in_s)
        if indexes:
            return bulk.run_chosen_again(tx, key, indexes)
        return bulk.run_again(tx, key).prompts

    return farm.database.write_now(work)


# --- pause and resume ------------------------------------------------------------------------


def test_a_paused_batch_starts_nothing_and_lets_what_runs_finish(farm: Farm) -> None:
    batch_id = farm.submit(4)
    (running,) = farm.leases(1)
    pause(farm, batch_id)
    assert farm.leases() == []
    assert farm.complete(running).finished == 1
    assert farm.batch(batch_id).state is JobState.PAUSED
    resume(farm, batch_id)
    assert farm.batch(batch_id).state is JobState.RUNNING
    assert len(farm.leases()) == 3


def test_a_batch_that_had_not_started_is_queued_again_after_a_pause(farm: Farm) -> None:
    batch_id = farm.submit(1)
    pause(farm, batch_id)
    pause(farm, batch_id)
    resume(farm, batch_id)
    resume(farm, batch_id)
    assert farm.batch(batch_id).state is JobState.QUEUED


def test_a_batch_that_is_paused_while_its_last_prompt_runs_ends_with_it(farm: Farm) -> None:
    batch_id = farm.submit(1)
    leases = farm.leases()
    pause(farm, batch_id)
    assert farm.complete(*leases).job_may_end
    assert farm.close() == [batch_id]
    assert farm.batch(batch_id).state is JobState.COMPLETED


def test_a_paused_batch_can_be_cancelled(farm: Farm) -> None:
    batch_id = farm.submit(2)
    pause(farm, batch_id)
    cancel(farm, batch_id)
    assert farm.sweep_cancelled() == 2
    farm.close()
    assert farm.batch(batch_id).state is JobState.CANCELLED


def test_an_ended_batch_can_be_neither_paused_nor_resumed(farm: Farm) -> None:
    batch_id = farm.submit(1)
    farm.complete(*farm.leases())
    farm.close()
    for ask in (pause, resume):
        with pytest.raises(Conflict, match="completed"):
            ask(farm, batch_id)
        with pytest.raises(NotFound):
            ask(farm, "batch_none")


# --- changes ---------------------------------------------------------------------------------


def test_changed_limits_hold_from_the_next_claim(farm: Farm) -> None:
    batch_id = farm.submit(9, limits=Limits(max_concurrent=2, rate_limit_delay_s=0))
    leases = farm.leases()
    change(farm, batch_id, max_concurrent=5)
    assert len(leases) == 2
    assert len(farm.leases()) == 3
    change(farm, batch_id, max_concurrent=1)
    farm.complete(*leases)
    assert farm.leases() == []


def test_a_shorter_delay_counts_from_the_last_start(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(3, limits=Limits(max_concurrent=3, rate_limit_delay_s=3600))
    assert len(farm.leases()) == 1
    clock.forward(1)
    change(farm, batch_id, rate_limit_delay_s=2.0)
    assert farm.next_due_in_ms() == 1001
    clock.forward(1.001)
    assert len(farm.leases()) == 1
    change(farm, batch_id, rate_limit_delay_s=0.0)
    assert farm.leases() == []  # as with every claim, the clock may be a millisecond behind
    clock.forward(0.001)
    assert len(farm.leases()) == 1


def test_priority_and_metadata_change_and_nothing_else(farm: Farm) -> None:
    batch_id = farm.submit(1, metadata={"a": "1"})
    before = farm.batch(batch_id)
    change(farm, batch_id, priority=7, metadata={"b": "2"})
    after = farm.batch(batch_id)
    assert (after.priority, after.metadata) == (7, {"b": "2"})
    assert (after.limits, after.state, after.counts) == (before.limits, before.state, before.counts)
    with pytest.raises(NotFound):
        change(farm, "batch_none", priority=1)
    with pytest.raises(NotFound):
        change(farm, "batch_none")


# --- retry -----------------------------------------------------------------------------------


def ended_with_failures(farm: Farm) -> str:
    batch_id = farm.submit(5)
    leases = farm.leases()
    farm.complete(*leases[:3])
    farm.complete(*leases[3:], outcome=failure())
    farm.close()
    assert farm.batch(batch_id).state is JobState.COMPLETED
    return batch_id


def test_a_retry_runs_only_what_had_no_success(farm: Farm) -> None:
    batch_id = ended_with_failures(farm)
    assert retry(farm, batch_id) == 2
    batch = farm.batch(batch_id)
    assert (batch.state, batch.finished_at_ms, batch.error) == (JobState.RUNNING, None, None)
    assert farm.states(batch_id) == {"pending": 2, "succeeded": 3}
    assert [one.index for one in farm.results(batch_id)] == [0, 1, 2]
    again = farm.leases()
    assert [lease.attempt for lease in again] == [1, 1]
    farm.complete(*again)
    assert farm.close() == [batch_id]
    assert farm.states(batch_id) == {"succeeded": 5}


def test_chosen_prompts_run_again_and_the_others_stay(farm: Farm) -> None:
    batch_id = ended_with_failures(farm)
    assert retry(farm, batch_id, 4, 0) == 1
    assert farm.states(batch_id) == {"pending": 1, "succeeded": 3, "failed": 1}
    (lease,) = farm.leases()
    assert lease.call.prompt == "Question 4"


def test_an_index_beyond_the_batch_is_no_prompt_of_another(farm: Farm) -> None:
    batch_id, other = farm.submit(1), farm.submit(1)
    farm.complete(*farm.leases(), outcome=failure())
    farm.close()
    assert retry(farm, batch_id, 1 << 32, -1, 7) == 0
    assert farm.states(other) == {"failed": 1}


def test_a_retry_goes_on_in_pieces(farm: Farm) -> None:
    batch_id = farm.submit(7)
    cancel(farm, batch_id)
    farm.sweep_cancelled()
    farm.close()
    key = farm.database.write_now(transitions.reopen, batch_id, expires_in_s=None)
    sizes, after = [], None
    while True:
        swept = farm.database.write_now(bulk.run_again, key, after_index=after, limit=3)
        sizes.append(swept.prompts)
        after = swept.last_index
        if after is None:
            break
    assert sizes == [3, 3, 1]
    assert farm.states(batch_id) == {"pending": 7}
    assert farm.batch(batch_id).state is JobState.QUEUED


def begun_retry_of_four(farm: Farm) -> tuple[str, int]:
    """A batch of which half is queued again, and the index where the retry goes on."""
    batch_id = farm.submit(4)
    farm.complete(*farm.leases(), outcome=failure())
    farm.close()
    key = farm.database.write_now(transitions.reopen, batch_id, expires_in_s=None)
    swept = farm.database.write_now(bulk.run_again, key, limit=2)
    assert swept == bulk.Swept(prompts=2, last_index=1)
    return batch_id, 1


def test_a_batch_that_ends_between_two_pieces_of_a_retry_goes_on(farm: Farm) -> None:
    batch_id, last_index = begun_retry_of_four(farm)
    farm.complete(*farm.leases(), outcome=REFUSED)
    farm.complete(*farm.leases())
    assert farm.close() == [batch_id]
    swept = farm.database.write_now(control._retry_more, batch_id, last_index, piece=2)
    assert swept.prompts == 2
    assert farm.batch(batch_id).state is JobState.RUNNING
    assert len(farm.leases()) == 2


def test_a_cancellation_between_two_pieces_stops_the_retry(farm: Farm) -> None:
    batch_id, last_index = begun_retry_of_four(farm)
    cancel(farm, batch_id)
    for _ in range(2):  # while it is being cancelled, and when it has been
        swept = farm.database.write_now(control._retry_more, batch_id, last_index, piece=2)
        assert swept == bulk.Swept(prompts=0, last_index=None)
        farm.sweep_cancelled()
        farm.close()
    assert farm.batch(batch_id).state is JobState.CANCELLED
    assert farm.states(batch_id) == {"cancelled": 2, "failed": 2}


def test_what_fails_in_a_running_batch_can_be_retried_at_once(farm: Farm) -> None:
    batch_id = farm.submit(3)
    first, second, _third = farm.leases()
    farm.complete(first, outcome=failure())
    farm.complete(second)
    assert retry(farm, batch_id) == 1
    assert farm.states(batch_id) == {"pending": 1, "running": 1, "succeeded": 1}


def test_a_batch_that_is_being_cancelled_cannot_be_retried(farm: Farm) -> None:
    batch_id = farm.submit(1)
    cancel(farm, batch_id)
    with pytest.raises(Conflict):
        retry(farm, batch_id)


def test_a_late_answer_to_a_retried_prompt_is_dropped(farm: Farm) -> None:
    batch_id = farm.submit(1)
    (lease,) = farm.leases()
    farm.complete(lease, outcome=failure())
    retry(farm, batch_id)
    (again,) = farm.leases()
    assert farm.complete(lease).fenced == 1
    assert farm.complete(again).finished == 1


# --- expiry ----------------------------------------------------------------------------------


def test_what_has_not_started_in_time_expires(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(3, expires_in_s=60.0)
    (running,) = farm.leases(1)
    clock.forward(59.999)
    assert farm.sweep_expired() == 0
    clock.forward(0.001)
    assert farm.leases() == []
    assert farm.sweep_expired() == 2
    assert farm.states(batch_id) == {"running": 1, "expired": 2}
    farm.complete(running)
    assert farm.close() == [batch_id]
    batch = farm.batch(batch_id)
    assert (batch.state, batch.error) == (
        JobState.EXPIRED,
        "Time ran out before 2 of the 3 prompts had an answer.",
    )
    late = farm.results(batch_id, status=TaskState.EXPIRED)
    assert [(one.index, one.error_code, one.attempts) for one in late] == [
        (1, ErrorCode.EXPIRED, 0),
        (2, ErrorCode.EXPIRED, 0),
    ]


def test_a_paused_batch_expires_too(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(1, expires_in_s=1.0)
    pause(farm, batch_id)
    clock.forward(1)
    farm.sweep_expired()
    farm.close()
    assert farm.batch(batch_id).state is JobState.EXPIRED


def test_a_retry_after_expiry_has_no_deadline_or_a_new_one(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(2, expires_in_s=1.0)
    clock.forward(1)
    farm.sweep_expired()
    farm.close()
    assert retry(farm, batch_id, 0) == 1
    assert farm.batch(batch_id).expires_at_ms is None
    assert retry(farm, batch_id, 1, expires_in_s=5.0) == 1
    assert farm.batch(batch_id).expires_at_ms == clock.now_ms + 5000
    assert len(farm.leases()) == 2


# --- the stop rule ---------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "borne"), [("1", 1), ("0", 0), ("20%", 2), ("9.99%", 0)])
def test_a_batch_with_more_failures_than_it_bears_is_ended_as_failed(
    farm: Farm, limit: str, borne: int
) -> None:
    batch_id = farm.submit(10, max_failures=FailureLimit(limit))
    leases = farm.leases(5)
    for lease in leases[:borne]:
        assert not farm.complete(lease, outcome=REFUSED).job_stopped
    assert farm.batch(batch_id).state is JobState.RUNNING
    assert farm.complete(leases[borne], outcome=REFUSED).job_stopped
    assert farm.leases() == []
    assert farm.database.read_now(transitions.ending_early) == [
        transitions.EndingEarly(job_key=leases[0].job_key, abort_running=False)
    ]
    farm.complete(*leases[borne + 1 :])
    farm.sweep_cancelled()
    assert farm.close() == [batch_id]
    batch = farm.batch(batch_id)
    assert batch.state is JobState.FAILED
    assert batch.error is not None
    assert f"{borne + 1} of 10 prompts failed" in batch.error
    assert farm.states(batch_id)["cancelled"] == 5


def test_a_cancellation_goes_over_the_stop_rule(farm: Farm) -> None:
    batch_id = farm.submit(2, max_failures=FailureLimit("0"))
    refused, running = farm.leases()
    farm.complete(refused, outcome=REFUSED)
    cancel(farm, batch_id)
    assert [one.abort_running for one in farm.database.read_now(transitions.ending_early)] == [True]
    farm.complete(running)
    farm.close()
    assert farm.batch(batch_id).state is JobState.CANCELLED


def test_a_prompt_that_workers_died_on_counts_for_the_stop_rule(farm: Farm) -> None:
    batch_id = farm.submit(2, max_failures=FailureLimit("0"))
    for _ in range(MOST_CRASHES):
        assert len(farm.leases()) == 2
        farm.database.write_now(completions.rescue, all_running=True)
    assert farm.batch(batch_id).state is JobState.CANCELLING


def test_a_stopped_batch_goes_on_after_a_retry(farm: Farm) -> None:
    batch_id = farm.submit(3, max_failures=FailureLimit("0"))
    farm.complete(*farm.leases(1), outcome=REFUSED)
    farm.sweep_cancelled()
    farm.close()
    assert retry(farm, batch_id) == 3
    farm.complete(*farm.leases())
    farm.close()
    batch = farm.batch(batch_id)
    assert (batch.state, batch.error) == (JobState.COMPLETED, None)


# --- the order of results --------------------------------------------------------------------


def test_results_are_numbered_in_the_order_of_their_storing(farm: Farm) -> None:
    batch_id, other = farm.submit(4), farm.submit(1)
    leases = farm.leases()
    own = [lease for lease in leases if lease.call.prompt != "Question 0"]
    farm.complete(own[2], *(lease for lease in leases if lease not in own))
    farm.complete(own[0], outcome=failure())
    cancel(farm, batch_id)

    def since(event: int, name: str = batch_id) -> list[tuple[int | None, int]]:
        def read(tx: Any) -> list[tuple[int | None, int]]:
            found = results.since(tx, results.job_key(tx, name), event, limit=10)
            return [(one.event, one.index) for one in found]

        return farm.database.read_now(read)

    seen = since(0)
    assert [event for event, _ in seen] == [1, 2, 3]
    assert {index for _, index in seen[:2]} == {0, 3}
    assert seen[2] == (3, 1)
    assert since(2) == [(3, 1)]
    assert since(3) == []
    assert since(0, other) == [(1, 0)]
    assert farm.batch(batch_id).last_event == 3
    retry_key = own[0].job_key
    farm.complete(own[1])
    assert since(3) == [(4, 2)]
    assert retry_key == own[1].job_key


def test_a_retried_result_gets_a_new_number(farm: Farm) -> None:
    batch_id = farm.submit(2)
    first, second = farm.leases()
    farm.complete(first, outcome=failure())
    retry(farm, batch_id)
    farm.complete(second)
    farm.complete(*farm.leases())
    assert [(one.event, one.index) for one in farm.results(batch_id)] == [(3, 0), (2, 1)]


# --- taking turns ----------------------------------------------------------------------------


def turns(farm: Farm, clock: Any, number: int, **options: Any) -> str:
    """Who got the only slot, one letter a turn."""
    names: dict[int, str] = {}
    order = ""
    for _ in range(number):
        (lease,) = farm.leases(1, **options)
        order += names.setdefault(lease.job_key, "abc"[lease.job_key - 1])
        farm.complete(lease)
        clock.forward(0.5)
    return order


def test_batches_of_equal_priority_take_turns(farm: Farm, clock: Any) -> None:
    for _ in range(3):
        farm.submit(5)
        clock.forward(0.001)
    assert turns(farm, clock, 6) == "abcabc"


def test_a_small_batch_behind_a_large_one_starts_at_once(farm: Farm, clock: Any) -> None:
    farm.submit(1000, limits=Limits(max_concurrent=50, rate_limit_delay_s=0))
    assert len(farm.leases(10)) == 10
    clock.forward(1)
    small = farm.submit(10)
    (lease,) = farm.leases(1)
    assert lease.call.prompt == "Question 0"
    assert farm.states(small) == {"running": 1, "pending": 9}


def test_a_higher_priority_goes_first(farm: Farm, clock: Any) -> None:
    farm.submit(3)
    farm.submit(3, priority=1)
    assert turns(farm, clock, 6) == "bbbaaa"


def test_waiting_raises_a_low_priority_so_that_it_does_not_starve(farm: Farm, clock: Any) -> None:
    farm.submit(9, priority=-2)
    farm.submit(40, priority=0)
    # Each second of waiting counts one: every two and a half seconds the low one has its turn.
    assert turns(farm, clock, 18, aging_ms=1000).count("a") == pytest.approx(4, abs=1)
    assert turns(farm, clock, 9, aging_ms=candidates.NEVER_MS) == "bbbbbbbbb"


# --- what a client cannot see ----------------------------------------------------------------


def test_a_batch_that_is_being_received_does_not_exist_for_anybody(farm: Farm) -> None:
    batch_id = farm.submit(2)
    farm.database.write_now(lambda tx: tx.execute(job.update().values(state=JobState.RECEIVING)))
    assert farm.leases() == []
    assert farm.database.read_now(jobs.page, limit=10) == []
    assert farm.database.read_now(jobs.prompts_without_outcome) == 0
    with pytest.raises(NotFound):
        farm.batch(batch_id)
    for ask in (pause, resume, cancel):
        with pytest.raises(NotFound):
            ask(farm, batch_id)


def test_limits_for_a_share_are_rounded_down() -> None:
    assert FailureLimit("20%").prompts_of(7) == 1
    assert FailureLimit("0.1%").prompts_of(1000) == 1
    assert FailureLimit("100%").prompts_of(3) == 3
    assert FailureLimit("12").prompts_of(3) == 12
    assert UNPACED.rate_limit_delay_s == 0

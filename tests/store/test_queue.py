"""The queue's promises, each on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from promptmill.domain.batches import BatchChanges, BatchDraft, PromptDraft
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Succeeded
from promptmill.domain.reading import BatchFilter
from promptmill.domain.retry import MOST_CRASHES, TryAgain
from promptmill.store.batches import jobs, overview, transitions
from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.tables.batches import result
from promptmill.store.queue import candidates, claims, completions
from promptmill.store.queue.leases import HostShare, Recorded
from tests.store.farm import LEASE_MS, UNPACED, Farm, failure


def test_a_batch_goes_from_pending_to_results_in_prompt_order(farm: Farm) -> None:
    batch_id = farm.submit(3)
    assert farm.states(batch_id) == {"pending": 3}
    assert farm.batch(batch_id).state is JobState.QUEUED

    leases = farm.leases()

    assert [lease.call.prompt for lease in leases] == ["Question 0", "Question 1", "Question 2"]
    assert farm.states(batch_id) == {"running": 3}
    assert farm.batch(batch_id).state is JobState.RUNNING
    recorded = farm.complete(*reversed(leases))
    assert recorded == Recorded(finished=3, fenced=0, job_may_end=True)
    assert farm.close() == [batch_id]
    batch = farm.batch(batch_id)
    assert batch.state is JobState.COMPLETED
    assert (batch.usage.prompt_tokens, batch.usage.completion_tokens) == (30, 60)
    assert [(one.index, one.response) for one in farm.results(batch_id)] == [
        (0, "answer to Question 0"),
        (1, "answer to Question 1"),
        (2, "answer to Question 2"),
    ]


def test_a_claim_takes_no_more_than_asked_for(farm: Farm) -> None:
    farm.submit(5)
    assert len(farm.leases(2)) == 2


def test_running_prompts_of_a_job_never_exceed_its_max_concurrent(farm: Farm) -> None:
    batch_id = farm.submit(9, limits=Limits(max_concurrent=4, rate_limit_delay_s=0))
    first = farm.leases(owner="w1")
    assert len(first) == 4
    assert farm.leases(owner="w2") == []
    farm.complete(first[0])
    assert len(farm.leases(owner="w2")) == 1
    assert farm.states(batch_id) == {"pending": 4, "running": 4, "succeeded": 1}


def test_a_delay_lets_one_prompt_start_and_the_next_after_it(farm: Farm, clock: Any) -> None:
    farm.submit(3, limits=Limits(max_concurrent=3, rate_limit_delay_s=0.1))
    assert len(farm.leases()) == 1
    assert farm.next_due_in_ms() == 101
    clock.forward(0.1)
    assert farm.leases() == []
    clock.forward(0.001)
    assert len(farm.leases()) == 1


def test_the_next_start_keeps_its_distance_from_the_latest_moment_of_the_last(
    farm: Farm, clock: Any
) -> None:
    batch_id = farm.submit(3, limits=Limits(max_concurrent=3, rate_limit_delay_s=0.1))
    assert len(farm.leases(start_window_s=0.045)) == 1
    assert farm.next_due_in_ms() == 101 + 40
    changes = BatchChanges(rate_limit_delay_s=0.03)
    farm.database.write_now(transitions.update, batch_id, changes)
    assert farm.next_due_in_ms() == 31 + 40
    clock.forward(0.071)
    assert len(farm.leases()) == 1


def test_a_paced_start_is_the_last_of_its_claim(farm: Farm) -> None:
    for delay_s in (0.0, 0.1, 0.1, 0.0):
        farm.submit(2, limits=Limits(max_concurrent=2, rate_limit_delay_s=delay_s))
    claims = [[lease.is_paced for lease in farm.leases()] for _ in range(4)]
    assert claims == [[False, False, True], [True], [False, False], []]


def test_a_permit_ends_by_its_window_or_with_the_lease(farm: Farm) -> None:
    farm.submit(1, limits=Limits(max_concurrent=1, rate_limit_delay_s=0.1))
    farm.submit(1)
    (paced,) = farm.leases(start_window_s=0.03)
    (free,) = farm.leases(start_window_s=0.03)
    assert paced.start_by - paced.claimed_at == pytest.approx(0.03, abs=0.02)
    assert free.start_by - free.claimed_at == pytest.approx(LEASE_MS / 1000, abs=0.5)


def test_a_worker_held_up_while_it_reads_the_databases_clock_is_late(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm.submit(1, limits=Limits(max_concurrent=1, rate_limit_delay_s=0.1))
    now_ms = Transaction.now_ms

    def held_up(tx: Transaction) -> int:
        now = now_ms(tx)
        time.sleep(0.03)
        return now

    monkeypatch.setattr(Transaction, "now_ms", held_up)
    (lease,) = farm.leases(start_window_s=0.02)
    assert lease.start_by < lease.claimed_at


def test_what_was_not_begun_comes_next_again(farm: Farm, clock: Any) -> None:
    farm.submit(3, limits=Limits(max_concurrent=1, rate_limit_delay_s=0))
    (first,) = farm.leases()
    clock.forward(1)
    back = TryAgain(wait_s=0.0, charged=False, keeps_place=True)
    farm.complete(first, outcome=failure(), decision=back)
    (again,) = farm.leases()
    assert (again.task_id, again.attempt) == (first.task_id, 1)


LATE = TryAgain(wait_s=0.0, charged=False, keeps_place=True, unused=True)


def test_a_permit_that_was_not_used_costs_no_delay(farm: Farm) -> None:
    farm.submit(3, limits=Limits(max_concurrent=3, rate_limit_delay_s=3600))
    (late,) = farm.leases()
    assert farm.leases() == []
    farm.complete(late, outcome=failure(), decision=LATE)
    assert len(farm.leases()) == 1
    assert farm.leases() == []


def test_a_call_that_was_begun_keeps_its_distance_when_it_is_given_back(farm: Farm) -> None:
    farm.submit(3, limits=Limits(max_concurrent=3, rate_limit_delay_s=3600))
    (begun,) = farm.leases()
    farm.complete(begun, outcome=failure(), decision=replace(LATE, unused=False))
    assert farm.leases() == []


def test_an_unused_permit_opens_nothing_once_another_start_was_permitted(
    farm: Farm, clock: Any
) -> None:
    farm.submit(3, limits=Limits(max_concurrent=3, rate_limit_delay_s=0.1))
    (late,) = farm.leases()
    clock.forward(0.101)
    (in_time,) = farm.leases(owner="w2")
    farm.complete(late, outcome=failure(), decision=LATE)
    assert farm.leases() == []
    farm.complete(late, outcome=failure(), decision=LATE)
    farm.complete(in_time)
    assert farm.leases() == []


def test_an_unused_permit_leaves_a_delay_that_was_changed_since(farm: Farm) -> None:
    batch_id = farm.submit(3, limits=Limits(max_concurrent=3, rate_limit_delay_s=0.1))
    (late,) = farm.leases()
    farm.database.write_now(transitions.update, batch_id, BatchChanges(rate_limit_delay_s=2.0))
    due_in_ms = farm.next_due_in_ms()
    farm.complete(late, outcome=failure(), decision=LATE)
    assert farm.next_due_in_ms() == due_in_ms


def test_the_hosts_slots_hold_over_all_batches(farm: Farm) -> None:
    farm.submit(5)
    farm.submit(5)
    first = farm.leases(slots=3)
    assert len(first) == 3
    assert farm.leases(slots=3, owner="w2") == []
    farm.complete(first[0])
    assert len(farm.leases(slots=3, owner="w2")) == 1


def test_the_higher_priority_goes_first(farm: Farm) -> None:
    farm.submit(2)
    farm.submit(2, priority=5, model="urgent")
    assert [lease.call.model for lease in farm.leases(3)] == ["urgent", "urgent", "qwen3:8b"]


def test_batches_of_equal_priority_take_turns(farm: Farm, clock: Any) -> None:
    farm.submit(100, model="long")
    farm.submit(2, model="short")
    turns = []
    for _ in range(4):
        turns += [lease.call.model for lease in farm.leases(1)]
        clock.forward(0.001)
    assert turns == ["long", "short", "long", "short"]


def test_a_late_completion_is_fenced_off(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(1)
    (paused,) = farm.leases(owner="paused")
    clock.forward(LEASE_MS / 1000 + 1)
    assert farm.database.write_now(completions.rescue) == 1
    (fresh,) = farm.leases(owner="fresh")

    late = farm.complete(paused, outcome=Succeeded(response="late"))

    assert late == Recorded(finished=0, fenced=1, job_may_end=False)
    assert farm.results(batch_id) == []
    farm.complete(fresh)
    assert [one.response for one in farm.results(batch_id)] == ["answer to Question 0"]


def test_a_worker_that_lost_a_lease_and_claimed_the_prompt_anew_cannot_use_the_old_one(
    farm: Farm, clock: Any
) -> None:
    farm.submit(1)
    (old,) = farm.leases()
    clock.forward(LEASE_MS / 1000 + 1)
    farm.database.write_now(completions.rescue)
    (new,) = farm.leases()
    assert farm.complete(old).fenced == 1
    assert farm.complete(new).finished == 1


def test_a_completion_sent_twice_is_recorded_once(farm: Farm) -> None:
    batch_id = farm.submit(1)
    (lease,) = farm.leases()
    farm.complete(lease)
    assert farm.complete(lease).fenced == 1
    assert farm.states(batch_id) == {"succeeded": 1}
    assert len(farm.results(batch_id)) == 1


def test_the_database_itself_refuses_a_second_result(farm: Farm) -> None:
    farm.submit(1)
    (lease,) = farm.leases()
    farm.complete(lease)
    row = {"id": lease.task_id, "status": "failed", "model": "m", "attempts": 1}
    with pytest.raises(IntegrityError):
        farm.database.write_now(
            lambda tx: tx.execute(sa.insert(result), {**row, "finished_at_ms": 1})
        )


def test_renewed_leases_are_not_rescued_and_others_are(farm: Farm, clock: Any) -> None:
    farm.submit(2)
    mine, other = farm.leases(1, owner="w1") + farm.leases(1, owner="w2")
    clock.forward(20)
    held = farm.database.write_now(
        completions.renew, owner="w1", task_ids=[mine.task_id, other.task_id], lease_ms=LEASE_MS
    )
    assert held == {(mine.task_id, mine.token)}
    clock.forward(15)
    assert farm.database.write_now(completions.rescue) == 1
    assert farm.complete(mine).finished == 1
    assert farm.complete(other).fenced == 1


def test_a_rescued_prompt_is_not_charged_for_its_workers_death(farm: Farm, clock: Any) -> None:
    farm.submit(1)
    assert farm.leases()[0].attempt == 1
    clock.forward(31)
    farm.database.write_now(completions.rescue)
    assert farm.leases()[0].attempt == 1


def test_a_prompt_whose_workers_keep_dying_fails_in_the_end(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(1)
    for _ in range(MOST_CRASHES):
        assert len(farm.leases()) == 1
        clock.forward(31)
        farm.database.write_now(completions.rescue)
    assert farm.states(batch_id) == {"failed": 1}
    assert farm.results(batch_id)[0].error_code is ErrorCode.LEASE_LOST
    assert farm.close() == [batch_id]


def test_at_the_start_of_the_only_worker_everything_running_goes_back(farm: Farm) -> None:
    batch_id = farm.submit(3)
    farm.leases()
    assert farm.database.write_now(completions.rescue, all_running=True) == 3
    assert farm.states(batch_id) == {"pending": 3}


def test_a_retry_waits_in_the_database_and_holds_no_slot(farm: Farm, clock: Any) -> None:
    batch_id = farm.submit(2, limits=Limits(max_concurrent=1, rate_limit_delay_s=0))
    (failed,) = farm.leases()
    farm.complete(failed, outcome=failure(), decision=TryAgain(wait_s=2.0, charged=True))
    assert farm.states(batch_id) == {"pending": 2}
    (other,) = farm.leases()
    assert other.task_id != failed.task_id
    farm.complete(other)
    assert (farm.leases(), farm.next_due_in_ms()) == ([], 2000)
    clock.forward(2)
    (again,) = farm.leases()
    assert (again.task_id, again.attempt) == (failed.task_id, 2)


def test_what_goes_back_uncharged_keeps_its_attempts(farm: Farm) -> None:
    farm.submit(1)
    (lease,) = farm.leases()
    farm.complete(lease, outcome=failure(), decision=TryAgain(wait_s=0, charged=False))
    assert farm.leases()[0].attempt == 1


def test_what_fell_with_its_host_is_counted_beside_its_attempts(farm: Farm) -> None:
    farm.submit(1)
    for losses in range(3):
        (lease,) = farm.leases()
        assert (lease.attempt, lease.losses) == (1, losses)
        again = TryAgain(wait_s=0, charged=False, lost=True)
        farm.complete(lease, outcome=failure(), decision=again)


def test_a_batch_with_no_success_is_failed_and_says_the_first_error(farm: Farm) -> None:
    batch_id = farm.submit(2)
    farm.complete(*farm.leases(), outcome=failure())
    farm.close()
    batch = farm.batch(batch_id)
    assert batch.state is JobState.FAILED
    assert batch.error == "None of the 2 prompts succeeded; the first error: it broke"


def test_cancelling_ends_what_waits_and_keeps_what_finished(farm: Farm) -> None:
    batch_id = farm.submit(4, limits=Limits(max_concurrent=2, rate_limit_delay_s=0))
    done, running = farm.leases()
    farm.complete(done)
    farm.database.write_now(transitions.request_cancel, batch_id)

    assert farm.leases() == []
    assert farm.sweep_cancelled() == 2
    assert farm.close() == []
    aborted = Failed(code=ErrorCode.CANCELLED, message="aborted", blame=Blame.PROMPT)
    farm.complete(running, outcome=aborted)

    assert farm.close() == [batch_id]
    assert farm.batch(batch_id).state is JobState.CANCELLED
    assert farm.states(batch_id) == {"succeeded": 1, "cancelled": 3}
    statuses = [one.status for one in farm.results(batch_id)]
    assert statuses == [TaskState.SUCCEEDED] + [TaskState.CANCELLED] * 3


def test_a_cancelled_prompt_names_the_model_it_would_have_run_on(farm: Farm) -> None:
    drafts = [PromptDraft("a"), PromptDraft("b", None, {"model": "llama3.2:3b"})]
    farm.database.write_now(
        jobs.insert,
        BatchDraft(prompts=drafts, model="qwen3:8b", limits=UNPACED),
        batch_id="batch_x",
    )
    farm.database.write_now(transitions.request_cancel, "batch_x")
    farm.sweep_cancelled()
    assert [one.model for one in farm.results("batch_x")] == ["qwen3:8b", "llama3.2:3b"]


def test_a_prompts_own_fields_go_over_the_batchs(farm: Farm) -> None:
    own = {"model": "llama3.2:3b", "options": {"seed": 1}}
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    draft = BatchDraft(
        prompts=[PromptDraft("a", "one", own), PromptDraft("hi", None, chat), PromptDraft("c")],
        model="qwen3:8b",
        limits=UNPACED,
        parameters={"options": {"seed": 7}, "system": "Be brief."},
        timeout_s=12.5,
    )
    farm.database.write_now(jobs.insert, draft, batch_id="batch_y")
    leases = sorted(farm.leases(), key=lambda lease: lease.task_id)
    first, second, third = (lease.call for lease in leases)
    assert (first.model, first.prompt, first.timeout_s) == ("llama3.2:3b", "a", 12.5)
    assert first.parameters == {"options": {"seed": 1}, "system": "Be brief."}
    assert (second.prompt, second.messages) == (None, ({"role": "user", "content": "hi"},))
    assert (third.model, third.parameters["options"]) == ("qwen3:8b", {"seed": 7})


def test_results_of_one_status_come_in_pages(farm: Farm) -> None:
    batch_id = farm.submit(6, limits=Limits(max_concurrent=6, rate_limit_delay_s=0))
    leases = farm.leases()
    farm.complete(*leases[::2], outcome=failure())
    farm.complete(*leases[1::2])
    failed = farm.results(batch_id, status=TaskState.FAILED, limit=2)
    assert [one.index for one in failed] == [0, 2]
    rest = farm.results(batch_id, status=TaskState.FAILED, after_index=2)
    assert [one.index for one in rest] == [4]
    assert [one.index for one in farm.results(batch_id, status=TaskState.SUCCEEDED)] == [1, 3, 5]


def test_a_deleted_batch_is_gone_at_once_and_its_rows_soon(farm: Farm) -> None:
    batch_id, kept = farm.submit(7), farm.submit(2)
    farm.database.write_now(transitions.request_cancel, batch_id)
    farm.sweep_cancelled()
    farm.close()
    farm.database.write_now(jobs.BATCHES.mark_deleted, batch_id)
    listed = farm.database.read_now(jobs.page, limit=10)
    assert [batch.id for batch in listed] == [kept]
    purged = 0
    while removed := farm.database.write_now(jobs.purge_some, limit=3):
        purged += removed
    assert purged == 8
    assert farm.states(kept) == {"pending": 2}
    assert len(farm.leases()) == 2


def test_lists_are_newest_first_and_filter(farm: Farm) -> None:
    a = farm.submit(1, metadata={"team": "red"})
    b = farm.submit(1, metadata={"team": "blue"}, model="llama3.2:3b")
    c = farm.submit(1, metadata={"team": "red", "run": "2"})

    def listed(before: str | None = None, **wanted: Any) -> list[str]:
        page = farm.database.read_now(overview.page, BatchFilter(**wanted), limit=10, before=before)
        return [one.id for one in page.batches]

    assert listed() == [c, b, a]
    assert listed(before=b) == [a]
    assert listed(metadata={"team": "red"}) == [c, a]
    assert listed(metadata={"team": "red", "run": "2"}) == [c]
    assert listed(model="llama3.2:3b") == [b]
    assert listed(states=(JobState.RUNNING,)) == []
    assert listed(text="BLUE") == [b]


def test_a_queued_batch_knows_its_place(farm: Farm) -> None:
    first, second = farm.submit(1), farm.submit(1)
    urgent = farm.submit(1, priority=1)
    places = [farm.batch(one).queue_position for one in (urgent, first, second)]
    assert places == [1, 2, 3]


def test_pages_of_batches_made_in_the_same_moment_miss_none(farm: Farm) -> None:
    # Their ids are drawn, so they do not sort as they were stored.
    draft = BatchDraft(prompts=[PromptDraft("a")], model="m")
    ids = [f"batch_{letter}" for letter in "cabed"]
    for batch_id in ids:
        farm.database.write_now(jobs.insert, draft, batch_id=batch_id)
    seen, before = [], None
    while page := farm.database.read_now(jobs.page, limit=2, before=before):
        seen += [batch.id for batch in page]
        before = seen[-1]
    assert seen == sorted(ids, reverse=True)


def test_a_claim_that_passed_over_a_job_in_another_workers_hands_is_worth_repeating_at_once(
    farm: Farm, database_url: str, clock: Any
) -> None:
    farm.submit(3)
    share = HostShare(key=farm.host_key, url="http://ollama:11434", slots=None)
    full = replace(share, slots=1)
    other = Database(database_url, clock=clock)

    def while_one_claims(tx: Any) -> None:
        assert len(claims.claim(tx, wanted=1, owner="w1", lease_ms=LEASE_MS, share=share)) == 1
        if not other.is_sqlite:
            passed_over = other.write_now(
                claims.claim, wanted=1, owner="w2", lease_ms=LEASE_MS, share=share
            )
            assert list(passed_over) == []
            assert other.read_now(candidates.may_start_now, share)

    farm.database.write_now(while_one_claims)
    assert not other.read_now(candidates.may_start_now, full)
    assert len(farm.leases()) == 2
    assert not other.read_now(candidates.may_start_now, share)
    other.close_now()


def test_a_start_that_has_come_due_since_the_claim_is_not_waited_for(
    farm: Farm, clock: Any
) -> None:
    farm.submit(2, limits=Limits(max_concurrent=5, rate_limit_delay_s=0.05))
    assert (len(farm.leases()), len(farm.leases())) == (1, 0)
    share = HostShare(key=farm.host_key, url="http://ollama:11434", slots=None)
    assert not farm.database.read_now(candidates.may_start_now, share)
    assert farm.next_due_in_ms() is not None

    clock.forward(0.1)

    assert farm.next_due_in_ms() is None, "nothing is still to come"
    assert farm.database.read_now(candidates.may_start_now, share)


def test_many_batches_are_claimed_from_in_their_turn(farm: Farm) -> None:
    ids = [farm.submit(1) for _ in range(40)]
    keys = [farm.batch(each).key for each in ids]

    assert [lease.job_key for lease in farm.leases(10)] == keys[:10]
    assert [lease.job_key for lease in farm.leases(10)] == keys[10:20]


def test_of_many_batches_the_last_are_claimed_from_when_those_before_them_wait(farm: Farm) -> None:
    for _ in range(40):
        farm.submit(1, priority=1)
    waiting = [*farm.leases(16), *farm.leases(16), *farm.leases(16)]
    farm.complete(*waiting, outcome=failure(), decision=TryAgain(charged=True, wait_s=60))
    last = [farm.submit(1), farm.submit(1)]

    leases = farm.leases(10)

    assert [lease.job_key for lease in leases] == [farm.batch(each).key for each in last]

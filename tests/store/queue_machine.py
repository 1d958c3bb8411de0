"""A state machine that does to the queue whatever workers, clients and time can do to it.

Hypothesis draws the steps and their order; after each of them `what_must_hold` compares the whole
database with what the machine knows must be true. Workers may forget their leases (they die), lose
them (they sleep too long) and come back with them at any later time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from promptmill.domain.batches import BatchChanges, BatchDraft, FailureLimit, PromptDraft
from promptmill.domain.errors import Conflict
from promptmill.domain.lifecycle import (
    JOB_TRANSITIONS,
    TERMINAL_JOB_STATES,
    JobEvent,
    JobState,
    TaskEvent,
    TaskState,
    task_sources,
)
from promptmill.domain.limits import START_TOLERANCE_S, Limits
from promptmill.domain.outcomes import Blame, CallMetrics, ErrorCode, Failed, Outcome, Succeeded
from promptmill.domain.retry import Decision, Finish, TryAgain
from promptmill.store.batches import jobs, transitions
from promptmill.store.db import clocks
from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.tables.batches import index_of, job_key_of, metadata
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import bulk, claims, completions
from promptmill.store.queue.leases import Completion, HostShare, Lease
from tests.conftest import FakeClock
from tests.store.queue_picture import (
    RUNS_AGAIN,
    Picture,
    counts_are_the_rows,
    leases_are_whole_or_absent,
    limits_hold,
    results_are_numbered_as_they_come,
    results_are_of_finished_tasks_one_each,
    states_changed_only_along_the_tables,
    take_picture,
)

WORKERS = ("ann", "bob", "cid")
START_WINDOWS_S = {"ann": START_TOLERANCE_S, "bob": 0.05, "cid": 0.2, "zoe": 0.05}
"""How late each may begin a paced call."""
LEASE_S = 30.0
LONGEST_WAIT_S = 1.0
"""More than any prompt waits for its next attempt, or for a host's limit; see `ENDINGS`."""
DAY_S = 86_400.0
"""Longer than the worker of the end goes on for."""
SLOTS = 5
MOST_BATCHES = 4
"""Few at a time: then what happens to one happens near to what happens to another."""
HOST_URL = "http://ollama:11434"

_ENDS = frozenset(
    {
        JobEvent.COMPLETE,
        JobEvent.FAIL,
        JobEvent.EXPIRE,
        JobEvent.CANCEL,
        JobEvent.FAIL_STOPPED,
    }
)
_RECORDS = frozenset(
    {
        TaskEvent.SUCCEED,
        TaskEvent.FAIL,
        TaskEvent.CANCEL,
        TaskEvent.RETRY,
        TaskEvent.RELEASE,
        JobEvent.STOP,
        JobEvent.UNSTART,
    }
)
_REQUESTS = {
    "pause": (
        transitions.request_pause,
        frozenset({JobEvent.PAUSE}),
        frozenset({JobState.PAUSED}),
    ),
    "resume": (
        transitions.request_resume,
        frozenset({JobEvent.RESUME, JobEvent.RESUME_UNSTARTED}),
        frozenset({JobState.QUEUED, JobState.RUNNING}),
    ),
    "cancel": (
        transitions.request_cancel,
        frozenset({JobEvent.REQUEST_CANCEL}),
        frozenset({JobState.CANCELLING}),
    ),
}
"""What clients ask for, which events may follow, and in which states asking changes nothing."""


def remove_everything(tx: Transaction) -> None:
    for table in reversed(metadata.sorted_tables):
        tx.execute(sa.delete(table))


LIMITS = st.builds(
    Limits,
    max_concurrent=st.integers(1, 4),
    rate_limit_delay_s=st.sampled_from([0.0, 0.0, 0.1, 0.25]),
)


FIELDS = st.fixed_dictionaries(
    {
        "limits": LIMITS,
        "priority": st.integers(-1, 1),
        "expires_in_s": st.sampled_from([None, None, 0.5, 2 * LEASE_S]),
        "max_failures": st.sampled_from([None, *map(FailureLimit, ("0", "1", "40%"))]),
    }
)


class QueueMachine(RuleBasedStateMachine):
    """The rules; a subclass names the database and the clock."""

    database: ClassVar[Database]
    clock: ClassVar[FakeClock]
    happened: ClassVar[Counter[str]]
    """What has really happened, over all examples: a rule that never bites proves nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.database.write_now(remove_everything)
        key = self.database.write_now(register_host, HOST_URL)
        self.share = HostShare(key=key, url=HOST_URL, slots=SLOTS)
        self.held: dict[str, list[Lease]] = {worker: [] for worker in WORKERS}
        self.strays: list[Lease] = []
        """Leases that nobody counts on any more: of the dead, and those already completed."""
        self.ids: dict[int, str] = {}
        self.submitted = 0
        self.before = Picture()
        self.may_happen: frozenset[TaskEvent | JobEvent] = frozenset()
        """What the latest rule may do; a change of any other kind is a fault."""
        self.starts: dict[int, dict[int, int]] = {}
        """Of each job the moments until which starts may come, by the tokens that permit them."""
        self.texts: dict[int, str | None] = {}
        """What the answer to each finished prompt must say."""
        self.to_cancel: Sequence[int] = ()
        self.to_expire: Sequence[int] = ()
        """Batches to sweep, as somebody has read them at some time."""

    # --- what clients do -------------------------------------------------------------------

    @initialize(fields=FIELDS)
    def there_is_a_batch(self, fields: dict[str, Any]) -> None:
        self._submit(prompts=5, **fields)

    @precondition(lambda self: len(self.ids) < MOST_BATCHES)
    @rule(prompts=st.integers(1, 5), fields=FIELDS)
    def submit(self, prompts: int, fields: dict[str, Any]) -> None:
        self._submit(prompts=prompts, **fields)

    def _submit(self, *, prompts: int, **fields: Any) -> None:
        self.may_happen = frozenset()
        self.submitted += 1
        texts = [PromptDraft(f"{self.submitted}.{index}") for index in range(prompts)]
        draft = BatchDraft(prompts=texts, model="tiny", **fields)
        batch_id = f"batch_{self.submitted:04}"
        self.database.write_now(jobs.insert, draft, batch_id=batch_id)
        self.ids[self.database.read_now(jobs.get, batch_id).key] = batch_id

    @rule(data=st.data(), what=st.sampled_from(["pause", "resume", "cancel"]))
    def ask(self, data: st.DataObject, what: str) -> None:
        request, events, idle = _REQUESTS[what]
        self._ask(data, request, events, idle=idle)

    def _ask(
        self,
        data: st.DataObject,
        request: Callable[[Transaction, str], None],
        events: frozenset[JobEvent],
        *,
        idle: frozenset[JobState],
    ) -> None:
        """Ask something of one batch; in the states `idle` asking changes nothing."""
        may = {
            key
            for key, row in self.before.jobs.items()
            if any(row.state in JOB_TRANSITIONS[event] for event in events)
        }
        # One that can be asked if there is one; else another, which is to be refused.
        key = data.draw(st.sampled_from(sorted(may or self.ids)))
        state, possible = self.before.jobs[key].state, bool(may)
        self.may_happen = events
        try:
            self.database.write_now(request, self.ids[key])
        except Conflict:
            assert not possible
            assert state not in idle
        else:
            assert possible or state in idle
            now = self.database.read_now(jobs.get, self.ids[key]).state
            assert now is state if state in idle else now is not state
            self._did(request.__name__, int(possible))

    @rule(data=st.data(), limits=LIMITS, priority=st.integers(-1, 1))
    def change(self, data: st.DataObject, limits: Limits, priority: int) -> None:
        self.may_happen = frozenset()
        changes = BatchChanges(
            max_concurrent=limits.max_concurrent,
            rate_limit_delay_s=limits.rate_limit_delay_s,
            priority=priority,
        )
        batch_id = self.ids[data.draw(self._batch())]
        self.database.write_now(transitions.update, batch_id, changes)
        self._did("change")

    @precondition(lambda self: self.before.task_states & task_sources(TaskEvent.RUN_AGAIN))
    @rule(data=st.data(), chosen_only=st.booleans())
    def run_again(self, data: st.DataObject, chosen_only: bool) -> None:
        sources = task_sources(TaskEvent.RUN_AGAIN)
        ended = [one for one in self.before.tasks.values() if one.state in sources]
        key = data.draw(st.sampled_from(sorted({one.job_key for one in ended})))
        mine = [index_of(one.id) for one in ended if one.job_key == key]
        chosen = data.draw(st.lists(st.sampled_from(mine), min_size=1)) if chosen_only else None
        self.may_happen = RUNS_AGAIN
        try:
            again = self.database.write_now(_run_again, self.ids[key], chosen)
        except Conflict:
            assert self.before.jobs[key].state is JobState.CANCELLING
            return
        assert again == len(set(mine if chosen is None else chosen))
        self._did("run_again", again)

    @precondition(lambda self: self.before.job_states & TERMINAL_JOB_STATES)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self.may_happen = frozenset()
        key = data.draw(self._batch())
        ended = self.before.jobs[key].state in TERMINAL_JOB_STATES
        try:
            self.database.write_now(jobs.BATCHES.mark_deleted, self.ids[key])
        except Conflict:
            assert not ended
            return
        assert ended
        while self.database.write_now(jobs.purge_some, limit=2):
            pass
        self._forget(key)
        self._did("delete")

    # --- what workers do -------------------------------------------------------------------

    @rule(worker=st.sampled_from(WORKERS), wanted=st.integers(1, 6))
    def claim(self, worker: str, wanted: int) -> None:
        self.held[worker] += self._claim(worker, wanted)

    @precondition(lambda self: TaskState.PENDING in self.before.task_states)
    @rule(wanted=st.integers(1, 4), data=st.data())
    def claim_and_finish(self, wanted: int, data: st.DataObject) -> None:
        if leases := self._claim("ann", wanted):
            self.held["ann"] += leases
            self.what_must_hold()
            self._finish_some(data)

    @precondition(lambda self: TaskState.PENDING in self.before.task_states)
    @rule(wanted=st.integers(1, 3), sleeps=st.booleans())
    def claim_and_die(self, wanted: int, sleeps: bool) -> None:
        """Of one who goes at once, and comes back late or never."""
        self.strays += self._claim("zoe", wanted)
        if sleeps:
            self.clock.forward(LEASE_S + 0.001)

    def _claim(self, worker: str, wanted: int) -> Sequence[Lease]:
        self.may_happen = frozenset({TaskEvent.CLAIM, JobEvent.START})
        leases = self.database.write_now(
            claims.claim,
            wanted=wanted,
            owner=worker,
            lease_ms=round(LEASE_S * 1000),
            share=self.share,
            start_window_s=START_WINDOWS_S[worker],
        )
        assert len(leases) <= wanted
        assert not any(one.is_paced for one in leases[:-1]), "a paced start ends its claim"
        for lease in leases:
            self._may_start(lease, START_WINDOWS_S[worker])
        self._did("claim", len(leases))
        return leases

    def _may_start(self, lease: Lease, window_s: float) -> None:
        row = self.before.jobs[lease.job_key]
        now = self.clock.now_ms
        assert lease.claimed_at_ms == now
        assert self.before.tasks[lease.task_id].available_at_ms <= now
        assert row.expires_at_ms is None or row.expires_at_ms > now
        assert row.next_start_at_ms <= now
        # From start to start, whatever the row says: the delay in force now has passed.
        delay_ms = row.rate_limit_delay_s * 1000
        starts = self.starts.setdefault(lease.job_key, {})
        assert now - max(starts.values(), default=0) >= delay_ms
        if delay_ms:
            self._did("paced")
        # The latest moment at which it may begin, but for the tolerance.
        late_s = max(window_s - START_TOLERANCE_S, 0) if lease.is_paced else 0
        starts[lease.token] = now + round(late_s * 1000)

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def renew(self, data: st.DataObject) -> None:
        self._renew(data.draw(self._busy_worker()))

    def _renew(self, worker: str) -> None:
        mine = self.held[worker]
        self.may_happen = frozenset()
        held = self.database.write_now(
            completions.renew,
            owner=worker,
            task_ids=[lease.task_id for lease in mine],
            lease_ms=round(LEASE_S * 1000),
        )
        still = [lease for lease in mine if self.before.holds(lease)]
        assert {(lease.task_id, lease.token) for lease in still} <= held
        lost = [lease for lease in mine if (lease.task_id, lease.token) not in held]
        assert not any(self.before.holds(lease) for lease in lost)
        self.held[worker] = still
        self.strays += [lease for lease in mine if lease not in still]
        self._did("lease_lost", len(lost))

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def some_calls_end(self, data: st.DataObject) -> None:
        self._finish_some(data)

    def _finish_some(self, data: st.DataObject) -> None:
        worker = data.draw(self._busy_worker())
        chosen = data.draw(some_of(self.held[worker]))
        self.held[worker] = [one for one in self.held[worker] if one not in chosen]
        self._complete(data, chosen)

    @precondition(lambda self: self.strays)
    @rule(data=st.data())
    def come_back_late(self, data: st.DataObject) -> None:
        """Of a worker that was thought dead, or a completion that is sent again.

        It may meanwhile hold new leases of the same prompts, and send both at once.
        """
        late = data.draw(some_of(self.strays[-8:]))
        prompts = {lease.task_id for lease in late}
        for worker, leases in self.held.items():
            late += [lease for lease in leases if lease.task_id in prompts]
            self.held[worker] = [lease for lease in leases if lease.task_id not in prompts]
        self._complete(data, data.draw(st.permutations(late)))

    @precondition(lambda self: any(self.held.values()))
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        worker = data.draw(self._busy_worker())
        self.strays += self.held[worker]
        self.held[worker] = []
        self.may_happen = frozenset()

    def _complete(self, data: st.DataObject, leases: Sequence[Lease]) -> None:
        sent = [completion(lease, *data.draw(ENDINGS)) for lease in leases]
        good = [one for one in sent if self.before.holds(one.lease)]
        finished = [one for one in good if isinstance(one.decision, Finish)]
        self.may_happen = _RECORDS
        recorded = self.database.write_now(completions.complete, sent)
        assert recorded.fenced == len(sent) - len(good)
        assert recorded.finished == len(finished)
        self.texts |= {one.lease.task_id: one.outcome.response for one in finished}
        self.strays += leases
        for one in good:
            if isinstance(one.decision, TryAgain) and one.decision.unused and one.lease.is_paced:
                del self.starts[one.lease.job_key][one.lease.token]
                self._did("unused")
        self._did("fenced", recorded.fenced)
        self._did("finished", recorded.finished)
        self._did("stopped", int(recorded.job_stopped))

    # --- what time and the background roles do ---------------------------------------------

    @rule(seconds=st.sampled_from([0.001, 0.1, 0.101, 0.25, 0.251, 1.0, LEASE_S / 2]))
    def clock_forward(self, seconds: float) -> None:
        self.clock.forward(seconds)
        self.may_happen = frozenset()

    @precondition(lambda self: TaskState.RUNNING in self.before.task_states)
    @rule(beyond_ms=st.integers(0, 1), data=st.data())
    def a_lease_runs_out(self, beyond_ms: int, data: st.DataObject) -> None:
        """It is good to its very last millisecond, and may be lost in the next."""
        running = [one for one in self.before.tasks.values() if one.state is TaskState.RUNNING]
        end = data.draw(st.sampled_from(sorted({one.lease_until_ms for one in running})))
        self.clock.now_ms = max(self.clock.now_ms, end + beyond_ms)
        self._rescue(limit=10)
        for worker in WORKERS:
            if self.held[worker]:
                self.what_must_hold()
                self._renew(worker)

    @precondition(lambda self: TaskState.RUNNING in self.before.task_states)
    @rule(limit=st.integers(1, 3), all_running=st.booleans())
    def rescue(self, limit: int, all_running: bool) -> None:
        """`all_running`: as at the start of a database's only worker."""
        self._rescue(limit=limit, all_running=all_running)

    def _rescue(self, *, limit: int, all_running: bool = False) -> None:
        self.may_happen = frozenset({TaskEvent.RESCUE, TaskEvent.FAIL, JobEvent.STOP})
        lost = [
            one
            for one in self.before.tasks.values()
            if one.state is TaskState.RUNNING
            and (all_running or one.lease_until_ms < self.clock.now_ms)
        ]
        found = self.database.write_now(completions.rescue, limit=limit, all_running=all_running)
        assert found == min(len(lost), limit)
        self._did("rescue", found)

    @rule()
    def list_what_is_to_end(self) -> None:
        self.may_happen = frozenset()
        early = self.database.read_now(transitions.ending_early)
        self.to_cancel = [one.job_key for one in early]
        self.to_expire = self.database.read_now(transitions.out_of_time)

    @rule(limit=st.integers(1, 10), anew=st.booleans())
    def end_what_is_to_end(self, limit: int, anew: bool) -> None:
        """As the closer does it, with `limit` prompts of a job at a time.

        Its list may be old: meanwhile a client has run the batch again, or deleted it.
        """
        if anew:
            self.list_what_is_to_end()
        self.may_happen = frozenset({TaskEvent.CANCEL})
        for key in self.to_cancel:
            done = self.database.write_now(bulk.cancel_pending, key, limit=limit)
            row = self.before.jobs.get(key)
            is_to_end = row is not None and row.state is JobState.CANCELLING
            self._swept("cancelled", key, done, limit, is_to_end=is_to_end)
        self.what_must_hold()
        self.may_happen = frozenset({TaskEvent.EXPIRE})
        for key in self.to_expire:
            done = self.database.write_now(bulk.expire_pending, key, limit=limit)
            row = self.before.jobs.get(key)
            is_to_end = (
                row is not None
                and row.state not in {JobState.CANCELLING, *TERMINAL_JOB_STATES}
                and row.expires_at_ms is not None
                and row.expires_at_ms <= self.clock.now_ms
            )
            self._swept("expired", key, done, limit, is_to_end=is_to_end)
        self.what_must_hold()
        self.may_happen = _ENDS
        self._did("close", len(self.database.write_now(transitions.close_ended)))

    def _swept(self, what: str, key: int, done: int, limit: int, *, is_to_end: bool) -> None:
        pending = self.before.number[key, TaskState.PENDING]
        assert done == (min(pending, limit) if is_to_end else 0)
        self._did(what, done)
        self._did("old_list", int(pending > 0 and not is_to_end))

    @rule(seconds=st.sampled_from([0.05, 1.0, DAY_S]))
    def clock_back(self, seconds: float) -> None:
        """As when a machine hears the time that it should have had all along."""
        self.clock.forward(-seconds)
        self.may_happen = frozenset()
        # Told by the clock that it is now, so that distances are those that have truly passed.
        self.starts = {
            key: {token: at - round(seconds * 1000) for token, at in starts.items()}
            for key, starts in self.starts.items()
        }
        self._did("clock_back")

    @rule()
    def bring_near(self) -> None:
        """As the rescuer does it at each pass."""
        self.may_happen = frozenset()
        self.database.write_now(_bring_near)

    def teardown(self) -> None:
        """Left alone with one healthy worker, every batch comes to its end, with all results."""
        last = []
        for _ in range(200):
            self.clock.forward(LEASE_S + 1)
            last = self.database.write_now(_one_round, self.ids.values(), self.share)
            if not last:
                break
        assert not last, f"batches that never end: {last}"
        end = self.database.read_now(take_picture)
        assert set(end.results) == set(end.tasks)

    # --- what must hold --------------------------------------------------------------------

    @invariant()
    def what_must_hold(self) -> None:
        now = self.database.read_now(take_picture)
        given = [*self.strays, *(one for held in self.held.values() for one in held)]
        states_changed_only_along_the_tables(self.before, now, self.may_happen)
        limits_hold(self.before, now, slots=SLOTS)
        leases_are_whole_or_absent(now, given)
        results_are_of_finished_tasks_one_each(self.before, now, self.texts)
        counts_are_the_rows(now, set(self.ids))
        results_are_numbered_as_they_come(self.before, now)
        self.before = now

    # --- its own bookkeeping ---------------------------------------------------------------

    def _batch(self) -> st.SearchStrategy[int]:
        return st.sampled_from(sorted(self.ids))

    def _busy_worker(self) -> st.SearchStrategy[str]:
        return st.sampled_from([worker for worker in WORKERS if self.held[worker]])

    def _forget(self, key: int) -> None:
        """Of a batch that is gone; SQLite may give its key to the next, and calls still come back."""
        del self.ids[key]
        for worker, leases in self.held.items():
            self.strays += [one for one in leases if one.job_key == key]
            self.held[worker] = [one for one in leases if one.job_key != key]
        self.starts.pop(key, None)
        kept = {
            name: {one: row for one, row in rows.items() if job_of(one) != key}
            for name, rows, job_of in (
                ("jobs", self.before.jobs, int),
                ("tasks", self.before.tasks, job_key_of),
                ("results", self.before.results, job_key_of),
            )
        }
        self.before = Picture(**kept)
        if not self.ids:
            self._submit(prompts=3)

    def _did(self, what: str, times: int = 1) -> None:
        self.happened[what] += times


def _run_again(tx: Transaction, batch_id: str, chosen: Sequence[int] | None) -> int:
    """As the service does it: reopen the batch, and put prompts back in the same transaction."""
    key = transitions.reopen(tx, batch_id, expires_in_s=None)
    if chosen is None:
        return bulk.run_again(tx, key).prompts
    return bulk.run_chosen_again(tx, key, chosen)


def _one_round(tx: Transaction, ids: Sequence[str], share: HostShare) -> list[str]:
    """Everything that the roles of a worker do, once; the batches that have not ended."""
    for batch_id in ids:
        if jobs.BATCHES.state_of(tx, batch_id) is JobState.PAUSED:
            transitions.request_resume(tx, batch_id)
    for early in transitions.ending_early(tx):
        bulk.cancel_pending(tx, early.job_key)
    for key in transitions.out_of_time(tx):
        bulk.expire_pending(tx, key)
    _bring_near(tx)
    completions.rescue(tx)
    leases = claims.claim(tx, wanted=100, owner="last", lease_ms=30_000, share=share)
    if leases:
        completions.complete(tx, [completion(lease, None, Finish()) for lease in leases])
    transitions.close_ended(tx)
    return [each for each in ids if jobs.BATCHES.state_of(tx, each) not in TERMINAL_JOB_STATES]


def _bring_near(tx: Transaction) -> None:
    longest_ms = round(LONGEST_WAIT_S * 1000)
    clocks.bring_near(
        tx,
        longest_wait_ms=longest_ms,
        longest_limit_ms=longest_ms,
        lease_ms=round(LEASE_S * 1000),
    )


def some_of(leases: Sequence[Lease]) -> st.SearchStrategy[list[Lease]]:
    """One lease or more, each once; two of the same prompt may be among them."""
    return st.lists(
        st.sampled_from(list(leases)),
        min_size=1,
        max_size=4,
        unique_by=lambda lease: lease.token ^ lease.task_id,
    )


_BROKE = Failed(code=ErrorCode.SERVER_ERROR, message="it broke", blame=Blame.ATTEMPT)
_LATE = Failed(code=ErrorCode.TIMEOUT, message="too late", blame=Blame.ATTEMPT)
_DOWN = Failed(code=ErrorCode.HOST_UNREACHABLE, message="refused", blame=Blame.HOST)
_LIMITED = Failed(code=ErrorCode.SERVER_BUSY, message="429", blame=Blame.LIMIT, retry_after_s=0.5)
_ABORTED = Failed(code=ErrorCode.CANCELLED, message="cancelled", blame=Blame.PROMPT)
ENDINGS: st.SearchStrategy[tuple[Outcome | None, Decision]] = st.sampled_from(
    [
        (None, Finish()),
        (None, Finish()),
        (_BROKE, Finish()),
        (_ABORTED, Finish()),
        (_LATE, Finish()),
        (_LATE, TryAgain(wait_s=0.0, charged=True)),
        (_BROKE, TryAgain(wait_s=0.0, charged=False)),
        (_BROKE, TryAgain(wait_s=0.5, charged=True)),
        (_DOWN, TryAgain(wait_s=0.0, charged=False, turned_away=True)),
        (_LIMITED, TryAgain(0.5, charged=False, turned_away=True, waits_with_model=True)),
        (_ABORTED, TryAgain(wait_s=0.0, charged=False, keeps_place=True)),
        (_ABORTED, TryAgain(wait_s=0.0, charged=False, keeps_place=True, unused=True)),
    ]
)
"""How an attempt can end; None stands for the answer that belongs to the prompt."""


def completion(lease: Lease, outcome: Outcome | None, decision: Decision) -> Completion:
    right = Succeeded(response=f"answer to {lease.call.prompt}", metrics=CallMetrics(eval_count=3))
    return Completion(
        lease=lease,
        outcome=outcome or right,
        decision=decision,
        host_url=HOST_URL,
        started_at_ms=lease.claimed_at_ms,
        finished_at_ms=lease.claimed_at_ms + 5,
    )

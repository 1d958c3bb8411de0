"""What the tables of the queue look like, and what must be true of them after every step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from promptmill.domain.batches import Batch
from promptmill.domain.lifecycle import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    TERMINAL_JOB_STATES,
    TERMINAL_TASK_STATES,
    JobEvent,
    JobState,
    TaskEvent,
    TaskState,
)
from promptmill.store.batches import jobs
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import (
    index_of,
    job,
    job_key_of,
    job_stats,
    prompt,
    result,
    task,
)
from promptmill.store.queue.leases import Lease

RUNS_AGAIN = frozenset({TaskEvent.RUN_AGAIN, JobEvent.RETRY, JobEvent.RETRY_UNSTARTED})
"""The only events that lead out of an end."""


@dataclass(frozen=True)
class Picture:
    """Every row that matters, read in one go; nobody writes meanwhile."""

    jobs: dict[int, Any] = field(default_factory=dict)
    tasks: dict[int, Any] = field(default_factory=dict)
    results: dict[int, Any] = field(default_factory=dict)
    told: dict[int, Batch] = field(default_factory=dict)
    """The batches as clients are told of them."""
    prompts: int = 0

    @cached_property
    def number(self) -> Counter[tuple[int, TaskState]]:
        """How many tasks of each job are in each state."""
        return Counter((one.job_key, one.state) for one in self.tasks.values())

    @cached_property
    def task_states(self) -> set[TaskState]:
        return {one.state for one in self.tasks.values()}

    @cached_property
    def job_states(self) -> set[JobState]:
        return {one.state for one in self.jobs.values()}

    def holds(self, lease: Lease) -> bool:
        """Whether the lease is still good: its task runs under its very token."""
        row = self.tasks.get(lease.task_id)
        return row is not None and (row.state, row.lease_token) == (TaskState.RUNNING, lease.token)


_JOBS = sa.select(job, job_stats).join(job_stats, job_stats.c.job_key == job.c.key)
_TASKS = sa.select(task)
_RESULTS = sa.select(result)
_PROMPTS = sa.select(sa.func.count()).select_from(prompt)


def take_picture(tx: Transaction) -> Picture:
    return Picture(
        jobs={row.key: row for row in tx.execute(_JOBS)},
        tasks={row.id: row for row in tx.execute(_TASKS)},
        results={row.id: row for row in tx.execute(_RESULTS)},
        told={batch.key: batch for batch in jobs.page(tx, limit=1000)},
        prompts=tx.execute(_PROMPTS).scalar_one(),
    )


def states_changed_only_along_the_tables(
    before: Picture, now: Picture, may_happen: frozenset[TaskEvent | JobEvent]
) -> None:
    """`may_happen` are the events that the latest step may bring about."""
    for table, kind, old, new in (
        (TASK_TRANSITIONS, TaskEvent, before.tasks, now.tasks),
        (JOB_TRANSITIONS, JobEvent, before.jobs, now.jobs),
    ):
        may = {
            change
            for event in may_happen
            if isinstance(event, kind)
            for change in table[event].items()
        }
        for key in new.keys() & old.keys():
            change = (old[key].state, new[key].state)
            assert change[0] is change[1] or change in may, (key, change)
            if change[0] in TERMINAL_TASK_STATES | TERMINAL_JOB_STATES:
                assert change[0] is change[1] or may_happen == RUNS_AGAIN


def limits_hold(before: Picture, now: Picture, *, slots: int) -> None:
    for key, row in now.jobs.items():
        running = now.number[key, TaskState.RUNNING]
        # A limit that was lowered takes nothing away from those that run; it lets none start.
        if running > before.number[key, TaskState.RUNNING]:
            assert running <= row.max_concurrent
        known = before.jobs[key].failed if key in before.jobs else 0
        # A client may run prompts again although others of the batch stay failed.
        if row.most_failed is not None and row.failed > max(row.most_failed, known):
            assert row.state in {JobState.CANCELLING, *TERMINAL_JOB_STATES}
    assert sum(one.state is TaskState.RUNNING for one in now.tasks.values()) <= slots


def leases_are_whole_or_absent(now: Picture, given: Sequence[Lease]) -> None:
    """`given` are all leases that claims ever brought."""
    tokens = {(one.task_id, one.token) for one in given}
    for key, row in now.tasks.items():
        parts = (row.lease_owner, row.lease_until_ms, row.host_key)
        if row.state is TaskState.RUNNING:
            assert None not in parts
            assert (key, row.lease_token) in tokens
        else:
            assert parts == (None, None, None)
            # A finished task keeps the token that finished it.
            assert row.lease_token is None or row.state in TERMINAL_TASK_STATES


def results_are_of_finished_tasks_one_each(
    before: Picture, now: Picture, texts: Mapping[int, str | None]
) -> None:
    """`texts` are the answers that were sent for prompts and not fenced off."""
    finished = {
        key: row.state for key, row in now.tasks.items() if row.state in TERMINAL_TASK_STATES
    }
    assert {key: row.status for key, row in now.results.items()} == finished
    for key, row in now.results.items():
        assert row.status is not TaskState.SUCCEEDED or row.response == texts[key]
        assert row == before.results.get(key, row)


def counts_are_the_rows(now: Picture, job_keys: set[int]) -> None:
    assert set(now.told) == job_keys
    assert now.prompts == len(now.tasks)
    for key, batch in now.told.items():
        counts = batch.counts
        told = {state: getattr(counts, state.value) for state in TaskState}
        assert told == {state: now.number[key, state] for state in TaskState}
        assert sum(told.values()) == counts.total
        if batch.state in TERMINAL_JOB_STATES:
            assert counts.finished == counts.total


def results_are_numbered_as_they_come(before: Picture, now: Picture) -> None:
    fresh = [row for key, row in now.results.items() if key not in before.results]
    for row in fresh:
        key = job_key_of(row.id)
        known = before.jobs[key].last_event if key in before.jobs else 0
        assert job_key_of(row.event_id) == key
        assert known < index_of(row.event_id) <= now.jobs[key].last_event
    assert len({row.event_id for row in now.results.values()}) == len(now.results)

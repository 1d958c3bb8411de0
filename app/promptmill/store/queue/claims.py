"""The claim: leases of prompts that may start now, within the limits of job and host.

    claim            pending -> running     under a lease

The rules to know:
- The claim is the permit to start. Limits are counted under the host's lock and the job's, and what
  they allow is taken in the same transaction.
- A slot that the same transaction has freed may be filled again without the host's lock: whoever
  counts meanwhile sees the prompt that ended or the one that began, and never fewer than run. So
  workers at a full host do not wait for each other; only who wants more of its slots locks it.
- A claim waits for nobody: rows of jobs, hosts and tasks that another transaction has locked are
  passed over (SKIP LOCKED). So it may claim at several hosts, one after another.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from promptmill.domain.lifecycle import JobEvent, TaskEvent, job_target, task_target
from promptmill.domain.limits import START_TOLERANCE_S, next_start_at_ms, startable
from promptmill.domain.outcomes import ErrorCode
from promptmill.store.db.compiled import Prepared, ids_in, json_value
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import IS_CALL, PENDING, RUNNING
from promptmill.store.db.tables.batches import host, job, model_group, prompt, task
from promptmill.store.hosts.exclusivity import running_at
from promptmill.store.queue.candidates import (
    NEVER_MS,
    RANK_ELSEWHERE,
    Candidate,
    Candidates,
    Moment,
    due_tasks,
    runs_group,
)
from promptmill.store.queue.leases import Affinity, HostShare, Lease
from promptmill.store.queue.prompt_calls import call_of
from promptmill.store.queue.shared_calls import SharedCalls

_JOBS_PER_CLAIM = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Terms of a claim: owner of the leases, host, and length."""

    owner: str
    lease_ms: int
    share: HostShare
    start_window_s: float = START_TOLERANCE_S
    texts_per_call: int = 1


def claim(
    tx: Transaction,
    *,
    wanted: int,
    owner: str,
    lease_ms: int,
    share: HostShare,
    start_window_s: float = START_TOLERANCE_S,
    aging_ms: int = NEVER_MS,
    affinity: Affinity | None = None,
    room: Room | None = None,
    texts_per_call: int = 1,
) -> Sequence[Lease]:
    """Leases for up to `wanted` calls that may start at this moment.

    A call is about one prompt; of a batch of texts to embed about up to `texts_per_call`, the first
    of which takes the slot (see `store.queue.shared_calls`).

    The claim is the start permit: limits are counted under the job's lock, and the earliest moment
    of the job's next start is written in the same transaction. With a delay between starts the
    permit is good for `start_window_s`, else as long as the lease; who comes later gives it back.
    A paced start is the last of its claim, so that only the commit is between it and the call:
    there may be more to claim at once.

    Jobs take turns: the highest priority first, among equals the one that waited longest. Each
    `aging_ms` that a job has waited raises its priority by one, so that a low one is not starved by
    a stream of higher ones. With an `affinity` equals are ordered by it first.

    `room` is what `room_at` has returned in this transaction since its last claim at the host; it
    is asked for here if it is None.
    """
    wanted = (room or room_at(tx, share, wanted=wanted)).number
    terms = Terms(
        owner=owner,
        lease_ms=lease_ms,
        share=share,
        start_window_s=start_window_s,
        texts_per_call=texts_per_call,
    )
    leases: list[Lease] = []
    candidates = Candidates(tx, aging_ms, share, affinity)
    for _ in range(_JOBS_PER_CLAIM if wanted > 0 else 0):
        candidate = candidates.lock_next()
        if candidate is None or (affinity and affinity.leave and candidate.rank == RANK_ELSEWHERE):
            break
        most = _count_startable(tx, candidate, wanted=wanted - len(leases))
        leases += _take(tx, candidate, candidates.moment, most, terms) if most else []
        # A paced start waits only for the commit.
        if len(leases) >= wanted or (leases[-1:] and leases[-1].is_paced):
            break
    return leases


_LOCK_HOST = (
    sa.select(host.c.key)
    .where(host.c.key == sa.bindparam("host_key"))
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, slots=True)
class Room:
    """The prompts that a transaction may claim at a host."""

    number: int
    passed_over: bool = False
    """Whether the host has further free slots, at which another transaction is claiming."""


def room_at(tx: Transaction, share: HostShare, *, wanted: int, freed: int = 0) -> Room:
    """Number of the `wanted` prompts for which the host has slots; the transaction holds them.

    `freed` is how many prompts at the host this transaction has completed, less what it has claimed
    there since. While another transaction has the host's row, there is room for no more than these.
    """
    if share.slots is None:
        return Room(wanted)
    free = share.slots - running_at(tx, share.key)
    own = max(min(freed, free), 0)
    if min(wanted, free) <= own:
        return Room(min(wanted, own))
    if not tx.execute(_LOCK_HOST, {"host_key": share.key}).first():
        return Room(own, passed_over=True)
    # Counted again under the lock: slots may have been filled between the count and the lock.
    free = share.slots - running_at(tx, share.key)
    return Room(max(min(wanted, free), 0))


_COUNT_RUNNING = Prepared(
    sa.select(sa.func.count())
    .select_from(task)
    .where(task.c.job_key == sa.bindparam("job_key"), RUNNING, IS_CALL)
)


def _count_startable(tx: Transaction, candidate: Candidate, *, wanted: int) -> int:
    """Number of calls of the locked job that may start."""
    running = candidate.running
    if not tx.is_sqlite:
        # Counted again in a statement of its own, after the lock, so that it sees what others
        # committed meanwhile. SQLite's writer has been alone since its transaction began.
        running = _COUNT_RUNNING.run(tx, {"job_key": candidate.key}).scalar_one()
    return startable(wanted=wanted, running=running, limits=candidate.limits)


def _taking(due: sa.ColumnElement[bool], host_key: sa.ColumnElement[int | None]) -> Prepared:
    return Prepared(
        sa.update(task)
        .where(due, PENDING)
        .values(
            state=sa.literal(task_target(TaskEvent.CLAIM), task.c.state.type),
            attempt=task.c.attempt + 1,
            lease_token=sa.bindparam("token"),
            lease_owner=sa.bindparam("owner"),
            lease_until_ms=sa.bindparam("until"),
            host_key=host_key,
        )
        .returning(
            task.c.id,
            task.c.attempt,
            task.c.losses,
            task.c.turned_away,
            task.c.available_at_ms,
        )
    )


def _taking_due(*conditions: sa.ColumnElement[bool]) -> Prepared:
    # The LIMIT must sit in a CTE: in a sub-select PostgreSQL may evaluate it again for every row
    # and take more than it says.
    due = due_tasks(*conditions).cte("due")
    return _taking(task.c.id.in_(sa.select(due.c.id)), sa.bindparam("at_host"))


_TAKE = {False: _taking_due(), True: _taking_due(runs_group(sa.bindparam("claimed_load")))}
_TAKE_TEXTS = _taking(
    ids_in(task.c.id, "ids"),
    sa.case((ids_in(task.c.id, "first_ids"), sa.bindparam("at_host", type_=sa.BigInteger))),
)
_PROMPTS = Prepared(
    sa.select(prompt.c.id, prompt.c.text, prompt.c.overrides).where(ids_in(prompt.c.id, "ids"))
)
_MARK_STARTED = Prepared(
    sa.update(job)
    .where(job.c.key == sa.bindparam("job_key"))
    .values(
        next_start_at_ms=sa.bindparam("next_start"),
        last_claimed_at_ms=sa.bindparam("now"),
        last_permit=sa.bindparam("token"),
        started_at_ms=sa.func.coalesce(job.c.started_at_ms, sa.bindparam("now")),
        state=sa.literal(job_target(JobEvent.START), job.c.state.type),
    )
)


def _take(
    tx: Transaction, candidate: Candidate, moment: Moment, most: int, terms: Terms
) -> list[Lease]:
    """Take up to `most` calls of the locked job, and write the earliest moment of its next start.

    `moment` is when the job was looked for.
    """
    token = secrets.randbits(63)
    values: dict[str, Any] = {
        "claimed_job": candidate.key,
        "claimed_group": candidate.group_key,
        "claimed_load": candidate.load_key,
        "now": moment.now_ms,
        "most": most,
        "token": token,
        "owner": terms.owner,
        "until": moment.now_ms + terms.lease_ms,
        "at_host": terms.share.key,
    }
    shared = None
    if candidate.embeds:
        shared = SharedCalls.due(
            tx, values, grouped=terms.share.grouped, texts_per_call=terms.texts_per_call
        )
        taken = _TAKE_TEXTS.run(tx, values | shared.ids()).all() if shared else ()
    else:
        taken = _TAKE[terms.share.grouped].run(tx, values).all()
    if not taken:
        return []
    prompts = _PROMPTS.run(tx, {"ids": [row.id for row in taken]}).all()
    if candidate.is_of_prefix_group:
        _note_run(tx, candidate, terms.share, moment.now_ms)
    if candidate.limits.is_paced:
        # The permit counts from here, after the locks: waiting for one must not shorten the
        # distance to the next start, and only the commit may still make the start late.
        moment = Moment.read(tx)
    _permit(tx, candidate, moment, token, terms)
    leases = _leases(candidate, taken, prompts, moment, token, terms)
    return leases if shared is None else shared.joined(leases)


def _permit(
    tx: Transaction, candidate: Candidate, moment: Moment, token: int, terms: Terms
) -> None:
    now = next_start = moment.now_ms
    if candidate.limits.is_paced:
        # A clock of whole milliseconds may be one behind, hence the 1.
        next_start = next_start_at_ms(now + 1, candidate.limits, window_s=terms.start_window_s)
    _MARK_STARTED.run(
        tx, {"job_key": candidate.key, "next_start": next_start, "now": now, "token": token}
    )


def _leases(
    candidate: Candidate,
    taken: Sequence[sa.Row[Any]],
    prompts: Sequence[sa.Row[Any]],
    moment: Moment,
    token: int,
    terms: Terms,
) -> list[Lease]:
    of_task = {row.id: row for row in taken}
    parameters, fail_on = json_value(candidate.parameters), json_value(candidate.fail_on)
    permit_s = terms.start_window_s if candidate.limits.is_paced else terms.lease_ms / 1000
    return [
        Lease(
            task_id=row.id,
            token=token,
            job_key=candidate.key,
            batch_id=candidate.batch_id,
            attempt=of_task[row.id].attempt,
            max_attempts=candidate.max_attempts,
            losses=of_task[row.id].losses,
            turned_away=of_task[row.id].turned_away,
            limits=candidate.limits,
            call=call_of(candidate, parameters, row.text, json_value(row.overrides)),
            host_key=terms.share.key,
            fail_on=None if fail_on is None else tuple(map(ErrorCode, fail_on)),
            accepted_at_ms=candidate.created_at_ms,
            claimed_at_ms=moment.now_ms,
            claimed_at=moment.after_s,
            start_by=moment.before_s + permit_s,
            available_at_ms=of_task[row.id].available_at_ms,
            group_key=candidate.group_key,
            load_key=candidate.load_key,
            begins_alike=candidate.is_of_prefix_group,
        )
        for row in sorted(prompts, key=lambda each: each.id)
    ]


_RUN_NOTED_APART_MS = 2_000
_NOTED = (
    sa.select(model_group.c.key)
    .where(model_group.c.key == sa.bindparam("alike"))
    .with_for_update(skip_locked=True)
    .cte("noted")
)
_NOTE_RUN = Prepared(
    sa.update(model_group)
    .where(model_group.c.key.in_(sa.select(_NOTED.c.key)))
    .values(last_host_key=sa.bindparam("at_host"), last_run_ms=sa.bindparam("now"))
)


def _note_run(tx: Transaction, candidate: Candidate, share: HostShare, now_ms: int) -> None:
    """Record which host has evaluated the beginning; of two hosts, the one that began.

    Not at every claim, and never waiting: it is a hint.
    """
    if candidate.last_host_key is not None:
        is_here = candidate.last_host_key == share.key
        apart_ms = _RUN_NOTED_APART_MS if is_here else 2 * _RUN_NOTED_APART_MS
        if now_ms - candidate.last_run_ms < apart_ms:
            return
    _NOTE_RUN.run(tx, {"alike": candidate.group_key, "at_host": share.key, "now": now_ms})

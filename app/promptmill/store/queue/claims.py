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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from promptmill.domain.batches import TEXTS, BatchKind
from promptmill.domain.calls import Call
from promptmill.domain.lifecycle import JobEvent, TaskEvent, job_target, task_target
from promptmill.domain.limits import START_TOLERANCE_S, Limits, next_start_at_ms, startable
from promptmill.domain.openai import MARK
from promptmill.domain.outcomes import ErrorCode
from promptmill.store.db.compiled import Prepared, ids_in, json_value
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import IS_CALL, PENDING, RUNNING
from promptmill.store.db.tables.batches import host, job, model_group, prompt, task
from promptmill.store.hosts.exclusivity import running_at
from promptmill.store.queue.candidates import (
    NEVER_MS,
    RANK_ELSEWHERE,
    Candidates,
    Moment,
    due_tasks,
    runs_group,
)
from promptmill.store.queue.leases import Affinity, HostShare, Lease
from promptmill.store.queue.shared_calls import SharedCalls

_JOBS_PER_CLAIM = 16


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
    leases: list[Lease] = []
    turns = Candidates(tx, aging_ms, share, affinity)
    for _ in range(_JOBS_PER_CLAIM if wanted > 0 else 0):
        row = turns.lock_next()
        if row is None or (affinity and affinity.leave and row.rank == RANK_ELSEWHERE):
            break
        leases += _claim_of_job(
            tx,
            row,
            turns.moment,
            wanted=wanted - len(leases),
            owner=owner,
            lease_ms=lease_ms,
            share=share,
            start_window_s=start_window_s,
            texts_per_call=texts_per_call,
        )
        # A paced start waits for nothing but the commit.
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
    """Whether there are more free slots, at which another transaction is claiming."""


def room_at(tx: Transaction, share: HostShare, *, wanted: int, freed: int = 0) -> Room:
    """How many of the `wanted` prompts the host has slots for; the slots are the transaction's.

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
    # Counted again under the lock: others may have filled slots between the count and the lock.
    free = share.slots - running_at(tx, share.key)
    return Room(max(min(wanted, free), 0))


_COUNT_RUNNING = Prepared(
    sa.select(sa.func.count())
    .select_from(task)
    .where(task.c.job_key == sa.bindparam("job_key"), RUNNING, IS_CALL)
)


def _take(due: sa.ColumnElement[bool], host_key: sa.ColumnElement[int | None]) -> Prepared:
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


def _take_due(*conditions: sa.ColumnElement[bool]) -> Prepared:
    # The LIMIT must sit in a CTE: in a sub-select PostgreSQL may evaluate it again for every row
    # and take more than it says.
    due = due_tasks(*conditions).cte("due")
    return _take(task.c.id.in_(sa.select(due.c.id)), sa.bindparam("at_host"))


_TAKE = {False: _take_due(), True: _take_due(runs_group(sa.bindparam("claimed_load")))}
_TAKE_TEXTS = _take(
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


def _claim_of_job(
    tx: Transaction,
    row: sa.Row[Any],
    moment: Moment,
    *,
    wanted: int,
    owner: str,
    lease_ms: int,
    share: HostShare,
    start_window_s: float = START_TOLERANCE_S,
    texts_per_call: int = 1,
) -> list[Lease]:
    limits = Limits(max_concurrent=row.max_concurrent, rate_limit_delay_s=row.rate_limit_delay_s)
    running = row.running
    if not tx.is_sqlite:
        # Counted again in a statement of its own, after the lock, so that it sees what others
        # committed meanwhile. SQLite's writer has been alone since its transaction began.
        running = _COUNT_RUNNING.run(tx, {"job_key": row.key}).scalar_one()
    most = startable(wanted=wanted, running=running, limits=limits)
    if most == 0:
        return []
    is_paced = limits.rate_limit_delay_s > 0
    token = secrets.randbits(63)
    values: dict[str, Any] = {
        "claimed_job": row.key,
        "claimed_group": row.group_key,
        "claimed_load": row.load_key,
        "now": moment.now_ms,
        "most": most,
        "token": token,
        "owner": owner,
        "until": moment.now_ms + lease_ms,
        "at_host": share.key,
    }
    shared: SharedCalls | None = None
    if row.kind == BatchKind.EMBED:
        shared = SharedCalls.due(tx, values, grouped=share.grouped, texts_per_call=texts_per_call)
        if not shared:
            return []
        taken = _TAKE_TEXTS.run(tx, values | shared.ids()).all()
    else:
        taken = _TAKE[share.grouped].run(tx, values).all()
    if not taken:
        return []
    was = {one.id: one for one in taken}
    prompts = _PROMPTS.run(tx, {"ids": list(was)}).all()
    begins_alike = row.group_key != row.load_key
    if begins_alike:
        _note_run(tx, row, share, moment.now_ms)
    if is_paced:
        # The permit counts from here, after the locks: waiting for one must not shorten the
        # distance to the next start, and only the commit may still make the start late.
        moment = Moment.read(tx)
    now = moment.now_ms
    _MARK_STARTED.run(
        tx,
        # A clock of whole milliseconds may be one behind, hence the 1.
        {
            "job_key": row.key,
            "next_start": (
                next_start_at_ms(now + 1, limits, window_s=start_window_s) if is_paced else now
            ),
            "now": now,
            "token": token,
        },
    )
    parameters, fail_on = json_value(row.parameters), json_value(row.fail_on)
    leases = [
        Lease(
            task_id=found.id,
            token=token,
            job_key=row.key,
            attempt=was[found.id].attempt,
            max_attempts=row.max_attempts,
            losses=was[found.id].losses,
            turned_away=was[found.id].turned_away,
            limits=limits,
            call=_call(row, parameters, found.text, json_value(found.overrides)),
            host_key=share.key,
            fail_on=None if fail_on is None else tuple(map(ErrorCode, fail_on)),
            claimed_at_ms=now,
            claimed_at=moment.after_s,
            start_by=moment.before_s + (start_window_s if is_paced else lease_ms / 1000),
            available_at_ms=was[found.id].available_at_ms,
            group_key=row.group_key,
            load_key=row.load_key,
            begins_alike=begins_alike,
        )
        for found in sorted(prompts, key=lambda each: each.id)
    ]
    return leases if shared is None else shared.joined(leases)


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


def _note_run(tx: Transaction, row: sa.Row[Any], share: HostShare, now: int) -> None:
    """Record which host has evaluated the beginning; of two hosts, the one that began.

    Not at every claim, and never waiting: it is a hint.
    """
    ran_at: int | None = getattr(row, "last_host_key", None)
    if ran_at is not None:
        apart_ms = _RUN_NOTED_APART_MS if ran_at == share.key else 2 * _RUN_NOTED_APART_MS
        if now - row.last_run_ms < apart_ms:
            return
    _NOTE_RUN.run(tx, {"alike": row.group_key, "at_host": share.key, "now": now})


def _call(
    row: sa.Row[Any],
    parameters: Mapping[str, Any],
    text: str,
    overrides: Mapping[str, Any] | None,
) -> Call:
    if not overrides:
        texts = _texts(row, text)
        return Call(
            model=row.model,
            prompt=text if texts is None else None,
            texts=texts,
            parameters=parameters,
            timeout_s=row.timeout_s,
        )
    own = dict(overrides)
    model, messages = own.pop("model", row.model), own.pop("messages", None)
    is_openai = own.pop(MARK, None) is not None
    texts = _texts(row, text, own.pop(TEXTS, None))
    return Call(
        model=model,
        prompt=text if messages is None and texts is None else None,
        messages=None if messages is None else tuple(messages),
        texts=texts,
        parameters={**parameters, **own},
        timeout_s=row.timeout_s,
        cut_is_answer=is_openai,
    )


def _texts(
    row: sa.Row[Any], text: str, several: Sequence[str] | None = None
) -> tuple[str, ...] | None:
    """The texts that the prompt wants embedded; None of one that wants an answer."""
    return tuple(several or (text,)) if row.kind == BatchKind.EMBED else None

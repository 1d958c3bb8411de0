"""THE queue: every change of a task's state, each a short transaction's work.

    enqueue          -> pending     a batch is stored with all its prompts
    claim            pending -> running     under a lease, within the limits of job and host
    renew            running     the lease is prolonged
    complete         running -> succeeded | failed | cancelled | pending     guarded by the lease
    rescue           running -> pending | failed     the lease ran out

What happens to many prompts at once, with no lease, is in `sweeps`.

The rule to know: whoever changes a running task proves that it holds its lease by the token that
the claim drew. A token is drawn anew at every claim, so a worker that was paused beyond its lease
finds its token gone and its late result is dropped: the fence.

Locks are taken in one order: tasks, then counters when completing; job, then host, then tasks when
claiming. A claim never waits for a job's row or a task's (SKIP LOCKED), so the two cannot deadlock
in one transaction. States stand in the SQL as literals: with a bound parameter PostgreSQL's generic
plan misses the partial indexes.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.domain.calls import Call
from app.domain.jobs import PromptDraft
from app.domain.lifecycle import (
    JobEvent,
    TaskEvent,
    TaskState,
    job_target,
    task_target,
)
from app.domain.limits import START_TOLERANCE_S, Limits, next_start_at_ms, startable
from app.domain.outcomes import ErrorCode, Failed, Outcome, Succeeded
from app.domain.retry import MOST_LOSSES, Decision, Finish, TryAgain
from app.store import groups
from app.store.counters import Tally, count
from app.store.database import Transaction
from app.store.job_groups import groups_of
from app.store.prepared import (
    Prepared,
    id_pairs,
    ids_in,
    json_text,
    json_value,
    pairs_in,
)
from app.store.sweeps import FREED, store_results_without_call
from app.store.tables import (
    host,
    host_group,
    job,
    job_group,
    model_group,
    prompt,
    prompt_id,
    result,
    task,
)

NEVER_MS = 1 << 53
"""A time so long that it means never."""
_SETBACKS = frozenset({ErrorCode.SERVER_BUSY, ErrorCode.TIMEOUT})
"""Failures that may come of too many calls at a time."""
_JOBS_PER_CLAIM = 16
_PROMPTS_PER_INSERT = 5_000

_ALIVE = sa.text("job.state IN ('queued', 'running', 'paused', 'cancelling')")
_GOING = sa.and_(
    _ALIVE, sa.text("job.state NOT IN ('paused', 'cancelling')"), sa.text("NOT job.awaits_models")
)
_OTHER = job.alias("other")
_PENDING = sa.text("task.state = 'pending'")
_RUNNING = sa.text("task.state = 'running'")
_STILL_RUNNING = sa.text("coalesce(task.state, '') = 'running'")
"""The same of tasks that are named by their ids. Written so that no partial index fits: until it is
vacuumed such an index holds an entry for every task that ever ran, and PostgreSQL, which takes it
for small, would read them all at every flush."""
_HOST_IS_FREE = ~(
    sa.select(sa.literal(1))
    .where(host.c.key == sa.bindparam("at_host"), host.c.held_by.is_not(None))
    .exists()
)
"""A benchmark that has the host to itself lets no prompt start there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to run one prompt, and everything needed to do so."""

    task_id: int
    token: int
    job_key: int
    attempt: int
    """Which try this is, counted from 1."""
    max_attempts: int
    losses: int = 0
    """How often what ran it died: its worker, or its host."""
    limits: Limits
    call: Call
    host_key: int
    """The host that it is to run on, whose slot it takes."""
    fail_on: tuple[ErrorCode, ...] | None = None
    """Defects that make the answer a failure; None: the default ones."""
    claimed_at_ms: int
    """The moment of the claim by the database's clock."""
    claimed_at: float
    """The same moment by this process's monotonic clock, in seconds."""
    start_by: float
    """The latest moment at which the call may begin, by the same clock: then the permit ends."""
    available_at_ms: int
    """Its place in the queue."""
    group_key: int = 0
    begins_alike: bool = False
    """Whether the group is of prompts that begin alike."""

    @property
    def is_paced(self) -> bool:
        """Whether the call has to begin within moments, by a permit of its job's delay."""
        return self.limits.rate_limit_delay_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostShare:
    """The host that claimed prompts will run on, and how many it takes."""

    key: int
    url: str
    slots: int | None
    """Most running calls of all workers there; None: not limited."""
    grouped: bool = False
    """Whether only prompts of the groups that the host runs may start there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Which prompts a host is to be given before others of equal priority; see `app.worker.turns`.

    It only orders: jobs that never had a turn come before, and what nobody else takes is taken.
    """

    group: int | None = None
    """The group whose turn it is at the host."""
    leave: bool = False
    """Whether to stop before a group that began alike at another host last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How an attempt ended and what is to follow."""

    lease: Lease
    outcome: Outcome
    decision: Decision
    host_url: str
    started_at_ms: int
    finished_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a flush did."""

    finished: int
    """Results stored."""
    fenced: int
    """Outcomes dropped, because the lease was no longer theirs."""
    job_may_end: bool = False
    """Whether a job has no prompt left and waits to be closed."""
    job_stopped: bool = False
    """Whether a job's stop rule has struck, so that what waits of it is to be cancelled."""


# --- enqueue ---------------------------------------------------------------------------------


def enqueue(
    tx: Transaction,
    job_key: int,
    prompts: Sequence[PromptDraft],
    *,
    first_index: int = 0,
    grouped: bool = True,
) -> None:
    """Store prompts of a new job, and a pending task for each.

    They are numbered from `first_index`, so that a large job can be stored in several
    transactions before it comes alive. Without `grouped` all are of the one group that any host
    runs.
    """
    for first in range(0, len(prompts), _PROMPTS_PER_INSERT):
        chunk = prompts[first : first + _PROMPTS_PER_INSERT]
        tx.execute(
            sa.insert(prompt),
            [
                {
                    "id": prompt_id(job_key, index),
                    "text": draft.text,
                    "custom_id": draft.custom_id,
                    "overrides": draft.overrides,
                }
                for index, draft in enumerate(chunk, start=first_index + first)
            ],
        )
    usual, others = groups_of(tx, job_key, prompts if grouped else ())
    tx.execute(
        _ADD_TASKS,
        {
            "job_key": job_key,
            "low": prompt_id(job_key, first_index),
            "high": prompt_id(job_key, first_index + len(prompts) - 1),
            "now": tx.now_ms(),
            "usual": usual,
        },
    )
    for group, places in others.items():
        for some in _slices(places, 4_000):
            ids = [prompt_id(job_key, first_index + place) for place in some]
            tx.execute(_PUT_IN_GROUP, {"ids": ids, "group": group})


_ADD_TASKS = sa.insert(task).from_select(
    ["id", "job_key", "state", "attempt", "losses", "available_at_ms", "group_key"],
    sa.select(
        prompt.c.id,
        sa.bindparam("job_key", type_=sa.BigInteger),
        sa.literal(TaskState.PENDING, task.c.state.type),
        sa.literal(0),
        sa.literal(0),
        sa.bindparam("now", type_=sa.BigInteger),
        sa.bindparam("usual", type_=sa.BigInteger),
    ).where(prompt.c.id.between(sa.bindparam("low"), sa.bindparam("high"))),
    include_defaults=False,
)
_PUT_IN_GROUP = (
    sa.update(task)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)))
    .values(group_key=sa.bindparam("group"))
)


# --- claim -----------------------------------------------------------------------------------


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
) -> Sequence[Lease]:
    """Take up to `wanted` prompts that may start at this very moment.

    The claim is the start permit: limits are counted under the job's lock, and the earliest moment
    of the job's next start is written in the same transaction. With a delay between starts the
    permit is good for `start_window_s`, else as long as the lease; who comes later gives it back.
    A paced start is the last of its claim, so that only the commit is between it and the call:
    there may be more to claim at once.

    Jobs take turns: the highest priority first, among equals the one that waited longest. Each
    `aging_ms` that a job has waited raises its priority by one, so that a low one is not starved by
    a stream of higher ones. With an `affinity` equals are ordered by it first.
    """
    leases: list[Lease] = []
    looked_at: list[tuple[int, int]] = []
    while len(leases) < wanted and len(looked_at) < _JOBS_PER_CLAIM:
        row = _lock_claimable_job(tx, looked_at, aging_ms, share, affinity)
        if row is None or (affinity and affinity.leave and row.rank == _RANK_ELSEWHERE):
            break
        looked_at.append((row.key, row.group_key))
        leases += _claim_of_job(
            tx,
            row,
            wanted=wanted - len(leases),
            owner=owner,
            lease_ms=lease_ms,
            share=share,
            start_window_s=start_window_s,
        )
        # A paced start waits for nothing but the commit.
        if row.going <= len(looked_at) or (leases and leases[-1].is_paced):
            break
    return leases


_RUNNING_OF_JOB = (
    sa.select(sa.func.count()).select_from(task).where(task.c.job_key == job.c.key, _RUNNING)
).scalar_subquery()
_OTHER_GROUP = job_group.alias("other_group")
_GOING_JOBS = (
    sa.select(sa.func.count())
    .select_from(_OTHER)
    .join(_OTHER_GROUP, _OTHER_GROUP.c.job_key == _OTHER.c.key)
    .where(sa.text("other.state IN ('queued', 'running', 'paused', 'cancelling')"))
    .where(sa.text("other.state NOT IN ('paused', 'cancelling')"))
    .where(sa.text("NOT other.awaits_models"))
    .scalar_subquery()
)
_WAITED_SINCE = sa.case(
    (job.c.last_claimed_at_ms > 0, job.c.last_claimed_at_ms), else_=job.c.created_at_ms
)
_AGED_PRIORITY = (
    job.c.priority
    + (sa.bindparam("now", type_=sa.BigInteger) - _WAITED_SINCE)
    // sa.bindparam("aging", type_=sa.BigInteger)
).desc()
_IN_TURN = (job.c.last_claimed_at_ms, job.c.key, job_group.c.group_key)
_CLAIMABLE_ROWS = (
    sa.select(
        job.c.key,
        job.c.model,
        job.c.parameters,
        job.c.timeout_s,
        job.c.max_attempts,
        job.c.max_concurrent,
        job.c.rate_limit_delay_s,
        job.c.fail_on,
        job_group.c.group_key,
        job_group.c.load_key,
        _RUNNING_OF_JOB.label("running"),
        _GOING_JOBS.label("going"),
    )
    .join(job_group, job_group.c.job_key == job.c.key)
    .where(
        _GOING,
        job.c.next_start_at_ms <= sa.bindparam("now"),
        sa.or_(job.c.expires_at_ms.is_(None), job.c.expires_at_ms > sa.bindparam("now")),
        groups.HAS_WORK,
        job.c.max_concurrent > _RUNNING_OF_JOB,
        _HOST_IS_FREE,
    )
)
_CLAIMABLE = _CLAIMABLE_ROWS.order_by(_AGED_PRIORITY, *_IN_TURN).limit(1)
_RANK_ELSEWHERE = 2
_LEFT_MS = 5_000
"""A job that was given nothing for so long is not left to another host any more."""
_RANK = sa.case(
    (job_group.c.group_key == sa.bindparam("turn_of"), 0),
    (
        sa.and_(
            model_group.c.last_host_key.is_not(None),
            model_group.c.last_host_key != sa.bindparam("at_host"),
            sa.or_(
                job.c.last_claimed_at_ms == 0,
                job.c.last_claimed_at_ms > sa.bindparam("now", type_=sa.BigInteger) - _LEFT_MS,
            ),
        ),
        _RANK_ELSEWHERE,
    ),
    else_=1,
)
_CLAIMABLE_BY_AFFINITY = (
    _CLAIMABLE_ROWS.add_columns(
        model_group.c.last_host_key, model_group.c.last_run_ms, _RANK.label("rank")
    )
    .outerjoin(model_group, model_group.c.key == job_group.c.group_key)
    .order_by(
        _AGED_PRIORITY,
        # Who never had a turn does not wait for the end of another one's.
        sa.case((job.c.last_claimed_at_ms == 0, 0), else_=1),
        _RANK,
        *_IN_TURN,
    )
    .limit(1)
)


def _locked(statement: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    return statement.with_for_update(of=job, skip_locked=True, key_share=True)


def _runs_group(group: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether the host runs the group now."""
    return (
        sa.select(sa.literal(1))
        .where(host_group.c.host_key == sa.bindparam("at_host"), host_group.c.group_key == group)
        .exists()
    )


def _both(statement: sa.Select[*tuple[Any, ...]]) -> dict[bool, Prepared]:
    """The statement as it is, and for the groups that the host runs."""
    return {
        False: Prepared(statement),
        True: Prepared(statement.where(_runs_group(job_group.c.load_key))),
    }


_NOT_SEEN = ~pairs_in(job.c.key, job_group.c.group_key, "seen")
_CLAIMABLE_JOB = _both(_locked(_CLAIMABLE))
_OTHER_CLAIMABLE_JOB = _both(_locked(_CLAIMABLE.where(_NOT_SEEN)))
_JOB_BY_AFFINITY = _both(_locked(_CLAIMABLE_BY_AFFINITY))
_OTHER_JOB_BY_AFFINITY = _both(_locked(_CLAIMABLE_BY_AFFINITY.where(_NOT_SEEN)))
_SOME_CLAIMABLE_JOB = _both(_CLAIMABLE)


def _lock_claimable_job(
    tx: Transaction,
    seen: Sequence[tuple[int, int]],
    aging_ms: int,
    share: HostShare,
    affinity: Affinity | None = None,
) -> sa.Row[Any] | None:
    values = {"now": tx.now_ms(), "aging": aging_ms, "at_host": share.key}
    first, other = _CLAIMABLE_JOB, _OTHER_CLAIMABLE_JOB
    if affinity is not None:
        first, other = _JOB_BY_AFFINITY, _OTHER_JOB_BY_AFFINITY
        values["turn_of"] = -1 if affinity.group is None else affinity.group
    if not seen:
        return first[share.grouped].run(tx, values).first()
    return other[share.grouped].run(tx, {**values, **id_pairs(tx, "seen", seen)}).first()


_COUNT_RUNNING = Prepared(
    sa.select(sa.func.count())
    .select_from(task)
    .where(task.c.job_key == sa.bindparam("job_key"), _RUNNING)
)
_LOCK_HOST = sa.select(host.c.key).where(host.c.key == sa.bindparam("host_key")).with_for_update()
_COUNT_AT_HOST = (
    sa.select(sa.func.count())
    .select_from(task)
    .where(task.c.host_key == sa.bindparam("host_key"), _RUNNING)
)


def _take(*conditions: sa.ColumnElement[bool]) -> Prepared:
    # The LIMIT must sit in a CTE: in a sub-select PostgreSQL may evaluate it again for every row
    # and take more than it says.
    due = (
        sa.select(task.c.id)
        .where(
            task.c.job_key == sa.bindparam("claimed_job"),
            task.c.group_key == sa.bindparam("claimed_group"),
            _PENDING,
            task.c.available_at_ms <= sa.bindparam("now"),
            # Again, now that the job is locked: see `holding.wait_for_claims`.
            _HOST_IS_FREE,
            *conditions,
        )
        .order_by(task.c.available_at_ms, task.c.id)
        .limit(sa.bindparam("most"))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    return Prepared(
        sa.update(task)
        .where(task.c.id.in_(sa.select(due.c.id)), _PENDING)
        .values(
            state=sa.literal(task_target(TaskEvent.CLAIM), task.c.state.type),
            attempt=task.c.attempt + 1,
            lease_token=sa.bindparam("token"),
            lease_owner=sa.bindparam("owner"),
            lease_until_ms=sa.bindparam("until"),
            host_key=sa.bindparam("at_host"),
        )
        .returning(task.c.id, task.c.attempt, task.c.losses, task.c.available_at_ms)
    )


_TAKE = {False: _take(), True: _take(_runs_group(sa.bindparam("claimed_load")))}
_PROMPTS = Prepared(
    sa.select(prompt.c.id, prompt.c.text, prompt.c.overrides).where(ids_in(prompt.c.id, "ids"))
)
_MARK_STARTED = Prepared(
    sa.update(job)
    .where(job.c.key == sa.bindparam("job_key"))
    .values(
        next_start_at_ms=sa.bindparam("next_start"),
        last_claimed_at_ms=sa.bindparam("now"),
        started_at_ms=sa.func.coalesce(job.c.started_at_ms, sa.bindparam("now")),
        state=sa.literal(job_target(JobEvent.START), job.c.state.type),
    )
)


def _claim_of_job(
    tx: Transaction,
    row: sa.Row[Any],
    *,
    wanted: int,
    owner: str,
    lease_ms: int,
    share: HostShare,
    start_window_s: float,
) -> list[Lease]:
    limits = Limits(max_concurrent=row.max_concurrent, rate_limit_delay_s=row.rate_limit_delay_s)
    at_host = 0
    if share.slots is not None:
        tx.execute(_LOCK_HOST, {"host_key": share.key})
        at_host = tx.execute(_COUNT_AT_HOST, {"host_key": share.key}).scalar_one()
    running = row.running
    if not tx.is_sqlite:
        # Counted again in a statement of its own, after the lock, so that it sees what others
        # committed meanwhile. SQLite's writer has been alone since its transaction began.
        running = _COUNT_RUNNING.run(tx, {"job_key": row.key}).scalar_one()
    most = startable(
        wanted=wanted, running=running, limits=limits, host_running=at_host, host_slots=share.slots
    )
    if most == 0:
        return []
    is_paced = limits.rate_limit_delay_s > 0
    # Read after the locks: waiting for one must not shorten the distance to the next start.
    asked_at = time.monotonic()
    now, claimed_at = tx.now_ms(), time.monotonic()
    token = secrets.randbits(63)
    taken = (
        _TAKE[share.grouped]
        .run(
            tx,
            {
                "claimed_job": row.key,
                "claimed_group": row.group_key,
                "claimed_load": row.load_key,
                "now": now,
                "most": most,
                "token": token,
                "owner": owner,
                "until": now + lease_ms,
                "at_host": share.key,
            },
        )
        .all()
    )
    if not taken:
        return []
    was = {one.id: one for one in taken}
    prompts = _PROMPTS.run(tx, {"ids": list(was)}).all()
    begins_alike = row.group_key != row.load_key
    if begins_alike:
        _note_run(tx, row, share, now)
    if is_paced:
        # The permit counts from here: only the commit may still make the start late.
        asked_at = time.monotonic()
        now, claimed_at = tx.now_ms(), time.monotonic()
    _MARK_STARTED.run(
        tx,
        # A clock of whole milliseconds may be one behind, hence the 1.
        {
            "job_key": row.key,
            "next_start": (
                next_start_at_ms(now + 1, limits, window_s=start_window_s) if is_paced else now
            ),
            "now": now,
        },
    )
    parameters, fail_on = json_value(row.parameters), json_value(row.fail_on)
    return [
        Lease(
            task_id=found.id,
            token=token,
            job_key=row.key,
            attempt=was[found.id].attempt,
            max_attempts=row.max_attempts,
            losses=was[found.id].losses,
            limits=limits,
            call=_call(row, parameters, found.text, json_value(found.overrides)),
            host_key=share.key,
            fail_on=None if fail_on is None else tuple(map(ErrorCode, fail_on)),
            claimed_at_ms=now,
            claimed_at=claimed_at,
            start_by=asked_at + (start_window_s if is_paced else lease_ms / 1000),
            available_at_ms=was[found.id].available_at_ms,
            group_key=row.group_key,
            begins_alike=begins_alike,
        )
        for found in sorted(prompts, key=lambda each: each.id)
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


def _note_run(tx: Transaction, row: sa.Row[Any], share: HostShare, now: int) -> None:
    """Note which host has the beginning evaluated; of two that run it, it is the one that began.

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
        return Call(
            model=row.model,
            prompt=text,
            parameters=parameters,
            timeout_s=row.timeout_s,
        )
    own = dict(overrides)
    model, messages = own.pop("model", row.model), own.pop("messages", None)
    return Call(
        model=model,
        prompt=None if messages is not None else text,
        messages=None if messages is None else tuple(messages),
        parameters={**parameters, **own},
        timeout_s=row.timeout_s,
    )


_NEXT_DUE = (
    sa.select(
        sa.func.min(
            sa.case(
                (job.c.next_start_at_ms > sa.bindparam("now"), job.c.next_start_at_ms), else_=None
            )
        ),
        sa.func.min(
            sa.select(sa.func.min(task.c.available_at_ms))
            .where(
                task.c.job_key == job.c.key,
                task.c.group_key == job_group.c.group_key,
                _PENDING,
                task.c.available_at_ms > sa.bindparam("now"),
            )
            .correlate(job, job_group)
            .scalar_subquery()
        ),
    )
    .select_from(job)
    .join(job_group, job_group.c.job_key == job.c.key)
    .where(_GOING)
)


def may_start_now(tx: Transaction, share: HostShare) -> bool:
    """Whether a claim that came back short left something that may start now.

    On PostgreSQL a claim passes over a job that another worker is claiming from at that moment;
    it is free again a few milliseconds later. And a start that was not due yet may be by now:
    `next_due_in_ms` speaks only of what is still to come.
    """
    if share.slots is not None:
        at_host = tx.execute(_COUNT_AT_HOST, {"host_key": share.key}).scalar_one()
        if at_host >= share.slots:
            return False
    now = {"now": tx.now_ms(), "aging": NEVER_MS, "at_host": share.key}
    return _SOME_CLAIMABLE_JOB[share.grouped].run(tx, now).first() is not None


def next_due_in_ms(tx: Transaction) -> int | None:
    """Milliseconds until a prompt becomes claimable by the passing of time alone; None: never."""
    now = tx.now_ms()
    moments = [at for at in tx.execute(_NEXT_DUE, {"now": now}).one() if at is not None]
    return max(min(moments) - now, 0) if moments else None


# --- renew -----------------------------------------------------------------------------------

_OWN_RUNNING = (
    sa.select(task.c.id)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), _STILL_RUNNING)
    .where(task.c.lease_owner == sa.bindparam("own"))
    .order_by(task.c.id)
    .with_for_update(skip_locked=True)
    .cte("own_running")
)
_RENEW = (
    sa.update(task)
    .where(task.c.id.in_(sa.select(_OWN_RUNNING.c.id)), _STILL_RUNNING)
    .where(task.c.lease_owner == sa.bindparam("own"))
    .values(lease_until_ms=sa.bindparam("until"))
    .returning(task.c.id, task.c.lease_token)
)


def renew(
    tx: Transaction, *, owner: str, task_ids: Sequence[int], lease_ms: int
) -> set[tuple[int, int]]:
    """Prolong the owner's leases; answer the (task, token) pairs that it still holds.

    What is missing in the answer is lost, or is being completed at this moment: calls of the
    former are to be aborted.
    """
    held: set[tuple[int, int]] = set()
    for ids in _slices(sorted(task_ids), 4_000):
        until = tx.now_ms() + lease_ms
        rows = tx.execute(_RENEW, {"ids": ids, "own": owner, "until": until})
        held.update((row.id, row.lease_token) for row in rows)
    return held


# --- complete --------------------------------------------------------------------------------


def complete(tx: Transaction, completions: Sequence[Completion]) -> Recorded:
    """Record how attempts ended: a result and a final state, or back to the queue.

    Each takes effect only while its lease is still held; the others are dropped and counted.
    """
    # All tasks before any counter: the order of locks at the top of this file.
    returned = sum(
        _put_back(tx, each, each.decision)
        for each in completions
        if isinstance(each.decision, TryAgain)
    )
    final = [each for each in completions if isinstance(each.decision, Finish)]
    recorded = _finish(tx, final)
    finished = [each for each in final if (each.lease.task_id, each.lease.token) in recorded]
    return Recorded(
        finished=len(finished),
        fenced=len(completions) - len(finished) - returned,
        **_store(tx, finished, _setbacks(completions)),
    )


# The token stays with a finished task: it tells which of two leases of one task, both in the same
# flush, was the one that counted.
_FINISHED = {name: value for name, value in FREED.items() if name != "lease_token"}


def _finish_statement(event: TaskEvent) -> Prepared:
    return Prepared(
        sa.update(task)
        .where(
            # The ids alone find the rows by their key; the pairs are the fence.
            ids_in(task.c.id, "ids"),
            pairs_in(task.c.id, task.c.lease_token, "held"),
            _STILL_RUNNING,
        )
        .values(state=sa.literal(task_target(event), task.c.state.type), **_FINISHED)
        .returning(task.c.id, task.c.lease_token)
    )


_FINISH = {
    event: _finish_statement(event)
    for event in (TaskEvent.SUCCEED, TaskEvent.FAIL, TaskEvent.CANCEL)
}


def _finish(tx: Transaction, completions: Sequence[Completion]) -> set[tuple[int, int]]:
    """End the tasks whose leases are still held; answer these leases, as (task, token)."""
    by_event: dict[TaskEvent, list[tuple[int, int]]] = {}
    for each in completions:
        by_event.setdefault(_final_event(each.outcome), []).append(
            (each.lease.task_id, each.lease.token)
        )
    recorded: set[tuple[int, int]] = set()
    for event, held in by_event.items():
        ids = [task_id for task_id, _ in held]
        rows = _FINISH[event].run(tx, {"ids": ids, **id_pairs(tx, "held", held)})
        recorded.update((row.id, row.lease_token) for row in rows)
    return recorded


def _final_event(outcome: Outcome) -> TaskEvent:
    if isinstance(outcome, Succeeded):
        return TaskEvent.SUCCEED
    return TaskEvent.CANCEL if outcome.code is ErrorCode.CANCELLED else TaskEvent.FAIL


_INSERT_RESULTS = Prepared(sa.insert(result))


def _setbacks(completions: Sequence[Completion]) -> Counter[int]:
    """How many calls of each job found the host busy or timed out."""
    return Counter(
        each.lease.job_key
        for each in completions
        if isinstance(each.outcome, Failed) and each.outcome.code in _SETBACKS
    )


def _store(
    tx: Transaction, finished: Sequence[Completion], setbacks: Counter[int]
) -> dict[str, bool]:
    """Store results and count them; what that means for their jobs, as `Recorded` has it."""
    by_job: dict[int, list[Completion]] = {job_key: [] for job_key in setbacks}
    for each in finished:
        by_job.setdefault(each.lease.job_key, []).append(each)
    rows: list[dict[str, Any]] = []
    may_end = stopped = False
    # In the order of keys, so that two flushes never wait for each other crosswise.
    for job_key, own in sorted(by_job.items()):
        tally = _tally(own, setbacks[job_key])
        counted = count(tx, job_key, tally)
        rows += [_result_row(each, counted.first_event + n) for n, each in enumerate(own)]
        may_end = may_end or counted.all_done
        stopped = stopped or counted.stopped
    if rows:
        _INSERT_RESULTS.run(tx, rows)
    return {"job_may_end": may_end, "job_stopped": stopped}


def _tally(finished: Sequence[Completion], setbacks: int) -> Tally:
    tally = Tally(events=len(finished), setbacks=setbacks)
    for each in finished:
        tally.add(task_target(_final_event(each.outcome)))
        metrics = each.outcome.metrics
        tally.prompt_tokens += metrics.prompt_eval_count or 0
        tally.completion_tokens += metrics.eval_count or 0
    return tally


def _result_row(completion: Completion, event: int) -> dict[str, Any]:
    outcome, metrics = completion.outcome, completion.outcome.metrics
    failed = outcome if isinstance(outcome, Failed) else None
    return {
        "id": completion.lease.task_id,
        "status": task_target(_final_event(outcome)),
        "model": completion.lease.call.model,
        "response": outcome.response,
        "thinking": outcome.thinking,
        "tool_calls": json_text(outcome.tool_calls),
        "logprobs": json_text(outcome.logprobs),
        "error_code": failed.code if failed else None,
        "error": failed.message if failed else None,
        "attempts": completion.lease.attempt,
        "done_reason": outcome.done_reason,
        "host": completion.host_url,
        "total_duration": metrics.total_duration,
        "load_duration": metrics.load_duration,
        "prompt_eval_count": metrics.prompt_eval_count,
        "prompt_eval_duration": metrics.prompt_eval_duration,
        "eval_count": metrics.eval_count,
        "eval_duration": metrics.eval_duration,
        "latency_s": metrics.latency_s,
        "ttft_s": metrics.ttft_s,
        "started_at_ms": completion.started_at_ms,
        "finished_at_ms": completion.finished_at_ms,
        "defect": outcome.defect,
        "event_id": prompt_id(completion.lease.job_key, event),
    }


_PUT_BACK = (
    sa.update(task)
    .where(
        task.c.id == sa.bindparam("put_back"),
        task.c.lease_token == sa.bindparam("token"),
        _STILL_RUNNING,
    )
    .values(
        state=sa.literal(task_target(TaskEvent.RETRY), task.c.state.type),
        attempt=task.c.attempt - sa.bindparam("uncharged"),
        losses=task.c.losses + sa.bindparam("lost"),
        available_at_ms=sa.bindparam("available_at"),
        **FREED,
    )
)


def _put_back(tx: Transaction, completion: Completion, again: TryAgain) -> int:
    """1 when the task went back to the queue, 0 when its lease was lost."""
    return tx.execute(
        _PUT_BACK,
        {
            "put_back": completion.lease.task_id,
            "token": completion.lease.token,
            "uncharged": 0 if again.charged else 1,
            "lost": 1 if again.lost else 0,
            "available_at": (
                completion.lease.available_at_ms
                if again.keeps_place
                else tx.now_ms() + int(again.wait_s * 1000)
            ),
        },
    ).rowcount


# --- rescue ----------------------------------------------------------------------------------

_LOST = (
    sa.select(task.c.id, task.c.losses, task.c.attempt)
    .where(_RUNNING, task.c.lease_until_ms < sa.bindparam("before"))
    .order_by(task.c.lease_until_ms)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
)
_RESCUE = (
    sa.update(task)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), _STILL_RUNNING)
    .values(
        state=sa.literal(task_target(TaskEvent.RESCUE), task.c.state.type),
        attempt=task.c.attempt - 1,
        losses=task.c.losses + 1,
        **FREED,
    )
)
_GIVE_UP = (
    sa.update(task)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), _STILL_RUNNING)
    .values(
        state=sa.literal(task_target(TaskEvent.FAIL), task.c.state.type),
        losses=task.c.losses + 1,
        **FREED,
    )
)


def rescue(tx: Transaction, *, limit: int = 500, all_running: bool = False) -> int:
    """Take prompts back from workers whose leases ran out; answer how many there were.

    A lost lease is the worker's failure, so it is not charged to the prompt, until `MOST_LOSSES`.
    `all_running` takes every running prompt, for the start of a database's only worker.
    """
    before = (1 << 62) if all_running else tx.now_ms()
    lost = tx.execute(_LOST, {"before": before, "most": limit}).all()
    back = [row.id for row in lost if row.losses + 1 < MOST_LOSSES]
    given_up = [(row.id, row.attempt) for row in lost if row.losses + 1 >= MOST_LOSSES]
    if back:
        tx.execute(_RESCUE, {"ids": back})
    if given_up:
        tx.execute(_GIVE_UP, {"ids": [task_id for task_id, _ in given_up]})
        store_results_without_call(
            tx,
            [task_id for task_id, _ in given_up],
            status=TaskState.FAILED,
            code=ErrorCode.LEASE_LOST,
            message=f"What ran this prompt died {MOST_LOSSES} times, in the end the worker.",
        )
    return len(lost)


def _slices(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]

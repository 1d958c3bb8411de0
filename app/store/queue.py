"""THE queue: every change of a task's state, each a short transaction's work.

    enqueue          -> pending     a batch is stored with all its prompts
    claim            pending -> running     under a lease, within the limits of job and host
    renew            running     the lease is prolonged
    complete         running -> succeeded | failed | cancelled | pending     guarded by the lease
    rescue           running -> pending | failed     the lease ran out
    cancel_pending   pending -> cancelled

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
from app.domain.limits import Limits, next_start_at_ms, startable
from app.domain.outcomes import CallMetrics, ErrorCode, Failed, Outcome, Succeeded
from app.domain.retry import Decision, Finish, TryAgain
from app.store.database import Transaction
from app.store.tables import (
    host,
    id_range,
    job,
    job_key_of,
    job_stats,
    prompt,
    prompt_id,
    result,
    task,
)

MOST_LOSSES = 10
"""After that many leases lost to dead workers a prompt fails instead of going back."""
_JOBS_PER_CLAIM = 16
_PROMPTS_PER_INSERT = 5_000

_ALIVE = sa.text("job.state IN ('queued', 'running', 'cancelling')")
_PENDING = sa.text("task.state = 'pending'")
_RUNNING = sa.text("task.state = 'running'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to run one prompt, and everything needed to do so."""

    task_id: int
    token: int
    job_key: int
    attempt: int
    """Which try this is, counted from 1."""
    max_attempts: int
    limits: Limits
    call: Call
    claimed_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a claim brought, and when it is worth claiming again."""

    leases: Sequence[Lease]
    next_due_in_ms: int | None
    """Milliseconds until a prompt becomes claimable by the passing of time alone; None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostShare:
    """The host that claimed prompts will run on, and how many it takes."""

    key: int
    url: str
    slots: int | None
    """Most running calls of all workers there; None: not limited."""


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
    job_may_end: bool
    """Whether a job has no prompt left and waits to be closed."""


# --- enqueue ---------------------------------------------------------------------------------


def enqueue(tx: Transaction, job_key: int, prompts: Sequence[PromptDraft]) -> None:
    """Store all prompts of a new job, and a pending task for each."""
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
                for index, draft in enumerate(chunk, start=first)
            ],
        )
    low, high = id_range(job_key)
    tx.execute(_ADD_TASKS, {"job_key": job_key, "low": low, "high": high, "now": tx.now_ms()})


_ADD_TASKS = sa.insert(task).from_select(
    ["id", "job_key", "state", "attempt", "losses", "available_at_ms"],
    sa.select(
        prompt.c.id,
        sa.bindparam("job_key", type_=sa.BigInteger),
        sa.literal(TaskState.PENDING, task.c.state.type),
        sa.literal(0),
        sa.literal(0),
        sa.bindparam("now", type_=sa.BigInteger),
    ).where(prompt.c.id.between(sa.bindparam("low"), sa.bindparam("high"))),
    include_defaults=False,
)


# --- claim -----------------------------------------------------------------------------------


def claim(tx: Transaction, *, wanted: int, owner: str, lease_ms: int, share: HostShare) -> Claim:
    """Take up to `wanted` prompts that may start at this very moment.

    The claim is the start permit: limits are counted under the job's lock, and the earliest moment
    of the job's next start is written in the same transaction.
    """
    leases: list[Lease] = []
    looked_at: list[int] = []
    while len(leases) < wanted and len(looked_at) < _JOBS_PER_CLAIM:
        row = _lock_claimable_job(tx, looked_at)
        if row is None:
            break
        looked_at.append(row.key)
        leases += _claim_of_job(
            tx, row, wanted=wanted - len(leases), owner=owner, lease_ms=lease_ms, share=share
        )
    due = None if len(leases) >= wanted else _next_due_in_ms(tx)
    return Claim(leases=leases, next_due_in_ms=due)


_RUNNING_OF_JOB = (
    sa.select(sa.func.count()).select_from(task).where(task.c.job_key == job.c.key, _RUNNING)
)
_CLAIMABLE_JOB = (
    sa.select(
        job.c.key,
        job.c.model,
        job.c.parameters,
        job.c.timeout_s,
        job.c.max_attempts,
        job.c.max_concurrent,
        job.c.rate_limit_delay_s,
    )
    .where(
        _ALIVE,
        job.c.state != sa.text("'cancelling'"),
        job.c.next_start_at_ms <= sa.bindparam("now"),
        sa.select(sa.literal(1))
        .where(
            task.c.job_key == job.c.key,
            _PENDING,
            task.c.available_at_ms <= sa.bindparam("now"),
        )
        .exists(),
        _RUNNING_OF_JOB.scalar_subquery() < job.c.max_concurrent,
    )
    .order_by(job.c.priority.desc(), job.c.last_claimed_at_ms, job.c.key)
    .limit(1)
    .with_for_update(skip_locked=True, key_share=True)
)
_OTHER_CLAIMABLE_JOB = _CLAIMABLE_JOB.where(job.c.key.not_in(sa.bindparam("seen", expanding=True)))


def _lock_claimable_job(tx: Transaction, seen: Sequence[int]) -> sa.Row[Any] | None:
    if not seen:
        found = tx.execute(_CLAIMABLE_JOB, {"now": tx.now_ms()})
    else:
        found = tx.execute(_OTHER_CLAIMABLE_JOB, {"now": tx.now_ms(), "seen": seen})
    return found.first()


_COUNT_RUNNING = (
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
# The LIMIT must sit in a CTE: in a sub-select PostgreSQL may evaluate it again for every row and
# take more than it says.
_DUE = (
    sa.select(task.c.id)
    .where(
        task.c.job_key == sa.bindparam("claimed_job"),
        _PENDING,
        task.c.available_at_ms <= sa.bindparam("now"),
    )
    .order_by(task.c.available_at_ms, task.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("due")
)
_TAKE = (
    sa.update(task)
    .where(task.c.id.in_(sa.select(_DUE.c.id)), _PENDING)
    .values(
        state=sa.literal(task_target(TaskEvent.CLAIM), task.c.state.type),
        attempt=task.c.attempt + 1,
        lease_token=sa.bindparam("token"),
        lease_owner=sa.bindparam("owner"),
        lease_until_ms=sa.bindparam("until"),
        host_key=sa.bindparam("at_host"),
    )
    .returning(task.c.id, task.c.attempt)
)
_PROMPTS = sa.select(prompt.c.id, prompt.c.text, prompt.c.overrides).where(
    prompt.c.id.in_(sa.bindparam("ids", expanding=True))
)
_MARK_STARTED = (
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
) -> list[Lease]:
    limits = Limits(max_concurrent=row.max_concurrent, rate_limit_delay_s=row.rate_limit_delay_s)
    at_host = 0
    if share.slots is not None:
        tx.execute(_LOCK_HOST, {"host_key": share.key})
        at_host = tx.execute(_COUNT_AT_HOST, {"host_key": share.key}).scalar_one()
    # Counted in a statement of its own, after the lock, so that it sees what others committed.
    running = tx.execute(_COUNT_RUNNING, {"job_key": row.key}).scalar_one()
    most = startable(
        wanted=wanted, running=running, limits=limits, host_running=at_host, host_slots=share.slots
    )
    if most == 0:
        return []
    # Read after the locks: waiting for one must not shorten the distance to the next start.
    now = tx.now_ms()
    token = secrets.randbits(63)
    taken = tx.execute(
        _TAKE,
        {
            "claimed_job": row.key,
            "now": now,
            "most": most,
            "token": token,
            "owner": owner,
            "until": now + lease_ms,
            "at_host": share.key,
        },
    ).all()
    if not taken:
        return []
    tx.execute(
        _MARK_STARTED,
        # A clock of whole milliseconds may be one behind, hence the 1.
        {
            "job_key": row.key,
            "next_start": next_start_at_ms(now + 1, limits) if limits.rate_limit_delay_s else now,
            "now": now,
        },
    )
    attempts: dict[int, int] = {one.id: one.attempt for one in taken}
    prompts = tx.execute(_PROMPTS, {"ids": list(attempts)}).all()
    return [
        Lease(
            task_id=found.id,
            token=token,
            job_key=row.key,
            attempt=attempts[found.id],
            max_attempts=row.max_attempts,
            limits=limits,
            call=_call(row, found.text, found.overrides),
            claimed_at_ms=now,
        )
        for found in sorted(prompts, key=lambda each: each.id)
    ]


def _call(row: sa.Row[Any], text: str, overrides: Mapping[str, Any] | None) -> Call:
    if not overrides:
        return Call(
            model=row.model,
            prompt=text,
            parameters=row.parameters,
            timeout_s=row.timeout_s,
        )
    own = dict(overrides)
    model, messages = own.pop("model", row.model), own.pop("messages", None)
    return Call(
        model=model,
        prompt=None if messages is not None else text,
        messages=None if messages is None else tuple(messages),
        parameters={**row.parameters, **own},
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
                _PENDING,
                task.c.available_at_ms > sa.bindparam("now"),
            )
            .correlate(job)
            .scalar_subquery()
        ),
    )
    .select_from(job)
    .where(_ALIVE, job.c.state != sa.text("'cancelling'"))
)


def _next_due_in_ms(tx: Transaction) -> int | None:
    now = tx.now_ms()
    moments = [at for at in tx.execute(_NEXT_DUE, {"now": now}).one() if at is not None]
    return max(min(moments) - now, 0) if moments else None


# --- renew -----------------------------------------------------------------------------------

_OWN_RUNNING = (
    sa.select(task.c.id)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), _RUNNING)
    .where(task.c.lease_owner == sa.bindparam("own"))
    .order_by(task.c.id)
    .with_for_update(skip_locked=True)
    .cte("own_running")
)
_RENEW = (
    sa.update(task)
    .where(task.c.id.in_(sa.select(_OWN_RUNNING.c.id)), _RUNNING)
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
    finished = [each for each in final if each.lease.task_id in recorded]
    job_may_end = False
    if finished:
        tx.execute(sa.insert(result), [_result_row(each) for each in finished])
        job_may_end = _count(tx, finished)
    return Recorded(
        finished=len(finished),
        fenced=len(completions) - len(finished) - returned,
        job_may_end=job_may_end,
    )


_FREED: Mapping[str, Any] = {
    "lease_token": None,
    "lease_owner": None,
    "lease_until_ms": None,
    "host_key": None,
}


def _finish_statement(event: TaskEvent) -> sa.Update | sa.UpdateBase:
    return (
        sa.update(task)
        .where(
            # The ids alone find the rows by their key; the pairs are the fence.
            task.c.id.in_(sa.bindparam("ids", expanding=True)),
            sa.tuple_(task.c.id, task.c.lease_token).in_(sa.bindparam("held", expanding=True)),
            _RUNNING,
        )
        .values(state=sa.literal(task_target(event), task.c.state.type), **_FREED)
        .returning(task.c.id)
    )


_FINISH = {
    event: _finish_statement(event)
    for event in (TaskEvent.SUCCEED, TaskEvent.FAIL, TaskEvent.CANCEL)
}


def _finish(tx: Transaction, completions: Sequence[Completion]) -> set[int]:
    by_event: dict[TaskEvent, list[tuple[int, int]]] = {}
    for each in completions:
        by_event.setdefault(_final_event(each.outcome), []).append(
            (each.lease.task_id, each.lease.token)
        )
    recorded: set[int] = set()
    for event, held in by_event.items():
        for part in _slices(held, 2_000):
            ids = [task_id for task_id, _ in part]
            recorded.update(tx.execute(_FINISH[event], {"ids": ids, "held": part}).scalars())
    return recorded


def _final_event(outcome: Outcome) -> TaskEvent:
    if isinstance(outcome, Succeeded):
        return TaskEvent.SUCCEED
    return TaskEvent.CANCEL if outcome.code is ErrorCode.CANCELLED else TaskEvent.FAIL


def _result_row(completion: Completion) -> dict[str, Any]:
    outcome, metrics = completion.outcome, completion.outcome.metrics
    failed = outcome if isinstance(outcome, Failed) else None
    succeeded = outcome if isinstance(outcome, Succeeded) else None
    return {
        "id": completion.lease.task_id,
        "status": task_target(_final_event(outcome)),
        "model": completion.lease.call.model,
        "response": outcome.response,
        "thinking": succeeded.thinking if succeeded else None,
        "tool_calls": succeeded.tool_calls if succeeded else None,
        "logprobs": succeeded.logprobs if succeeded else None,
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
    }


_ADD_TO_STATS = (
    sa.update(job_stats)
    .where(job_stats.c.job_key == sa.bindparam("counted_job"))
    .values(
        succeeded=job_stats.c.succeeded + sa.bindparam("more_succeeded"),
        failed=job_stats.c.failed + sa.bindparam("more_failed"),
        cancelled=job_stats.c.cancelled + sa.bindparam("more_cancelled"),
        prompt_tokens=job_stats.c.prompt_tokens + sa.bindparam("more_prompt_tokens"),
        completion_tokens=job_stats.c.completion_tokens + sa.bindparam("more_completion_tokens"),
    )
    .returning(
        job_stats.c.succeeded + job_stats.c.failed + job_stats.c.cancelled >= job_stats.c.total
    )
)


def _count(tx: Transaction, finished: Sequence[Completion]) -> bool:
    """Add finished prompts to their jobs' counters; True when a job has no prompt left."""
    sums: dict[int, dict[str, int]] = {}
    for each in finished:
        job_sums = sums.setdefault(each.lease.job_key, _no_counts(each.lease.job_key))
        job_sums[f"more_{task_target(_final_event(each.outcome)).value}"] += 1
        metrics: CallMetrics = each.outcome.metrics
        job_sums["more_prompt_tokens"] += metrics.prompt_eval_count or 0
        job_sums["more_completion_tokens"] += metrics.eval_count or 0
    # In the order of keys, so that two flushes never wait for each other crosswise.
    ended = [tx.execute(_ADD_TO_STATS, sums[job_key]).scalar_one() for job_key in sorted(sums)]
    return any(ended)


def _no_counts(job_key: int) -> dict[str, int]:
    return {
        "counted_job": job_key,
        "more_succeeded": 0,
        "more_failed": 0,
        "more_cancelled": 0,
        "more_prompt_tokens": 0,
        "more_completion_tokens": 0,
    }


_PUT_BACK = (
    sa.update(task)
    .where(
        task.c.id == sa.bindparam("put_back"),
        task.c.lease_token == sa.bindparam("token"),
        _RUNNING,
    )
    .values(
        state=sa.literal(task_target(TaskEvent.RETRY), task.c.state.type),
        attempt=task.c.attempt - sa.bindparam("uncharged"),
        available_at_ms=sa.bindparam("available_at"),
        **_FREED,
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
            "available_at": tx.now_ms() + int(again.wait_s * 1000),
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
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), _RUNNING)
    .values(
        state=sa.literal(task_target(TaskEvent.RESCUE), task.c.state.type),
        attempt=task.c.attempt - 1,
        losses=task.c.losses + 1,
        **_FREED,
    )
)
_GIVE_UP = (
    sa.update(task)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), _RUNNING)
    .values(
        state=sa.literal(task_target(TaskEvent.FAIL), task.c.state.type),
        losses=task.c.losses + 1,
        **_FREED,
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
        _store_results_without_call(
            tx,
            [task_id for task_id, _ in given_up],
            status=TaskState.FAILED,
            code=ErrorCode.LEASE_LOST,
            message=f"{MOST_LOSSES} workers died or were cut off while they ran this prompt.",
        )
    return len(lost)


# --- cancel ----------------------------------------------------------------------------------

_SOME_PENDING = (
    sa.select(task.c.id)
    .where(task.c.job_key == sa.bindparam("cancelled_job"), _PENDING)
    .order_by(task.c.available_at_ms, task.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("some_pending")
)
_CANCEL = (
    sa.update(task)
    .where(task.c.id.in_(sa.select(_SOME_PENDING.c.id)), _PENDING)
    .values(state=sa.literal(task_target(TaskEvent.CANCEL), task.c.state.type), **_FREED)
    .returning(task.c.id)
)


def cancelling_jobs(tx: Transaction) -> Sequence[int]:
    """Keys of the jobs whose cancellation was asked for and is not through."""
    statement = sa.select(job.c.key).where(_ALIVE, job.c.state == sa.text("'cancelling'"))
    return tx.execute(statement).scalars().all()


def cancel_pending(tx: Transaction, job_key: int, *, limit: int = 5_000) -> int:
    """Cancel some of a cancelled job's waiting prompts; answer how many, 0 when none is left."""
    found = tx.execute(_CANCEL, {"cancelled_job": job_key, "most": limit}).scalars().all()
    _store_results_without_call(
        tx,
        found,
        status=TaskState.CANCELLED,
        code=ErrorCode.CANCELLED,
        message="The batch was cancelled before this prompt had an answer.",
    )
    return len(found)


def _store_results_without_call(
    tx: Transaction, ids: Sequence[int], *, status: TaskState, code: ErrorCode, message: str
) -> None:
    """Results of prompts that end with no answer of Ollama, and their counts."""
    for part in _slices(sorted(ids), 4_000):
        own_model = prompt.c.overrides["model"].as_string()
        ended = (
            sa.select(
                task.c.id,
                sa.literal(status, result.c.status.type),
                sa.func.coalesce(own_model, job.c.model),
                sa.literal(code, result.c.error_code.type),
                sa.literal(message),
                task.c.attempt,
                sa.literal(tx.now_ms(), sa.BigInteger),
            )
            .join(prompt, prompt.c.id == task.c.id)
            .join(job, job.c.key == task.c.job_key)
            .where(task.c.id.in_(part))
        )
        columns = ["id", "status", "model", "error_code", "error", "attempts", "finished_at_ms"]
        tx.execute(sa.insert(result).from_select(columns, ended, include_defaults=False))
    counts: dict[int, int] = {}
    for task_id in ids:
        counts[job_key_of(task_id)] = counts.get(job_key_of(task_id), 0) + 1
    for job_key in sorted(counts):
        sums = _no_counts(job_key)
        sums[f"more_{status.value}"] = counts[job_key]
        tx.execute(_ADD_TO_STATS, sums)


def _slices(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]

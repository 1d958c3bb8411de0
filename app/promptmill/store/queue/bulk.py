"""Changes of many prompts without a call: cancelled, expired, run again, in short pieces.

    cancel_pending   pending -> cancelled
    expire_pending   pending -> expired
    refuse           pending -> failed     of an upload that nobody sees yet
    run_again        failed | cancelled | expired -> pending     their results are taken back

A job of a million prompts is swept while others are worked off, because no piece holds the
database for long.

The rule to know: a sweep that ends prompts looks itself whether its job is to be ended, under the
locks of the job's counters and of its row, in each piece. The list of such jobs that a worker has
read may be old: a client may have had the prompts run again since. Locks are taken as `reopen`
takes them, counters, then the job, then tasks, and no task is waited for (SKIP LOCKED).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.lifecycle import JobState, TaskEvent, TaskState, task_sources, task_target
from promptmill.domain.outcomes import ErrorCode
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import NO_LEASE, NOW, PENDING, WITHOUT_SUCCESS, is_live
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import (
    INDEX_BITS,
    id_range,
    job,
    job_key_of,
    job_stats,
    prompt,
    prompt_id,
    result,
    task,
)
from promptmill.store.queue import attempts
from promptmill.store.queue.counters import CounterChange, count

PIECE: Final = 5_000
"""Prompts that one transaction changes."""

FREED: Final[dict[str, Any]] = {**NO_LEASE, "host_key": None}
"""The columns of a task without a lease."""

_SOME_PENDING = (
    sa.select(task.c.id)
    .where(task.c.job_key == sa.bindparam("swept_job"), PENDING)
    .order_by(task.c.group_key, task.c.available_at_ms, task.c.id)
    .limit(sa.bindparam("most"))
    .with_for_update(skip_locked=True)
    .cte("some_pending")
)


def _end_pending(event: TaskEvent) -> sa.UpdateBase:
    return (
        sa.update(task)
        .where(task.c.id.in_(sa.select(_SOME_PENDING.c.id)), PENDING)
        .values(state=sa.literal(task_target(event), task.c.state.type), **FREED)
        .returning(task.c.id)
    )


_CANCEL = _end_pending(TaskEvent.CANCEL)
_EXPIRE = _end_pending(TaskEvent.EXPIRE)
_IS_CANCELLED = is_in(job.c.state, [JobState.CANCELLING])
IS_OUT_OF_TIME = sa.and_(
    is_live(job),
    ~_IS_CANCELLED,
    job.c.expires_at_ms <= NOW,
)
"""Whether a job's time has run out before it ended; the time that it has is compared with `now`."""
_LOCK_COUNTERS = (
    sa.select(job_stats.c.job_key)
    .where(job_stats.c.job_key == sa.bindparam("swept_job"))
    .with_for_update()
)


def _lock_job(tx: Transaction, job_key: int, condition: sa.ColumnElement[bool]) -> bool:
    """Lock the job and check the condition, which then holds until the commit."""
    tx.execute(_LOCK_COUNTERS, {"swept_job": job_key})
    # PostgreSQL, when it has waited for the row, looks at the condition again in the newest one.
    statement = (
        sa.select(job.c.key)
        .where(job.c.key == sa.bindparam("swept_job"), condition)
        .with_for_update(key_share=True)
    )
    return tx.execute(statement, {"swept_job": job_key, "now": tx.now_ms()}).first() is not None


def cancel_pending(tx: Transaction, job_key: int, *, limit: int = PIECE) -> int:
    """Cancel some pending prompts of a job that ends early; return how many, 0 at the end.

    0 as well if the job is no longer to end early.
    """
    if not _lock_job(tx, job_key, _IS_CANCELLED):
        return 0
    found = tx.execute(_CANCEL, {"swept_job": job_key, "most": limit}).scalars().all()
    store_results_without_call(
        tx,
        found,
        status=TaskState.CANCELLED,
        code=ErrorCode.CANCELLED,
        message="The batch was ended before this prompt had an answer.",
    )
    return len(found)


def expire_pending(tx: Transaction, job_key: int, *, limit: int = PIECE) -> int:
    """Expire some pending prompts of an expired job; return how many, 0 at the end.

    0 as well if the job was given more time.
    """
    if not _lock_job(tx, job_key, IS_OUT_OF_TIME):
        return 0
    found = tx.execute(_EXPIRE, {"swept_job": job_key, "most": limit}).scalars().all()
    store_results_without_call(
        tx,
        found,
        status=TaskState.EXPIRED,
        code=ErrorCode.EXPIRED,
        message="The batch's time (expires_in_s) ran out before this prompt had an answer.",
    )
    return len(found)


def store_results_without_call(
    tx: Transaction, ids: Sequence[int], *, status: TaskState, code: ErrorCode, message: str
) -> None:
    """Store results of prompts that end without a call, and count them."""
    by_job: dict[int, list[int]] = {}
    for task_id in sorted(ids):
        by_job.setdefault(job_key_of(task_id), []).append(task_id)
    for job_key, own in sorted(by_job.items()):
        tally = CounterChange(events=len(own))
        tally.add(status, len(own))
        if (counted := count(tx, job_key, tally)) is None:
            continue
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
                sa.literal(prompt_id(job_key, counted.first_event) - 1, sa.BigInteger)
                + sa.func.row_number().over(order_by=task.c.id),
            )
            .join(prompt, prompt.c.id == task.c.id)
            .join(job, job.c.key == task.c.job_key)
            .where(task.c.id.in_(own))
        )
        columns = ["id", "status", "model", "error_code", "error", "attempts", "finished_at_ms"]
        tx.execute(
            sa.insert(result).from_select([*columns, "event_id"], ended, include_defaults=False)
        )


_REFUSE = (
    sa.update(task)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)), PENDING)
    .values(state=sa.literal(task_target(TaskEvent.REFUSE), task.c.state.type))
)


def refuse(tx: Transaction, job_key: int, model: str, reasons: Mapping[int, str]) -> None:
    """Fail prompts of an upload, by their indexes, whose requests no call can be made for."""
    if not reasons:
        return
    message_of = {prompt_id(job_key, index): why for index, why in sorted(reasons.items())}
    tx.execute(_REFUSE, {"ids": list(message_of)})
    tally = CounterChange(events=len(message_of))
    tally.add(task_target(TaskEvent.REFUSE), len(message_of))
    if (counted := count(tx, job_key, tally)) is None:
        return
    now = tx.now_ms()
    tx.execute(
        sa.insert(result),
        [
            {
                "id": task_id,
                "status": task_target(TaskEvent.REFUSE),
                "model": model,
                "error_code": ErrorCode.INVALID_REQUEST,
                "error": message,
                "attempts": 0,
                "finished_at_ms": now,
                "event_id": prompt_id(job_key, counted.first_event + place),
            }
            for place, (task_id, message) in enumerate(message_of.items())
        ],
    )


@dataclass(frozen=True, slots=True)
class Swept:
    """Result of one piece of `run_again`."""

    prompts: int
    """The prompts that went back to the queue."""
    last_index: int | None
    """Index after which the next piece begins; None without a further piece."""


_WAS_NOT_REFUSED = sa.or_(~is_in(result.c.status, [TaskState.FAILED]), result.c.attempts > 0)
"""Condition that a prompt was refused without a call, and so cannot run again."""
_NOT_SUCCEEDED = (
    sa.select(result.c.id, result.c.status)
    .where(
        result.c.id.between(sa.bindparam("low"), sa.bindparam("high")),
        WITHOUT_SUCCESS,
        _WAS_NOT_REFUSED,
    )
    .order_by(result.c.id)
    .limit(sa.bindparam("most"))
)
_RUN_AGAIN = (
    sa.update(task)
    .where(
        task.c.id.in_(sa.bindparam("ids", expanding=True)),
        task.c.state.in_(task_sources(TaskEvent.RUN_AGAIN)),
    )
    .values(
        state=sa.literal(task_target(TaskEvent.RUN_AGAIN), task.c.state.type),
        attempt=0,
        losses=0,
        turned_away=0,
        available_at_ms=0,
        **FREED,
    )
    .returning(task.c.id)
)
_TAKE_BACK = sa.delete(result).where(result.c.id.in_(sa.bindparam("ids", expanding=True)))


def run_again(
    tx: Transaction, job_key: int, *, after_index: int | None = None, limit: int = PIECE
) -> Swept:
    """Put some prompts that had no success back into the queue, those after `after_index`."""
    low, high = id_range(job_key)
    if after_index is not None:
        low = prompt_id(job_key, after_index + 1)
    found = tx.execute(_NOT_SUCCEEDED, {"low": low, "high": high, "most": limit}).all()
    again = _put_back(tx, job_key, {row.id: row.status for row in found})
    last = found[-1].id - prompt_id(job_key, 0) if len(found) == limit else None
    return Swept(prompts=again, last_index=last)


def can_run_again(tx: Transaction, job_key: int, indexes: Sequence[int]) -> set[int]:
    """Filter the indexes for prompts that ended without success."""
    first = prompt_id(job_key, 0)
    return {task_id - first for task_id in _ended_without_success(tx, job_key, indexes)}


def run_chosen_again(tx: Transaction, job_key: int, indexes: Sequence[int]) -> int:
    """Put these prompts back into the queue, as far as they ended without success."""
    return _put_back(tx, job_key, _ended_without_success(tx, job_key, indexes))


def _ended_without_success(
    tx: Transaction, job_key: int, indexes: Sequence[int]
) -> dict[int, TaskState]:
    found: dict[int, TaskState] = {}
    # An index that is too high would be the number of another job's prompt.
    ordered = sorted({index for index in indexes if 0 <= index < 1 << INDEX_BITS})
    for first in range(0, len(ordered), PIECE):
        ids = [prompt_id(job_key, index) for index in ordered[first : first + PIECE]]
        rows = tx.execute(
            sa.select(result.c.id, result.c.status).where(
                result.c.id.in_(ids),
                WITHOUT_SUCCESS,
                _WAS_NOT_REFUSED,
            )
        )
        found.update({row.id: row.status for row in rows})
    return found


def _put_back(tx: Transaction, job_key: int, status_of: dict[int, TaskState]) -> int:
    if not status_of:
        return 0
    again = tx.execute(_RUN_AGAIN, {"ids": list(status_of)}).scalars().all()
    tx.execute(_TAKE_BACK, {"ids": list(again)})
    attempts.forget(tx, again)
    tally = CounterChange()
    for task_id in again:
        tally.add(status_of[task_id], -1)
    count(tx, job_key, tally)
    return len(again)

"""Transitions of batches: pause, resume, update, reopen, cancel, end.

Each change is one guarded UPDATE by `domain.lifecycle`; a change that the batch's state forbids
raises `Conflict`, and one without effect does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from promptmill.domain.batches import BatchChanges
from promptmill.domain.errors import Conflict
from promptmill.domain.lifecycle import (
    TERMINAL_JOB_STATES,
    JobEvent,
    JobState,
    job_sources,
    job_target,
)
from promptmill.domain.limits import Limits, next_start_at_ms
from promptmill.store.batches import history
from promptmill.store.batches.jobs import BATCHES, expiry
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import FINISHED, PENDING, VISIBLE_BATCH, WITHOUT_SUCCESS, is_live
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import id_range, job, job_stats, result, task
from promptmill.store.downloads import planning
from promptmill.store.queue.bulk import IS_OUT_OF_TIME


@dataclass(frozen=True, slots=True, kw_only=True)
class EndingEarly:
    """Job that is being cancelled."""

    job_key: int
    abort_running: bool
    """Whether running calls are aborted; a job that its stop rule ends lets them finish."""


# --- change ----------------------------------------------------------------------------------


def request_pause(tx: Transaction, batch_id: str) -> bool:
    """Pause a batch; a paused one stays as it is. Return whether the state changed.

    Raises:
        NotFound: There is no batch of that id.
        Conflict: The batch has ended, or is being cancelled.
    """
    if BATCHES.move(tx, batch_id, JobEvent.PAUSE):
        return True
    state = BATCHES.state_of(tx, batch_id)
    if state is not JobState.PAUSED:
        raise Conflict(f"The batch is {state.value} and cannot be paused any more.")
    return False


def request_resume(tx: Transaction, batch_id: str) -> bool:
    """Resume a paused batch; any other stays as it is. Return whether the state changed.

    Raises:
        NotFound: There is no batch of that id.
        Conflict: The batch has ended, or is being cancelled.
    """
    started = job.c.started_at_ms.is_not(None)
    if BATCHES.move(tx, batch_id, JobEvent.RESUME, started, **_rate_anew(tx)):
        return True
    if BATCHES.move(tx, batch_id, JobEvent.RESUME_UNSTARTED, ~started):
        return True
    state = BATCHES.state_of(tx, batch_id)
    if state not in {JobState.QUEUED, JobState.RUNNING}:
        raise Conflict(f"The batch is {state.value}; only a paused one can be resumed.")
    return False


def request_cancel(tx: Transaction, batch_id: str) -> bool:
    """Request a batch's cancellation; return whether this request was the first.

    Raises:
        NotFound: There is no batch of that id.
        Conflict: The batch has ended.
    """
    if BATCHES.move(tx, batch_id, JobEvent.REQUEST_CANCEL):
        return True
    # A stop rule lets running calls finish; a client's cancellation does not.
    is_under_way = tx.execute(
        sa.update(job)
        .where(job.c.id == batch_id, VISIBLE_BATCH, job.c.state == JobState.CANCELLING)
        .values(stop_reason=None)
    ).rowcount
    if not is_under_way:
        state = BATCHES.state_of(tx, batch_id).value
        raise Conflict(f"The batch has already ended: it is {state}.")
    return False


_LAST_EVENT = (
    sa.select(job_stats.c.last_event).where(job_stats.c.job_key == job.c.key).scalar_subquery()
)


def _rate_anew(tx: Transaction) -> dict[str, Any]:
    """Columns that restart the measurement of the rate after a standstill."""
    return {"rate_since_ms": tx.now_ms(), "rate_since_event": _LAST_EVENT}


def update(tx: Transaction, batch_id: str, changes: BatchChanges) -> None:
    """Change fields of a batch in any state; the next claim uses them.

    Raises:
        NotFound: There is no batch of that id.
    """
    values: dict[str, Any] = {}
    if changes.max_concurrent is not None:
        values |= {"max_concurrent": changes.max_concurrent, "auto_concurrency": False}
    if changes.auto_concurrency:
        values["auto_concurrency"] = True
    if "auto_concurrency" in values:
        values["auto_state"] = None  # The earlier search does not apply to the new limit.
    if changes.rate_limit_delay_s is not None:
        delay = Limits(rate_limit_delay_s=changes.rate_limit_delay_s)
        values["rate_limit_delay_s"] = changes.rate_limit_delay_s
        # The old delay may end an hour from now; the new one counts from the same last start, which
        # may be as late as its permit allowed.
        was_ms = sa.cast(job.c.rate_limit_delay_s * 1000, sa.BigInteger)
        last_start_ms = sa.case(
            (job.c.rate_limit_delay_s > 0, job.c.next_start_at_ms - was_ms),
            else_=job.c.next_start_at_ms + 1,
        )
        values["next_start_at_ms"] = sa.case(
            (job.c.last_claimed_at_ms > 0, last_start_ms + next_start_at_ms(0, delay)), else_=0
        )
    if changes.priority is not None:
        values["priority"] = changes.priority
    if changes.label is not None:
        values["label"] = changes.label
    if changes.metadata is not None:
        values["metadata"] = dict(changes.metadata)
    if not values:
        BATCHES.state_of(tx, batch_id)
    elif not tx.execute(
        sa.update(job).where(job.c.id == batch_id, VISIBLE_BATCH).values(values)
    ).rowcount:
        raise BATCHES.not_found(batch_id)


def reopen(
    tx: Transaction,
    batch_id: str,
    *,
    expires_in_s: float | None,
    unless: frozenset[JobState] = frozenset({JobState.CANCELLING}),
) -> int:
    """Prepare a batch for prompts that run again, and return its key.

    An ended batch becomes live. A deadline that has passed is dropped, unless a new one is given.

    Raises:
        NotFound: There is no batch of that id.
        Conflict: The batch's state is one of `unless`.
    """
    # Counters are locked before the job, as when a failure is counted and stops the job.
    tx.execute(
        sa.select(job_stats.c.job_key)
        .join(job, job.c.key == job_stats.c.job_key)
        .where(job.c.id == batch_id)
        .with_for_update(of=job_stats)
    )
    row = tx.execute(
        sa.select(job.c.key, job.c.state, job.c.started_at_ms, job.c.expires_at_ms)
        .where(job.c.id == batch_id, VISIBLE_BATCH)
        .with_for_update(key_share=True)
    ).first()
    if row is None:
        raise BATCHES.not_found(batch_id)
    if row.state in unless:
        raise Conflict("The batch is being ended; try again when it has ended.")
    now = tx.now_ms()
    values: dict[str, Any] = {}
    if expires_in_s is not None:
        values["expires_at_ms"] = expiry(now, expires_in_s)
    elif row.expires_at_ms is not None and row.expires_at_ms <= now:
        values["expires_at_ms"] = None
    if row.state in TERMINAL_JOB_STATES:
        history.note_end(tx, row.key)
        event = JobEvent.RETRY if row.started_at_ms is not None else JobEvent.RETRY_UNSTARTED
        values |= {
            "state": job_target(event),
            "finished_at_ms": None,
            "error": None,
            "stop_reason": None,
            **_rate_anew(tx),
        }
    if values:
        tx.execute(sa.update(job).where(job.c.key == row.key).values(values))
    planning.await_again(tx, row.key)
    return int(row.key)


# --- end -------------------------------------------------------------------------------------


def ending_early(tx: Transaction) -> Sequence[EndingEarly]:
    """The jobs that are being cancelled, by a client or by their stop rule."""
    statement = sa.select(job.c.key, job.c.stop_reason).where(
        is_live(job), is_in(job.c.state, [JobState.CANCELLING])
    )
    return [
        EndingEarly(job_key=row.key, abort_running=row.stop_reason is None)
        for row in tx.execute(statement)
    ]


def out_of_time(tx: Transaction) -> Sequence[int]:
    """Keys of the jobs that have expired while prompts of theirs wait."""
    waiting = sa.exists().where(task.c.job_key == job.c.key, PENDING)
    statement = sa.select(job.c.key).where(IS_OUT_OF_TIME, waiting)
    return tx.execute(statement, {"now": tx.now_ms()}).scalars().all()


_LOCK_ENDED = (
    sa.select(job.c.key)
    .join(job_stats, job_stats.c.job_key == job.c.key)
    .where(is_live(job), job_stats.c.total == FINISHED)
    .order_by(job.c.key)
    .with_for_update(of=job, skip_locked=True, key_share=True)
)
_ENDED = (
    sa.select(
        job.c.key,
        job.c.id,
        job.c.state,
        job.c.stop_reason,
        job_stats.c.succeeded,
        job_stats.c.expired,
        job_stats.c.total,
    )
    .join(job_stats, job_stats.c.job_key == job.c.key)
    .where(
        job.c.key.in_(sa.bindparam("locked", expanding=True)),
        job_stats.c.total == FINISHED,
    )
    .order_by(job.c.key)
)


_ANY_THROUGH = (
    sa.select(job.c.key)
    .join(job_stats, job_stats.c.job_key == job.c.key)
    .where(is_live(job), job_stats.c.total == FINISHED)
    .limit(1)
)


def is_any_through(tx: Transaction) -> bool:
    """Whether `close_ended` would find a job to end."""
    return tx.execute(_ANY_THROUGH).first() is not None


def close_ended(tx: Transaction) -> Sequence[str]:
    """End every job whose prompts all have an outcome; return the ids of the ended jobs."""
    closed: list[str] = []
    locked = tx.execute(_LOCK_ENDED).scalars().all()
    # Counted again in a separate statement: the locking one joins the newest row of a job with
    # counters as old as its snapshot, and the job may have ended and run again since.
    for row in tx.execute(_ENDED, {"locked": locked}).all() if locked else ():
        event, error = _ending(tx, row)
        changed = tx.execute(
            sa.update(job)
            .where(job.c.key == row.key, job.c.state.in_(job_sources(event)))
            .values(state=job_target(event), finished_at_ms=tx.now_ms(), error=error)
        ).rowcount
        if changed:
            closed.append(row.id)
    return closed


def _ending(tx: Transaction, row: sa.Row[Any]) -> tuple[JobEvent, str | None]:
    if row.state is JobState.CANCELLING:
        if row.stop_reason is not None:
            return JobEvent.FAIL_STOPPED, row.stop_reason
        return JobEvent.CANCEL, None
    if row.expired:
        error = f"Time ran out before {row.expired} of the {row.total} prompts had an answer."
        return JobEvent.EXPIRE, error
    if row.succeeded:
        return JobEvent.COMPLETE, None
    low, high = id_range(row.key)
    first = tx.execute(
        sa.select(result.c.error)
        .where(result.c.id.between(low, high), WITHOUT_SUCCESS)
        .order_by(result.c.id)
        .limit(1)
    ).scalar()
    return JobEvent.FAIL, f"None of the {row.total} prompts succeeded; the first error: {first}"

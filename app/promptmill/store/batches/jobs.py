"""Batches as a whole: stored, read, listed, deleted.

Changes of a batch are in `transitions`, those of its prompts in `store.queue`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.access.keys import name_of
from promptmill.domain.batches import (
    Batch,
    BatchDraft,
    BatchKind,
    Counts,
    FailureLimit,
    IdempotencyKey,
    Usage,
)
from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.scheduling.downloads import Pull
from promptmill.domain.scheduling.forecast import Window
from promptmill.store.batches import throughput
from promptmill.store.db.database import Transaction
from promptmill.store.db.resources import Resource
from promptmill.store.db.sql import COUNTERS, FINISHED, RUNNING, VISIBLE_BATCH, is_live
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, job_stats, prompt, result, task
from promptmill.store.db.tables.history import job_history
from promptmill.store.db.tables.keys import api_key
from promptmill.store.downloads import planning
from promptmill.store.queue import attempts
from promptmill.store.queue.enqueue import enqueue
from promptmill.store.queue.prompt_groups import forget_groups

BATCHES: Final = Resource("batch", job, VISIBLE_BATCH)

# --- store -----------------------------------------------------------------------------------


def insert(
    tx: Transaction,
    draft: BatchDraft,
    *,
    batch_id: str,
    idempotency: IdempotencyKey | None = None,
    grouped: bool = True,
) -> None:
    """Store a batch with all its prompts, ready to be claimed when the transaction commits."""
    job_key = insert_row(
        tx,
        draft,
        batch_id=batch_id,
        state=JobState.QUEUED,
        total=len(draft.prompts),
        idempotency=idempotency,
    )
    enqueue(tx, job_key, draft.prompts, grouped=grouped)
    if draft.auto_pull:
        planning.note_models(tx, job_key, draft.prompts)


def insert_row(
    tx: Transaction,
    draft: BatchDraft,
    *,
    batch_id: str,
    state: JobState,
    total: int,
    idempotency: IdempotencyKey | None = None,
) -> int:
    """Store a batch without its prompts, and return its key."""
    now = tx.now_ms()
    job_key = tx.execute(
        sa.insert(job)
        .values(
            id=batch_id,
            kind=draft.kind.value,
            state=state,
            model=draft.model,
            max_concurrent=draft.limits.max_concurrent,
            auto_concurrency=draft.auto_concurrency,
            auto_pull=draft.auto_pull,
            awaits_models=draft.auto_pull,
            rate_limit_delay_s=draft.limits.rate_limit_delay_s,
            parameters=dict(draft.parameters),
            timeout_s=draft.timeout_s,
            max_attempts=draft.max_attempts,
            priority=draft.priority,
            label=draft.label,
            metadata=dict(draft.metadata),
            idempotency_key=idempotency.key if idempotency else None,
            body_hash=idempotency.body_hash if idempotency else None,
            created_at_ms=now,
            next_start_at_ms=0,
            last_claimed_at_ms=0,
            expires_at_ms=expiry(now, draft.expires_in_s),
            max_failures=draft.max_failures.text if draft.max_failures else None,
            most_failed=draft.max_failures.prompts_of(total) if draft.max_failures else None,
            fail_on=None if draft.fail_on is None else [code.value for code in draft.fail_on],
            key_id=draft.key_id,
        )
        .returning(job.c.key)
    ).scalar_one()
    tx.execute(
        sa.insert(job_stats).values(
            job_key=job_key,
            total=total,
            succeeded=0,
            failed=0,
            cancelled=0,
            expired=0,
            prompt_tokens=0,
            completion_tokens=0,
            last_event=0,
        )
    )
    return int(job_key)


def expiry(now_ms: int, expires_in_s: float | None) -> int | None:
    """Moment of expiry, rounded up; None: never."""
    return None if expires_in_s is None else now_ms + math.ceil(expires_in_s * 1000)


def prompts_without_outcome(tx: Transaction, *, key_id: str | None = None) -> int:
    """Number of prompts of all batches that wait or run, or of those of one API key."""
    left = job_stats.c.total - FINISHED
    statement = (
        sa.select(sa.func.coalesce(sa.func.sum(left), 0))
        .select_from(job)
        .join(job_stats, job_stats.c.job_key == job.c.key)
        .where(is_live(job))
    )
    if key_id is not None:
        statement = statement.where(job.c.key_id == key_id)
    return int(tx.execute(statement).scalar_one())


# --- read ------------------------------------------------------------------------------------

_AHEAD = job.alias("ahead")
_IS_QUEUED = sa.and_(is_live(_AHEAD), is_in(_AHEAD.c.state, [JobState.QUEUED]))
_NUMBER_AHEAD = (
    sa.select(sa.func.count())
    .select_from(_AHEAD)
    .where(
        _IS_QUEUED,
        sa.or_(
            _AHEAD.c.priority > job.c.priority,
            sa.and_(_AHEAD.c.priority == job.c.priority, _AHEAD.c.key < job.c.key),
        ),
    )
    .correlate(job)
    .scalar_subquery()
)
_POSITIONS = (
    sa.select(
        _AHEAD.c.key,
        sa.func.row_number().over(order_by=(_AHEAD.c.priority.desc(), _AHEAD.c.key)).label("place"),
    )
    .where(_IS_QUEUED)
    .subquery("positions")
)
"""Queue positions of all queued batches, for pages of batches."""


def _batch_rows(position: sa.ColumnElement[int]) -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            job,
            *COUNTERS,
            job_stats.c.last_event,
            sa.select(sa.func.count())
            .select_from(task)
            .where(task.c.job_key == job.c.key, RUNNING)
            .scalar_subquery()
            .label("running_now"),
            sa.case((is_in(job.c.state, [JobState.QUEUED]), position), else_=None).label(
                "queue_position"
            ),
            api_key.c.name.label("key_name"),
        )
        .join(job_stats, job_stats.c.job_key == job.c.key)
        .outerjoin(api_key, api_key.c.id == job.c.key_id)
        .where(VISIBLE_BATCH)
    )


_BATCHES = _batch_rows(_POSITIONS.c.place).outerjoin(_POSITIONS, _POSITIONS.c.key == job.c.key)
_BATCH = _batch_rows(_NUMBER_AHEAD + 1)
_BATCH_BY_ID = _BATCH.where(job.c.id == sa.bindparam("batch_id"))
_KEYS = sa.bindparam("keys", expanding=True, type_=sa.BigInteger)
# Both tables by key: PostgreSQL would read all of the second for a few rows of the first.
_BATCHES_BY_KEY = _BATCHES.where(job.c.key.in_(_KEYS), job_stats.c.job_key.in_(_KEYS))


def get(tx: Transaction, batch_id: str) -> Batch:
    """Read a batch; its counts are of one moment, because one statement reads them.

    Raises:
        NotFound: There is none of that id.
    """
    row = tx.execute(_BATCH_BY_ID, {"batch_id": batch_id}).first()
    if row is None:
        raise BATCHES.not_found(batch_id)
    return _batch(row, tx.now_ms(), throughput.windows(tx, [row]), planning.pulls_of(tx, [row]))


def page(tx: Transaction, *, limit: int, before: str | None = None) -> Sequence[Batch]:
    """List up to `limit` batches, newest first, created before the batch of id `before`.

    Batches that match a filter are found by `overview.page`.
    """
    # Ordered by id, as the cursor is: ids of one millisecond do not sort like keys.
    statement = _BATCHES.order_by(job.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(job.c.id < before)
    return _batches(tx, tx.execute(statement).all())


def of_keys(tx: Transaction, keys: Sequence[int]) -> Sequence[Batch]:
    """Read the batches of these keys, in any order; deleted ones are left out."""
    return _batches(tx, tx.execute(_BATCHES_BY_KEY, {"keys": list(keys)}).all() if keys else ())


def _batches(tx: Transaction, rows: Sequence[sa.Row[Any]]) -> Sequence[Batch]:
    now, windows, pulls = tx.now_ms(), throughput.windows(tx, rows), planning.pulls_of(tx, rows)
    return [_batch(row, now, windows, pulls) for row in rows]


def _batch(
    row: sa.Row[Any],
    now_ms: int,
    windows: Mapping[int, Window],
    pulls: Mapping[int, tuple[Pull, ...]],
) -> Batch:
    finished = row.succeeded + row.failed + row.cancelled + row.expired
    return Batch(
        kind=BatchKind(row.kind),
        key=row.key,
        id=row.id,
        state=JobState(row.state),
        model=row.model,
        limits=Limits(max_concurrent=row.max_concurrent, rate_limit_delay_s=row.rate_limit_delay_s),
        parameters=row.parameters,
        timeout_s=row.timeout_s,
        max_attempts=row.max_attempts,
        priority=row.priority,
        label=row.label,
        metadata=row.metadata,
        counts=Counts(
            total=row.total,
            pending=row.total - finished - row.running_now,
            running=row.running_now,
            succeeded=row.succeeded,
            failed=row.failed,
            cancelled=row.cancelled,
            expired=row.expired,
        ),
        usage=Usage(prompt_tokens=row.prompt_tokens, completion_tokens=row.completion_tokens),
        created_at_ms=row.created_at_ms,
        started_at_ms=row.started_at_ms,
        finished_at_ms=row.finished_at_ms,
        error=row.error,
        read_at_ms=now_ms,
        expires_at_ms=row.expires_at_ms,
        max_failures=None if row.max_failures is None else FailureLimit(row.max_failures),
        fail_on=None if row.fail_on is None else tuple(map(ErrorCode, row.fail_on)),
        last_event=row.last_event,
        auto_concurrency=bool(row.auto_concurrency),
        queue_position=row.queue_position,
        window=windows.get(row.key),
        auto_pull=bool(row.auto_pull),
        pulls=pulls.get(row.key, ()),
        key_name=name_of(row.key_id, row.key_name),
    )


# --- delete ----------------------------------------------------------------------------------


def purge_some(tx: Transaction, *, limit: int = 5_000) -> int:
    """Remove some rows of deleted batches, in one short transaction; 0 if none are left."""
    return BATCHES.purge_some(
        tx, prompt, limit=limit, purge_children=_purge_prompts, purge_row=_purge_row
    )


def _purge_prompts(tx: Transaction, first: int, last: int) -> None:
    for table in (result, task, prompt):
        tx.execute(sa.delete(table).where(table.c.id.between(first, last)))
    attempts.forget_between(tx, first, last)


def _purge_row(tx: Transaction, job_key: int) -> None:
    forget_groups(tx, job_key)
    planning.forget(tx, job_key)
    tx.execute(sa.delete(job_history).where(job_history.c.job_key == job_key))
    tx.execute(sa.delete(job_stats).where(job_stats.c.job_key == job_key))
    tx.execute(sa.delete(job).where(job.c.key == job_key))

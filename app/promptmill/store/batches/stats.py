"""Numbers of the whole database, for metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from promptmill.domain.lifecycle import JobState
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import FINISHED, RUNNING, VISIBLE_BATCH, is_live
from promptmill.store.db.tables.batches import job, job_stats, task

_STARTS: frozenset[JobState] = frozenset({JobState.QUEUED, JobState.RUNNING})
_RUNNING = (
    sa.select(task.c.job_key, sa.func.count().label("prompts"))
    .where(RUNNING)
    .group_by(task.c.job_key)
    .cte("running")
)
_ALIVE = (
    sa.select(
        job.c.state,
        job.c.model,
        job.c.awaits_models,
        job.c.created_at_ms,
        job.c.last_claimed_at_ms,
        (job_stats.c.total - FINISHED).label("left"),
        sa.func.coalesce(_RUNNING.c.prompts, 0).label("running"),
    )
    .join(job_stats, job_stats.c.job_key == job.c.key)
    .outerjoin(_RUNNING, _RUNNING.c.job_key == job.c.key)
    .where(is_live(job), VISIBLE_BATCH)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """State of the queue at one moment."""

    batches: Mapping[JobState, int]
    pending: Mapping[str, int]
    """Waiting prompts, by the model of their batch."""
    running: int
    oldest_wait_ms: int
    """Longest time since a batch with prompts to start got a start; 0 without such a batch."""


def read_queue(tx: Transaction) -> QueueStats:
    """Count batches and prompts that have not ended, in one statement."""
    batches, pending = Counter[JobState](), Counter[str]()
    running = oldest_wait_ms = 0
    rows = tx.execute(_ALIVE).all()
    now = tx.now_ms()
    for row in rows:
        batches[row.state] += 1
        running += row.running
        waiting = row.left - row.running
        pending[row.model] += waiting
        if waiting and row.state in _STARTS and not row.awaits_models:
            since = max(row.last_claimed_at_ms, row.created_at_ms)
            oldest_wait_ms = max(oldest_wait_ms, now - since)
    return QueueStats(
        batches=batches, pending=pending, running=running, oldest_wait_ms=oldest_wait_ms
    )


def postgresql_bytes(tx: Transaction) -> int:
    """Size of PostgreSQL's database."""
    return int(tx.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())

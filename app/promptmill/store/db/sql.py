"""Fragments of SQL that several statements share.

A statement uses a partial index only if it has the index's condition word for word. Conditions of
states are therefore taken from here, by indexes and by statements.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.lifecycle import LIVE_JOB_STATES, JobState, TaskState
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, job_stats, result, task

# --- states ----------------------------------------------------------------------------------


def is_live(rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """Condition that a batch or benchmark is visible to clients and has not ended."""
    return is_in(rows.c.state, LIVE_JOB_STATES)


def is_going(jobs: sa.FromClause) -> sa.ColumnElement[bool]:
    """Condition that prompts of a job may start: it is live, not paused, and not ending."""
    held_back = (JobState.PAUSED, JobState.CANCELLING)
    return sa.and_(is_live(jobs), ~is_in(jobs.c.state, held_back), ~jobs.c.awaits_models)


VISIBLE_BATCH: Final = sa.and_(
    job.c.deleted_at_ms.is_(None), ~is_in(job.c.state, [JobState.RECEIVING])
)
"""Condition that a batch is visible to clients: not deleted, and completely uploaded."""
PENDING: Final = is_in(task.c.state, [TaskState.PENDING])
RUNNING: Final = is_in(task.c.state, [TaskState.RUNNING])
STILL_RUNNING: Final = is_in(sa.func.coalesce(task.c.state, sa.text("''")), [TaskState.RUNNING])
"""`RUNNING` for tasks that are named by their ids, written so that no partial index matches.

Until it is vacuumed such an index holds an entry for every task that ever ran, and PostgreSQL,
which assumes that it is small, would read them all at every flush.
"""
IS_CALL: Final = task.c.host_key > 0
"""Condition that a running task takes a slot, and is not a text that shares another's call.

Both databases find it in an index in this form; SQLite does not use the index with IS NOT NULL.
"""
WITHOUT_SUCCESS: Final = ~is_in(result.c.status, [TaskState.SUCCEEDED])
"""Condition that a result is an error."""

# --- leases ----------------------------------------------------------------------------------

NO_LEASE: Final[dict[str, Any]] = {
    "lease_token": None,
    "lease_owner": None,
    "lease_until_ms": None,
}
"""Columns of a row without a lease."""
NOW: Final = sa.bindparam("now", type_=sa.BigInteger)
"""Parameter of a statement for the current moment, in milliseconds."""


def is_unleased(rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """Condition that no worker has a lease of the row, at the moment `now`."""
    return sa.or_(rows.c.lease_until_ms.is_(None), rows.c.lease_until_ms < NOW)


# --- counters --------------------------------------------------------------------------------

OUTCOMES: Final = ("succeeded", "failed", "cancelled", "expired")
"""Counters of a job's prompts that have an outcome."""
FINISHED: Final = (
    job_stats.c.succeeded + job_stats.c.failed + job_stats.c.cancelled + job_stats.c.expired
)
"""Number of a job's prompts that have an outcome."""
COUNTERS: Final = tuple(
    job_stats.c[name] for name in ("total", *OUTCOMES, "prompt_tokens", "completion_tokens")
)
"""Counters that make up the counts and the usage of a batch."""

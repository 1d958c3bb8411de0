"""Fragments of SQL that several statements share, each written once.

The rule to know: a statement finds a partial index only if it has the index's condition word for
word. So a condition of states is taken from here, by the index and by the statements.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.lifecycle import LIVE_JOB_STATES, JobState, TaskState
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, job_stats, result, task

# --- states ----------------------------------------------------------------------------------


def is_live(rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that a batch or benchmark is seen by clients and has not ended."""
    return is_in(rows.c.state, LIVE_JOB_STATES)


def is_going(jobs: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that prompts of a job may start: it is live, not held back, and not ending."""
    held_back = (JobState.PAUSED, JobState.CANCELLING)
    return sa.and_(is_live(jobs), ~is_in(jobs.c.state, held_back), ~jobs.c.awaits_models)


VISIBLE_BATCH: Final = sa.and_(
    job.c.deleted_at_ms.is_(None), ~is_in(job.c.state, [JobState.RECEIVING])
)
"""The condition of a batch that clients can see: not deleted, and completely uploaded."""
PENDING: Final = is_in(task.c.state, [TaskState.PENDING])
RUNNING: Final = is_in(task.c.state, [TaskState.RUNNING])
STILL_RUNNING: Final = is_in(sa.func.coalesce(task.c.state, sa.text("''")), [TaskState.RUNNING])
"""The same as `RUNNING`, of tasks that are named by their ids. Written so that no partial index
fits: until it is vacuumed such an index holds an entry for every task that ever ran, and
PostgreSQL, which takes it for small, would read them all at every flush."""
IS_CALL: Final = task.c.host_key > 0
"""The condition that a running task takes a slot, and is no text that another one's call takes
along. Both databases find it in an index so, which SQLite does not with IS NOT NULL."""
WITHOUT_SUCCESS: Final = ~is_in(result.c.status, [TaskState.SUCCEEDED])
"""The condition of a result that is an error."""

# --- leases ----------------------------------------------------------------------------------

NO_LEASE: Final[dict[str, Any]] = {
    "lease_token": None,
    "lease_owner": None,
    "lease_until_ms": None,
}
"""The columns of a row that no worker has leased."""
NOW: Final = sa.bindparam("now", type_=sa.BigInteger)
"""The moment that a statement is told, in milliseconds."""


def is_unleased(rows: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that no worker has a lease of the row, at the moment `now`."""
    return sa.or_(rows.c.lease_until_ms.is_(None), rows.c.lease_until_ms < NOW)


# --- counters --------------------------------------------------------------------------------

OUTCOMES: Final = ("succeeded", "failed", "cancelled", "expired")
"""The counters of a job's prompts that have an outcome."""
FINISHED: Final = (
    job_stats.c.succeeded + job_stats.c.failed + job_stats.c.cancelled + job_stats.c.expired
)
"""Prompts of a job that have an outcome."""
COUNTERS: Final = tuple(
    job_stats.c[name] for name in ("total", *OUTCOMES, "prompt_tokens", "completion_tokens")
)
"""The counters that make the counts and the usage of a batch."""

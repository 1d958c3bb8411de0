"""Stored moments after a clock was set back: what lies too far ahead is made due.

A machine may start with a clock that is an hour ahead and then be told the time. What was written
meanwhile lies an hour in the future: when a prompt may be tried again, when a batch may start its
next call, when a lease ends.
"""

from __future__ import annotations

import sqlalchemy as sa

from promptmill.domain.limits import MOST_START_WINDOW_S
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import job, job_group, task

_LIVE = sa.text("job.state IN ('queued', 'running', 'paused', 'cancelling')")
_LEASES_AHEAD = 10
"""Leases ahead that a lease may end; the workers of one database may have different ones."""

_FAR_START = job.c.next_start_at_ms > sa.bindparam("now", type_=sa.BigInteger) + sa.cast(
    (job.c.rate_limit_delay_s + MOST_START_WINDOW_S) * 1000, sa.BigInteger
)
_STARTS = (
    sa.update(job)
    .where(_LIVE, _FAR_START)
    # How long ago the last start was is not known any more, so the delay counts from now.
    .values(
        next_start_at_ms=sa.bindparam("now", type_=sa.BigInteger)
        + sa.cast(job.c.rate_limit_delay_s * 1000, sa.BigInteger)
    )
)
_TURNS = (
    sa.update(job)
    .where(_LIVE, job.c.last_claimed_at_ms > sa.bindparam("far"))
    .values(last_claimed_at_ms=sa.bindparam("now"))
)
_WAITS = (
    sa.update(task)
    .where(
        sa.text("task.state = 'pending'"),
        task.c.available_at_ms > sa.bindparam("far"),
        # By the index of what is pending, which begins with these two.
        sa.tuple_(task.c.job_key, task.c.group_key).in_(
            sa.select(job_group.c.job_key, job_group.c.group_key)
            .join(job, job.c.key == job_group.c.job_key)
            .where(_LIVE)
        ),
    )
    .values(available_at_ms=sa.bindparam("now"))
)
_LEASES = (
    sa.update(task)
    .where(sa.text("task.state = 'running'"), task.c.lease_until_ms > sa.bindparam("far"))
    .values(lease_until_ms=sa.bindparam("far"))
)


def bring_near(tx: Transaction, *, longest_wait_ms: int, lease_ms: int) -> None:
    """Make due what lies further ahead than any wait can be.

    `longest_wait_ms` is the most that a prompt waits for its next attempt.
    """
    now = tx.now_ms()
    # Tasks before jobs, as whoever records a failure and then stops the job locks them.
    tx.execute(_LEASES, {"far": now + _LEASES_AHEAD * lease_ms})
    tx.execute(_WAITS, {"now": now, "far": now + longest_wait_ms})
    tx.execute(_STARTS, {"now": now})
    tx.execute(_TURNS, {"now": now, "far": now + lease_ms})

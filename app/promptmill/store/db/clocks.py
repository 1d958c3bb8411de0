"""Repair of stored moments after a clock was set back: those too far ahead become due.

A machine may start with a clock that is an hour ahead and then be corrected. Moments stored
meanwhile lie an hour in the future: next attempts, next starts, ends of leases, usage limits.
"""

from __future__ import annotations

import sqlalchemy as sa

from promptmill.domain.limits import MOST_START_WINDOW_S
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import PENDING, RUNNING, is_live
from promptmill.store.db.tables.batches import job, job_group, task
from promptmill.store.db.tables.usage_limits import host_limit

_LEASES_AHEAD = 10
"""Number of leases ahead that a lease may end; workers of one database may differ."""

_FAR_START = sa.bindparam("now", type_=sa.BigInteger) + sa.cast(
    (job.c.rate_limit_delay_s + MOST_START_WINDOW_S) * 1000, sa.BigInteger
)
"""Latest moment of a next start: the last start was permitted just now, and may be late."""
_STARTS = (
    sa.update(job)
    .where(is_live(job), job.c.next_start_at_ms > _FAR_START)
    # The moment of the last permit is not stored, nor how late its start may be.
    .values(
        next_start_at_ms=sa.case(
            (job.c.rate_limit_delay_s > 0, _FAR_START),
            else_=sa.bindparam("now", type_=sa.BigInteger),
        )
    )
)
_TURNS = (
    sa.update(job)
    .where(is_live(job), job.c.last_claimed_at_ms > sa.bindparam("far"))
    .values(last_claimed_at_ms=sa.bindparam("now"))
)
_WAITS = (
    sa.update(task)
    .where(
        PENDING,
        task.c.available_at_ms > sa.bindparam("far"),
        # A refused prompt may wait for as long as a host may request.
        sa.or_(task.c.turned_away == 0, task.c.available_at_ms > sa.bindparam("far_limit")),
        # Uses the index of pending tasks, which begins with these two columns.
        sa.tuple_(task.c.job_key, task.c.group_key).in_(
            sa.select(job_group.c.job_key, job_group.c.group_key)
            .join(job, job.c.key == job_group.c.job_key)
            .where(is_live(job))
        ),
    )
    .values(available_at_ms=sa.bindparam("now"))
)
_LEASES = (
    sa.update(task)
    .where(RUNNING, task.c.lease_until_ms > sa.bindparam("far"))
    .values(lease_until_ms=sa.bindparam("far"))
)
_LIMITS = sa.delete(host_limit).where(host_limit.c.until_ms > sa.bindparam("far_limit"))


def bring_near(
    tx: Transaction, *, longest_wait_ms: int, longest_limit_ms: int, lease_ms: int
) -> None:
    """Make stored moments due that are further ahead than any wait can be.

    `longest_wait_ms` is the most that a prompt waits for its next attempt, `longest_limit_ms` the
    most that a host's `Retry-After` counts for.
    """
    now = tx.now_ms()
    # Tasks are locked before jobs, as when a failure is recorded and stops the job.
    tx.execute(_LEASES, {"far": now + _LEASES_AHEAD * lease_ms})
    far_limit = now + max(longest_limit_ms, longest_wait_ms)
    tx.execute(_WAITS, {"now": now, "far": now + longest_wait_ms, "far_limit": far_limit})
    tx.execute(_LIMITS, {"far_limit": far_limit})
    tx.execute(_STARTS, {"now": now})
    tx.execute(_TURNS, {"now": now, "far": now + lease_ms})

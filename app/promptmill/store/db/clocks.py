"""Stored moments after a clock was set back: what lies too far ahead is made due.

A machine may start with a clock that is an hour ahead and then be told the time. What was written
meanwhile lies an hour in the future: when a prompt may be tried again, when a batch may start its
next call, when a lease ends, until when a host takes nothing of a model.
"""

from __future__ import annotations

import sqlalchemy as sa

from promptmill.domain.limits import MOST_START_WINDOW_S
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import PENDING, RUNNING, is_live
from promptmill.store.db.tables.batches import job, job_group, task
from promptmill.store.db.tables.usage_limits import host_limit

_LEASES_AHEAD = 10
"""Leases ahead that a lease may end; the workers of one database may have different ones."""

_FAR_START = sa.bindparam("now", type_=sa.BigInteger) + sa.cast(
    (job.c.rate_limit_delay_s + MOST_START_WINDOW_S) * 1000, sa.BigInteger
)
"""The latest moment of a next start: the last one was permitted just now, and may come late."""
_STARTS = (
    sa.update(job)
    .where(is_live(job), job.c.next_start_at_ms > _FAR_START)
    # When the last start was permitted is not known any more, nor how late it may come.
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
        # A prompt that was turned away may wait for as long as a host may ask for.
        sa.or_(task.c.turned_away == 0, task.c.available_at_ms > sa.bindparam("far_limit")),
        # By the index of what is pending, which begins with these two.
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
    """Make due what lies further ahead than any wait can be.

    `longest_wait_ms` is the most that a prompt waits for its next attempt, `longest_limit_ms` the
    most that a host's `Retry-After` counts for.
    """
    now = tx.now_ms()
    # Tasks before jobs, as whoever records a failure and then stops the job locks them.
    tx.execute(_LEASES, {"far": now + _LEASES_AHEAD * lease_ms})
    far_limit = now + max(longest_limit_ms, longest_wait_ms)
    tx.execute(_WAITS, {"now": now, "far": now + longest_wait_ms, "far_limit": far_limit})
    tx.execute(_LIMITS, {"far_limit": far_limit})
    tx.execute(_STARTS, {"now": now})
    tx.execute(_TURNS, {"now": now, "far": now + lease_ms})

"""Prompts that go back to the queue after a call: when they may be claimed, and what it cost."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from promptmill.domain.lifecycle import JobEvent, JobState, TaskEvent, job_target, task_target
from promptmill.domain.outcomes import Failed
from promptmill.domain.retry import TryAgain
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import FINISHED, RUNNING, STILL_RUNNING
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, job_stats, task
from promptmill.store.hosts.usage_limits import Limited
from promptmill.store.queue.bulk import FREED
from promptmill.store.queue.leases import Completion, Lease


def _is_held_back(completion: Completion) -> bool:
    """Whether the prompt waits with its whole group, and so keeps its place in the group."""
    again = completion.decision
    return isinstance(again, TryAgain) and again.waits_with_model and completion.lease.load_key != 0


def limits_of(returned: Sequence[Completion]) -> list[Limited]:
    """Usage limits that these prompts have met, and that apply to their groups."""
    return [
        Limited(
            host_key=each.lease.host_key,
            group_key=each.lease.load_key,
            wait_ms=round((each.outcome.retry_after_s or 0.0) * 1000),
            error=each.outcome.message,
        )
        for each in returned
        if isinstance(each.outcome, Failed) and _is_held_back(each)
    ]


_PUT_BACK = (
    sa.update(task)
    .where(
        task.c.id == sa.bindparam("put_back"),
        task.c.lease_token == sa.bindparam("token"),
        STILL_RUNNING,
    )
    .values(
        state=sa.literal(task_target(TaskEvent.RETRY), task.c.state.type),
        attempt=task.c.attempt - sa.bindparam("uncharged"),
        losses=task.c.losses + sa.bindparam("lost"),
        turned_away=task.c.turned_away + sa.bindparam("turned_away"),
        splits=task.c.splits + sa.bindparam("splits"),
        available_at_ms=sa.bindparam("available_at"),
        **FREED,
    )
)


def put_back(tx: Transaction, completion: Completion, again: TryAgain) -> bool:
    """Put a task back into the queue; returns False when its lease was lost."""
    put_back = tx.execute(
        _PUT_BACK,
        {
            "put_back": completion.lease.task_id,
            "token": completion.lease.token,
            "uncharged": 0 if again.charged else 1,
            "lost": 1 if again.lost else 0,
            "turned_away": 1 if again.turned_away else 0,
            "splits": 1 if again.splits else 0,
            "available_at": (
                completion.lease.available_at_ms
                if again.keeps_place or _is_held_back(completion)
                else tx.now_ms() + int(again.wait_s * 1000)
            ),
        },
    )
    return bool(put_back.rowcount)


_OPEN = (
    sa.select(job.c.key)
    .where(
        job.c.key.in_(sa.bindparam("keys", expanding=True)), is_in(job.c.state, [JobState.RUNNING])
    )
    .with_for_update(skip_locked=True)
)
_UNSTART = (
    sa.update(job)
    .where(
        job.c.key.in_(sa.bindparam("keys", expanding=True)),
        ~sa.exists().where(task.c.job_key == job.c.key, RUNNING),
        sa.exists().where(
            job_stats.c.job_key == job.c.key, job_stats.c.last_event == 0, FINISHED == 0
        ),
    )
    .values(state=sa.literal(job_target(JobEvent.UNSTART), job.c.state.type), started_at_ms=None)
)


def unstart_jobs(tx: Transaction, returned: Sequence[Completion]) -> None:
    """Return jobs to `queued` without a call that ran, because hosts refused their prompts.

    Never waiting for a job's row, because tasks and counters are locked already: a row that another
    transaction has is being claimed from, and what is claimed runs.
    """
    keys = {
        each.lease.job_key
        for each in returned
        if isinstance(each.decision, TryAgain)
        and each.decision.turned_away
        and each.lease.attempt == 1
        and not each.lease.losses
    }
    if not keys:
        return
    # Locked by a statement of its own, so that the next one sees what was committed before.
    locked = tx.execute(_OPEN, {"keys": sorted(keys)}).scalars().all()
    if locked:
        tx.execute(_UNSTART, {"keys": locked})


_PERMITTED = (
    sa.select(job.c.key)
    .where(
        job.c.key == sa.bindparam("job_key"),
        job.c.last_permit == sa.bindparam("token"),
        job.c.rate_limit_delay_s == sa.bindparam("delay_s", type_=sa.Float),
    )
    .with_for_update(skip_locked=True)
    .cte("permitted")
)
_TAKE_PERMIT_BACK = (
    sa.update(job)
    .where(job.c.key.in_(sa.select(_PERMITTED.c.key)))
    .values(next_start_at_ms=sa.bindparam("permitted_at"))
)


def take_permit_back(tx: Transaction, lease: Lease) -> None:
    """Return an unused start permit: the job's next prompt may start at once.

    What was allowed at the permit's moment is allowed since. Not when another start was permitted
    since, or the delay is another one; and never waiting for the job's row, because tasks and
    counters are locked already: then the delay passes once for nothing.
    """
    tx.execute(
        _TAKE_PERMIT_BACK,
        {
            "job_key": lease.job_key,
            "token": lease.token,
            "delay_s": lease.limits.rate_limit_delay_s,
            "permitted_at": lease.claimed_at_ms,
        },
    )

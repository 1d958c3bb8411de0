"""The counters of a job: one UPDATE per job and flush, in a row that claims do not lock.

The rule to know: the row's lock also orders a job's results. Whoever stores some draws their
numbers here, in the same transaction, so that numbers become visible in their order, and one who
follows a job misses nothing by asking for what lies above the last number seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from promptmill.domain.lifecycle import JobEvent, TaskState, job_sources, job_target
from promptmill.store.db.compiled import Prepared
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import FINISHED, OUTCOMES
from promptmill.store.db.tables.batches import job, job_stats


@dataclass(slots=True, kw_only=True)
class CounterChange:
    """Change of a job's counters; negative numbers revert results of prompts that run again."""

    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    setbacks: int = 0
    """Calls that found the host busy or timed out."""
    events: int = 0
    """Number of results stored with the outcomes, which are numbered."""

    def add(self, status: TaskState, number: int = 1) -> None:
        """Count prompts of that outcome."""
        match status:
            case TaskState.SUCCEEDED:
                self.succeeded += number
            case TaskState.FAILED:
                self.failed += number
            case TaskState.CANCELLED:
                self.cancelled += number
            case TaskState.EXPIRED:
                self.expired += number
            case TaskState.PENDING | TaskState.RUNNING:
                raise ValueError(f"{status.value} is not an outcome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A job's counters after an update."""

    first_event: int
    """Number of the first result counted with the change."""
    failed: int
    total: int
    all_done: bool
    """Whether every prompt has an outcome."""
    stopped: bool
    """Whether the job's stop rule has just ended the job."""


_ADDED = (*OUTCOMES, "prompt_tokens", "completion_tokens", "setbacks")

_COUNT = Prepared(
    sa.update(job_stats)
    .where(job_stats.c.job_key == sa.bindparam("counted_job"))
    .values(
        {name: job_stats.c[name] + sa.bindparam(f"more_{name}") for name in _ADDED}
        | {"last_event": job_stats.c.last_event + sa.bindparam("events")}
    )
    .returning(
        job_stats.c.last_event, job_stats.c.failed, job_stats.c.total, FINISHED.label("finished")
    )
)


def count(tx: Transaction, job_key: int, tally: CounterChange) -> Counted | None:
    """Add to a job's counters; several jobs are to be counted in the order of their keys.

    None when the job is gone.

    More failures may be more than the job bears: then it is stopped here, in the transaction that
    counts them, so that no claim after it starts another prompt.
    """
    row = _COUNT.run(
        tx,
        {"counted_job": job_key, "events": tally.events}
        | {f"more_{name}": getattr(tally, name) for name in _ADDED},
    ).one_or_none()
    if row is None:
        return None
    stopped = tally.failed > 0 and _stop_if_too_many_failed(tx, job_key, row.failed, row.total)
    return Counted(
        stopped=stopped,
        first_event=row.last_event - tally.events + 1,
        failed=row.failed,
        total=row.total,
        all_done=row.finished >= row.total,
    )


# The job's row is locked after the counters here. A claim that holds it never waits for counters.
_STOP = (
    sa.update(job)
    .where(
        job.c.key == sa.bindparam("stopped_job"),
        job.c.most_failed < sa.bindparam("failed"),
        job.c.state.in_(job_sources(JobEvent.STOP)),
    )
    .values(
        state=sa.literal(job_target(JobEvent.STOP), job.c.state.type),
        stop_reason=sa.bindparam("reason"),
    )
)


def stop_if_too_many_failed(tx: Transaction, job_key: int) -> bool:
    """Stop a job that begins with more failed prompts than it bears."""
    counted = sa.select(job_stats.c.failed, job_stats.c.total).where(job_stats.c.job_key == job_key)
    row = tx.execute(counted).one()
    return _stop_if_too_many_failed(tx, job_key, row.failed, row.total)


def _stop_if_too_many_failed(tx: Transaction, job_key: int, failed: int, total: int) -> bool:
    reason = (
        f"{failed} of {total} prompts failed, more than `max_failures` allows; what had not started"
        " was not run."
    )
    parameters = {"stopped_job": job_key, "failed": failed, "reason": reason}
    return tx.execute(_STOP, parameters).rowcount > 0

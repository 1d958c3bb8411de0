"""Candidates: the jobs that may start something at a host now, in order, and the next due time.

The order: the highest priority, raised by waiting; then, with an affinity, what suits the host;
then who waited longest. States stand in the SQL as literals: with a bound parameter PostgreSQL's
generic plan misses the partial indexes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import sqlalchemy as sa

from promptmill.store.db.compiled import Prepared, id_pairs, ids_in, pairs_in
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import IS_CALL, PENDING, RUNNING, is_going
from promptmill.store.db.tables.batches import host, host_group, job, job_group, model_group, task
from promptmill.store.hosts import model_switching, usage_limits
from promptmill.store.hosts.exclusivity import running_at
from promptmill.store.queue.leases import Affinity, HostShare

NEVER_MS = 1 << 53
"""A time so long that it means never."""

_OTHER = job.alias("other")
HOST_IS_FREE = ~(
    sa.select(sa.literal(1))
    .where(
        host.c.key == sa.bindparam("at_host"),
        sa.or_(host.c.held_by.is_not(None), host.c.closed_at_ms.is_not(None)),
    )
    .exists()
)
"""The condition that no benchmark holds the host exclusively, and that it is in service."""

_RUNNING_OF_JOB = (
    sa.select(sa.func.count())
    .select_from(task)
    .where(task.c.job_key == job.c.key, RUNNING, IS_CALL)
).scalar_subquery()
_OTHER_GROUP = job_group.alias("other_group")
_FIRST_IN_TURN = 16
_SOME_GOING = (
    sa.select(sa.literal(1))
    .select_from(_OTHER)
    .join(_OTHER_GROUP, _OTHER_GROUP.c.job_key == _OTHER.c.key)
    .where(is_going(_OTHER))
    .limit(_FIRST_IN_TURN + 1)
    .subquery()
)
_GOING_JOBS = sa.select(sa.func.count()).select_from(_SOME_GOING).scalar_subquery()
"""Pairs of job and group that may start something sooner or later, counted up to a bound."""
_WAITED_SINCE = sa.case(
    (job.c.last_claimed_at_ms > 0, job.c.last_claimed_at_ms), else_=job.c.created_at_ms
)
_AGED_PRIORITY = (
    job.c.priority
    + (sa.bindparam("now", type_=sa.BigInteger) - _WAITED_SINCE)
    // sa.bindparam("aging", type_=sa.BigInteger)
).desc()
_IN_TURN = (job.c.last_claimed_at_ms, job.c.key, job_group.c.group_key)
_MAY_START = (
    is_going(job),
    job.c.next_start_at_ms <= sa.bindparam("now"),
    sa.or_(job.c.expires_at_ms.is_(None), job.c.expires_at_ms > sa.bindparam("now")),
)
_CLAIMABLE_ROWS = (
    sa.select(
        job.c.key,
        job.c.kind,
        job.c.model,
        job.c.parameters,
        job.c.timeout_s,
        job.c.max_attempts,
        job.c.max_concurrent,
        job.c.rate_limit_delay_s,
        job.c.fail_on,
        job_group.c.group_key,
        job_group.c.load_key,
        _RUNNING_OF_JOB.label("running"),
        _GOING_JOBS.label("going"),
    )
    .join(job_group, job_group.c.job_key == job.c.key)
    .where(
        *_MAY_START,
        model_switching.HAS_WORK,
        usage_limits.allows(job_group.c.load_key),
        job.c.max_concurrent > _RUNNING_OF_JOB,
        HOST_IS_FREE,
    )
)
_CLAIMABLE = _CLAIMABLE_ROWS.order_by(_AGED_PRIORITY, *_IN_TURN).limit(1)
RANK_ELSEWHERE = 2
_LEFT_MS = 5_000
"""Milliseconds without a start after which a job is no longer left to another host."""
_RANK = sa.case(
    (
        sa.and_(
            job_group.c.group_key == sa.bindparam("turn_of"),
            # A host that helped another one with its group leaves it when there is its own.
            sa.or_(
                sa.bindparam("leave", type_=sa.Integer) == 0,
                model_group.c.last_host_key.is_(None),
                model_group.c.last_host_key == sa.bindparam("at_host"),
            ),
        ),
        0,
    ),
    (
        sa.and_(
            model_group.c.last_host_key.is_not(None),
            model_group.c.last_host_key != sa.bindparam("at_host"),
            sa.or_(
                job.c.last_claimed_at_ms == 0,
                job.c.last_claimed_at_ms > sa.bindparam("now", type_=sa.BigInteger) - _LEFT_MS,
            ),
        ),
        RANK_ELSEWHERE,
    ),
    else_=1,
)


def _by_affinity(rows: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    return rows.outerjoin(model_group, model_group.c.key == job_group.c.group_key).order_by(
        _AGED_PRIORITY,
        # Who never had a turn does not wait for the end of another one's.
        sa.case((job.c.last_claimed_at_ms == 0, 0), else_=1),
        _RANK,
        *_IN_TURN,
    )


_CLAIMABLE_BY_AFFINITY = _by_affinity(
    _CLAIMABLE_ROWS.add_columns(
        model_group.c.last_host_key, model_group.c.last_run_ms, _RANK.label("rank")
    )
).limit(1)
# No task is looked at: that is what makes a look at thousands of jobs dear.
_IN_TURN_ROWS = (
    sa.select(job.c.key)
    .join(job_group, job_group.c.job_key == job.c.key)
    .where(*_MAY_START, usage_limits.allows(job_group.c.load_key))
)


def _locked(statement: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
    return statement.with_for_update(of=job, skip_locked=True, key_share=True)


def runs_group(group: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether the host runs the group now."""
    return (
        sa.select(sa.literal(1))
        .where(host_group.c.host_key == sa.bindparam("at_host"), host_group.c.group_key == group)
        .exists()
    )


def _both(statement: sa.Select[*tuple[Any, ...]]) -> dict[bool, Prepared]:
    """The statement for all groups, and for the groups that the host runs."""
    return {
        False: Prepared(statement),
        True: Prepared(statement.where(runs_group(job_group.c.load_key))),
    }


def due_tasks(*conditions: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
    """The tasks of the claimed job and group that may start, locked, in their order."""
    return (
        sa.select(task.c.id)
        .where(
            task.c.job_key == sa.bindparam("claimed_job"),
            task.c.group_key == sa.bindparam("claimed_group"),
            PENDING,
            task.c.available_at_ms <= sa.bindparam("now"),
            # Again, now that the job is locked: see `exclusivity.wait_for_claims`.
            HOST_IS_FREE,
            *conditions,
        )
        .order_by(task.c.available_at_ms, task.c.id)
        .limit(sa.bindparam("most"))
        .with_for_update(of=task, skip_locked=True)
    )


_NOT_SEEN = ~pairs_in(job.c.key, job_group.c.group_key, "seen")
_AMONG = ids_in(job.c.key, "among")
_CLAIMABLE_JOB = _both(_locked(_CLAIMABLE))
_OTHER_CLAIMABLE_JOB = _both(_locked(_CLAIMABLE.where(_NOT_SEEN)))
_JOB_BY_AFFINITY = _both(_locked(_CLAIMABLE_BY_AFFINITY))
_OTHER_JOB_BY_AFFINITY = _both(_locked(_CLAIMABLE_BY_AFFINITY.where(_NOT_SEEN)))
_JOB_AMONG = _both(_locked(_CLAIMABLE.where(_NOT_SEEN, _AMONG)))
_JOB_AMONG_BY_AFFINITY = _both(_locked(_CLAIMABLE_BY_AFFINITY.where(_NOT_SEEN, _AMONG)))
_SEVERAL = _both(_CLAIMABLE.limit(_FIRST_IN_TURN))
_SEVERAL_BY_AFFINITY = _both(_CLAIMABLE_BY_AFFINITY.limit(_FIRST_IN_TURN))
_FIRST = _both(_IN_TURN_ROWS.order_by(_AGED_PRIORITY, *_IN_TURN).limit(_FIRST_IN_TURN))
_FIRST_BY_AFFINITY = _both(_by_affinity(_IN_TURN_ROWS).limit(_FIRST_IN_TURN))
_SOME_CLAIMABLE_JOB = _both(_CLAIMABLE)


class Moment(NamedTuple):
    """A reading of the database's clock, and where it lies on this process's monotonic clock."""

    before_s: float
    now_ms: int
    after_s: float

    @classmethod
    def read(cls, tx: Transaction) -> Self:
        """The moment now."""
        return cls(time.monotonic(), tx.now_ms(), time.monotonic())


class Candidates:
    """The jobs that may start something at a host, one after another in their order.

    Of many the first are listed once, by what their own rows say, and their prompts looked at one
    by one: a look at the prompts of thousands of jobs for each that is claimed from would cost more
    than all the rest. When the listed ones have no more, all are looked at again.
    """

    def __init__(
        self, tx: Transaction, aging_ms: int, share: HostShare, affinity: Affinity | None = None
    ) -> None:
        self._tx = tx
        self._grouped = share.grouped
        self._affine = affinity is not None
        self._values: dict[str, Any] = {"aging": aging_ms, "at_host": share.key}
        if affinity is not None:
            self._values["turn_of"] = -1 if affinity.group is None else affinity.group
            self._values["leave"] = int(affinity.leave)
        self._seen: list[tuple[int, int]] = []
        self._listed: Sequence[int] | None = None
        self._are_more = True
        self.moment: Moment
        """When the last job was looked for."""

    def lock_next(self) -> sa.Row[Any] | None:
        """Lock the next job that may start something; None: there is none.

        Passed over are jobs that another claim holds. A row has the columns of `_CLAIMABLE_ROWS`,
        with an affinity those of `_CLAIMABLE_BY_AFFINITY`.
        """
        if not self._are_more:
            return None
        row = self._found()
        if row is None and self._listed:
            self._listed = ()
            row = self._found()
        if row is not None:
            self._seen.append((row.key, row.group_key))
            self._are_more = row.going > len(self._seen)
            if row.going > _FIRST_IN_TURN and self._listed is None:
                first = _FIRST_BY_AFFINITY if self._affine else _FIRST
                self._listed = (
                    first[self._grouped].run(self._tx, self._parameters()).scalars().all()
                )
        return row

    def _parameters(self) -> dict[str, Any]:
        self.moment = Moment.read(self._tx)
        return {"now": self.moment.now_ms, **self._values}

    def _found(self) -> sa.Row[Any] | None:
        values = self._parameters()
        if not self._seen and self._tx.is_sqlite:
            # With no locks to take, one look serves as the list as well.
            several = (_SEVERAL_BY_AFFINITY if self._affine else _SEVERAL)[self._grouped]
            rows = several.run(self._tx, values).all()
            self._listed = [row.key for row in rows]
            return rows[0] if rows else None
        if not self._seen:
            statement = _JOB_BY_AFFINITY if self._affine else _CLAIMABLE_JOB
        else:
            values |= id_pairs(self._tx, "seen", self._seen)
            if self._listed:
                values["among"] = self._listed
                statement = _JOB_AMONG_BY_AFFINITY if self._affine else _JOB_AMONG
            else:
                statement = _OTHER_JOB_BY_AFFINITY if self._affine else _OTHER_CLAIMABLE_JOB
        return statement[self._grouped].run(self._tx, values).first()


_NEXT_DUE = (
    sa.select(
        sa.func.min(
            sa.case(
                (job.c.next_start_at_ms > sa.bindparam("now"), job.c.next_start_at_ms), else_=None
            )
        ),
        sa.func.min(
            sa.select(sa.func.min(task.c.available_at_ms))
            .where(
                task.c.job_key == job.c.key,
                task.c.group_key == job_group.c.group_key,
                PENDING,
                task.c.available_at_ms > sa.bindparam("now"),
            )
            .correlate(job, job_group)
            .scalar_subquery()
        ),
    )
    .select_from(job)
    .join(job_group, job_group.c.job_key == job.c.key)
    .where(is_going(job))
)


def may_start_now(tx: Transaction, share: HostShare) -> bool:
    """Whether a claim that came back short left something that may start now.

    On PostgreSQL a claim passes over a job that another worker is claiming from at that moment;
    it is free again a few milliseconds later. And a start that was not due yet may be by now:
    `next_due_in_ms` speaks only of what is still to come.
    """
    if share.slots is not None and running_at(tx, share.key) >= share.slots:
        return False
    now = {"now": tx.now_ms(), "aging": NEVER_MS, "at_host": share.key}
    return _SOME_CLAIMABLE_JOB[share.grouped].run(tx, now).first() is not None


def next_due_in_ms(tx: Transaction) -> int | None:
    """Milliseconds until a prompt becomes claimable by the passing of time alone; None: never."""
    now = tx.now_ms()
    moments = [at for at in tx.execute(_NEXT_DUE, {"now": now}).one() if at is not None]
    return max(min(moments) - now, 0) if moments else None

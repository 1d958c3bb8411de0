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

from promptmill.domain.batches import BatchKind
from promptmill.domain.limits import Limits
from promptmill.store.db.compiled import Prepared, id_pairs, ids_in, pairs_in
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import IS_CALL, NOW, PENDING, RUNNING, is_going
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
"""Condition that no benchmark has the host to itself, and that it is in service."""

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
_AGED_PRIORITY = job.c.priority + (NOW - _WAITED_SINCE) // sa.bindparam(
    "aging", type_=sa.BigInteger
)
RANK_ELSEWHERE = 2
_LEFT_MS = 5_000
"""Milliseconds without a start after which a job is no longer left to another host."""
_RAN_HERE = model_group.c.last_host_key == sa.bindparam("at_host")
_RANK = sa.case(
    (
        sa.and_(
            job_group.c.group_key == sa.bindparam("turn_of"),
            # A host stops taking prompts of another host's group when it has prompts of its own.
            sa.or_(
                sa.bindparam("leave", type_=sa.Integer) == 0,
                model_group.c.last_host_key.is_(None),
                _RAN_HERE,
            ),
        ),
        0,
    ),
    (
        sa.and_(
            model_group.c.last_host_key.is_not(None),
            ~_RAN_HERE,
            sa.or_(job.c.last_claimed_at_ms == 0, job.c.last_claimed_at_ms > NOW - _LEFT_MS),
        ),
        RANK_ELSEWHERE,
    ),
    else_=1,
)
"""Fitness of a group for the host: 0 has its turn there, 2 is left to another for seconds."""


class Candidate(NamedTuple):
    """A job that may start something of one of its groups: a row of `_Looks`."""

    key: int
    kind: str
    model: str
    parameters: Any
    """JSON, as `json_value` reads it."""
    timeout_s: float
    max_attempts: int
    max_concurrent: int
    rate_limit_delay_s: float
    fail_on: Any
    """JSON as well: defects of an answer that make it a failure."""
    batch_id: str
    created_at_ms: int
    """When the job was accepted."""
    group_key: int
    load_key: int
    """Load group that the host runs for the prompts."""
    running: int
    """Number of running calls of the job."""
    going: int
    """Pairs of job and group that may start something sooner or later, counted up to a bound."""
    last_host_key: int | None
    """Key of the host that ran the prefix group last; None without an affinity."""
    last_run_ms: int
    """Moment of that run, to some seconds."""
    rank: int
    """Fitness of the group for the host; see `_RANK`."""

    @property
    def limits(self) -> Limits:
        """The limits of the job."""
        return Limits(
            max_concurrent=self.max_concurrent, rate_limit_delay_s=self.rate_limit_delay_s
        )

    @property
    def embeds(self) -> bool:
        """Whether the job's prompts are texts to embed."""
        return self.kind == BatchKind.EMBED

    @property
    def is_of_prefix_group(self) -> bool:
        """Whether the candidate's group is a prefix group."""
        return self.group_key != self.load_key


def runs_group(group: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Whether the host runs the group now."""
    return (
        sa.select(sa.literal(1))
        .where(host_group.c.host_key == sa.bindparam("at_host"), host_group.c.group_key == group)
        .exists()
    )


class _Looks:
    """Statements that find candidates, in one order and for one choice of groups."""

    def __init__(self, *, grouped: bool, affine: bool) -> None:
        """Build the statements; `grouped`: groups of the host only; `affine`: by affinity."""
        in_turn = (job.c.last_claimed_at_ms, job.c.key, job_group.c.group_key)
        jobs = sa.select(job.c.key).join(job_group, job_group.c.job_key == job.c.key)
        ran_at, ran_ms, rank = sa.null(), sa.literal(0), sa.literal(1)
        if affine:
            jobs = jobs.outerjoin(model_group, model_group.c.key == job_group.c.group_key)
            ran_at, ran_ms, rank = model_group.c.last_host_key, model_group.c.last_run_ms, _RANK
            # A job that never had a turn does not wait for the end of another one's.
            in_turn = (sa.case((job.c.last_claimed_at_ms == 0, 0), else_=1), _RANK, *in_turn)
        if grouped:
            jobs = jobs.where(runs_group(job_group.c.load_key))
        jobs = jobs.where(
            is_going(job),
            job.c.next_start_at_ms <= sa.bindparam("now"),
            sa.or_(job.c.expires_at_ms.is_(None), job.c.expires_at_ms > sa.bindparam("now")),
            usage_limits.allows(job_group.c.load_key),
        )
        jobs = jobs.order_by(_AGED_PRIORITY.desc(), *in_turn).limit(sa.bindparam("most"))
        candidates = jobs.add_columns(
            job.c.kind,
            job.c.model,
            job.c.parameters,
            job.c.timeout_s,
            job.c.max_attempts,
            job.c.max_concurrent,
            job.c.rate_limit_delay_s,
            job.c.fail_on,
            job.c.id.label("batch_id"),
            job.c.created_at_ms,
            job_group.c.group_key,
            job_group.c.load_key,
            _RUNNING_OF_JOB.label("running"),
            _GOING_JOBS.label("going"),
            ran_at.label("last_host_key"),
            ran_ms.label("last_run_ms"),
            rank.label("rank"),
        ).where(model_switching.HAS_WORK, job.c.max_concurrent > _RUNNING_OF_JOB, HOST_IS_FREE)
        locked = candidates.where(
            ~pairs_in(job.c.key, job_group.c.group_key, "seen")
        ).with_for_update(of=job, skip_locked=True, key_share=True)
        # No task is read here, which would make a search over thousands of jobs expensive.
        self.keys = Prepared(jobs)
        self.candidates = Prepared(candidates)
        self.locked = Prepared(locked)
        self.locked_among = Prepared(locked.where(ids_in(job.c.key, "among")))


_LOOKS = {
    (grouped, affine): _Looks(grouped=grouped, affine=affine)
    for grouped in (False, True)
    for affine in (False, True)
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
            # Checked again, now that the job is locked: see `exclusivity.wait_for_claims`.
            HOST_IS_FREE,
            *conditions,
        )
        .order_by(task.c.available_at_ms, task.c.id)
        .limit(sa.bindparam("most"))
        .with_for_update(of=task, skip_locked=True)
    )


class Moment(NamedTuple):
    """Reading of the database's clock, with its place on this process's monotonic clock."""

    before_s: float
    now_ms: int
    after_s: float

    @classmethod
    def read(cls, tx: Transaction) -> Self:
        """Read the current moment."""
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
        self._looks = _LOOKS[share.grouped, affinity is not None]
        self._values = _values(aging_ms, share, affinity)
        self._seen: list[tuple[int, int]] = []
        self._listed: Sequence[int] | None = None
        self._are_more = True
        self.moment: Moment
        """Moment of the last search for a job."""

    def lock_next(self) -> Candidate | None:
        """Lock the next job that may start a call; None without one.

        Jobs that another claim holds are skipped.
        """
        if not self._are_more:
            return None
        found = self._found()
        if found is None and self._listed:
            self._listed = ()
            found = self._found()
        if found is not None:
            self._seen.append((found.key, found.group_key))
            self._are_more = found.going > len(self._seen)
            if found.going > _FIRST_IN_TURN and self._listed is None:
                first = self._looks.keys.run(self._tx, self._now(_FIRST_IN_TURN))
                self._listed = first.scalars().all()
        return found

    def _now(self, most: int) -> dict[str, Any]:
        """Parameters of a search at this moment."""
        self.moment = Moment.read(self._tx)
        return {**self._values, "now": self.moment.now_ms, "most": most}

    def _found(self) -> Candidate | None:
        if self._tx.is_sqlite and not self._seen:
            # With no locks to take, one look serves as the list as well.
            look = self._looks.candidates.run(self._tx, self._now(_FIRST_IN_TURN))
            found = [Candidate(**row) for row in look.mappings()]
            self._listed = [candidate.key for candidate in found]
            return found[0] if found else None
        values = self._now(1) | id_pairs(self._tx, "seen", self._seen)
        look = self._looks.locked
        if self._listed:
            look, values["among"] = self._looks.locked_among, self._listed
        row = look.run(self._tx, values).mappings().first()
        return None if row is None else Candidate(**row)


def _values(aging_ms: int, share: HostShare, affinity: Affinity | None = None) -> dict[str, Any]:
    """Parameters of a search for candidates at a host, without the moment."""
    return {
        "aging": aging_ms,
        "at_host": share.key,
        "turn_of": affinity.group if affinity and affinity.group is not None else -1,
        "leave": int(affinity is not None and affinity.leave),
    }


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
    values = {**_values(NEVER_MS, share), "now": tx.now_ms(), "most": 1}
    return _LOOKS[share.grouped, False].candidates.run(tx, values).first() is not None


def next_due_in_ms(tx: Transaction) -> int | None:
    """Milliseconds until a prompt becomes claimable by the passing of time alone; None: never."""
    now = tx.now_ms()
    moments = [at for at in tx.execute(_NEXT_DUE, {"now": now}).one() if at is not None]
    return max(min(moments) - now, 0) if moments else None

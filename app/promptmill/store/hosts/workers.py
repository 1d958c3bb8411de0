"""The register of workers, for display; and the end of the next lease.

No decision about a prompt depends on these rows: a worker works without its row as well, and only
its leases give it rights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from promptmill.domain.workers import Worker, WorkerIdentity, worker_state
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import RUNNING
from promptmill.store.db.tables.batches import task
from promptmill.store.db.tables.workers import worker
from promptmill.store.hosts import host_reports

_REMEMBERED_MS = 24 * 60 * 60 * 1000
"""Milliseconds of silence after which a worker is no longer shown."""
_MOST_LISTED = 1_000


def register(tx: Transaction, identity: WorkerIdentity) -> None:
    """Register a worker, and remove those that have been silent for a day.

    Rows are only inserted here, so that removing old ones here keeps the table small.
    """
    now = tx.now_ms()
    tx.execute(sa.delete(worker).where(worker.c.seen_at_ms < now - _REMEMBERED_MS))
    host_reports.forget_strangers(tx)
    _insert(tx, identity, now_ms=now, exchanged_at_ms=now, finished=0, fenced=0)


def touch(
    tx: Transaction,
    identity: WorkerIdentity,
    *,
    exchanged_ago_ms: int,
    finished: int,
    fenced: int,
) -> None:
    """Record a heartbeat: the worker's last exchange, and its counters."""
    now = tx.now_ms()
    exchanged = now - exchanged_ago_ms
    seen = {
        "seen_at_ms": now,
        "exchanged_at_ms": exchanged,
        "finished": finished,
        "fenced": fenced,
    }
    own_row = sa.update(worker).where(worker.c.id == identity.id)
    if not tx.execute(own_row.values(seen)).rowcount:
        # The worker was silent for a day, and another worker removed its row.
        _insert(
            tx,
            identity,
            now_ms=now,
            exchanged_at_ms=exchanged,
            finished=finished,
            fenced=fenced,
        )


def mark_stopped(tx: Transaction, worker_id: str, *, finished: int, fenced: int) -> None:
    """Record that the worker has shut down in order."""
    now = tx.now_ms()
    tx.execute(
        sa.update(worker)
        .where(worker.c.id == worker_id)
        .values(stopped_at_ms=now, seen_at_ms=now, finished=finished, fenced=fenced)
    )
    host_reports.take_back(tx, worker_id)


def _insert(
    tx: Transaction,
    identity: WorkerIdentity,
    *,
    now_ms: int,
    exchanged_at_ms: int,
    finished: int,
    fenced: int,
) -> None:
    tx.execute(
        sa.insert(worker).values(
            id=identity.id,
            host_name=identity.host_name,
            pid=identity.pid,
            version=identity.version,
            concurrency=identity.concurrency,
            started_at_ms=now_ms,
            seen_at_ms=now_ms,
            exchanged_at_ms=exchanged_at_ms,
            finished=finished,
            fenced=fenced,
        )
    )


_IN_FLIGHT = (
    sa.select(task.c.lease_owner, sa.func.count().label("prompts"))
    .where(RUNNING)
    .group_by(task.c.lease_owner)
    .cte("in_flight")
)
_WORKERS = (
    sa.select(worker, sa.func.coalesce(_IN_FLIGHT.c.prompts, 0).label("in_flight"))
    .outerjoin(_IN_FLIGHT, _IN_FLIGHT.c.lease_owner == worker.c.id)
    .where(worker.c.seen_at_ms >= sa.bindparam("since"))
    # Stopped workers last; within each kind the latest start first.
    .order_by(
        sa.case((worker.c.stopped_at_ms.is_(None), 0), else_=1),
        worker.c.started_at_ms.desc(),
        worker.c.id,
    )
    .limit(_MOST_LISTED)
)


_ANY_ALIVE = sa.select(
    sa.exists().where(
        worker.c.stopped_at_ms.is_(None), worker.c.seen_at_ms >= sa.bindparam("since")
    )
)


def any_alive(tx: Transaction, *, lease_ms: int) -> bool:
    """Whether a worker was seen within the lease and has not stopped."""
    return bool(tx.execute(_ANY_ALIVE, {"since": tx.now_ms() - lease_ms}).scalar())


def list_workers(tx: Transaction, *, lease_ms: int) -> Sequence[Worker]:
    """List the workers of the last day, those that have not stopped first; at most a thousand."""
    now = tx.now_ms()
    rows = tx.execute(_WORKERS, {"since": now - _REMEMBERED_MS})
    return [_worker(row, now_ms=now, lease_ms=lease_ms) for row in rows]


def _worker(row: sa.Row[Any], *, now_ms: int, lease_ms: int) -> Worker:
    return Worker(
        identity=WorkerIdentity(
            id=row.id,
            host_name=row.host_name,
            pid=row.pid,
            version=row.version,
            concurrency=row.concurrency,
        ),
        state=worker_state(
            now_ms=now_ms,
            seen_at_ms=row.seen_at_ms,
            stopped_at_ms=row.stopped_at_ms,
            lease_ms=lease_ms,
        ),
        in_flight=row.in_flight,
        finished=row.finished,
        fenced=row.fenced,
        started_at_ms=row.started_at_ms,
        seen_at_ms=row.seen_at_ms,
        exchanged_at_ms=row.exchanged_at_ms,
        stopped_at_ms=row.stopped_at_ms,
    )


_NEXT_LEASE_END = sa.select(sa.func.min(task.c.lease_until_ms)).where(RUNNING)


def next_lease_end_ms(tx: Transaction) -> int | None:
    """Milliseconds until the first lease of a running prompt expires; None if no prompt runs.

    Negative if one has expired already.
    """
    ends_at = tx.execute(_NEXT_LEASE_END).scalar()
    return None if ends_at is None else ends_at - tx.now_ms()

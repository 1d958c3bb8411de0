"""Benchmarks as a whole: stored, read, listed, cancelled, deleted.

Leases and runs are in `execution`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.batches import IdempotencyKey
from promptmill.domain.benchmarks.plan import total_steps
from promptmill.domain.benchmarks.records import Benchmark, BenchmarkDraft, RunCounts
from promptmill.domain.errors import Conflict
from promptmill.domain.lifecycle import (
    TERMINAL_JOB_STATES,
    JobEvent,
    JobState,
    job_sources,
    job_target,
)
from promptmill.store.benchmarks.spec import draft_of, environment_of, spec_of
from promptmill.store.db.database import Transaction
from promptmill.store.db.resources import Resource, has_metadata
from promptmill.store.db.sql import NO_LEASE, is_live, is_unleased
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import host
from promptmill.store.db.tables.benchmarks import benchmark, benchmark_run

_VISIBLE = benchmark.c.deleted_at_ms.is_(None)
BENCHMARKS: Final = Resource("benchmark", benchmark, _VISIBLE)
PENDING = (
    benchmark.c.total
    - benchmark.c.succeeded
    - benchmark.c.failed
    - benchmark.c.skipped
    - benchmark.c.cancelled
)
"""Number of runs that have not been recorded."""


# --- store -----------------------------------------------------------------------------------


def insert(
    tx: Transaction,
    draft: BenchmarkDraft,
    *,
    benchmark_id: str,
    idempotency: IdempotencyKey | None = None,
    key_id: str | None = None,
) -> None:
    """Store a benchmark, ready to be leased when the transaction commits."""
    tx.execute(
        sa.insert(benchmark).values(
            id=benchmark_id,
            state=JobState.QUEUED,
            spec=spec_of(draft),
            metadata=dict(draft.metadata),
            environment={},
            idempotency_key=idempotency.key if idempotency else None,
            body_hash=idempotency.body_hash if idempotency else None,
            total=total_steps(draft),
            succeeded=0,
            failed=0,
            skipped=0,
            cancelled=0,
            recorded=0,
            sessions=0,
            created_at_ms=tx.now_ms(),
            key_id=key_id,
        )
    )


# --- read ------------------------------------------------------------------------------------


def get(tx: Transaction, benchmark_id: str) -> Benchmark:
    """Read a benchmark.

    Raises:
        NotFound: There is none of that id.
    """
    row = tx.execute(sa.select(benchmark).where(benchmark.c.id == benchmark_id, _VISIBLE)).first()
    if row is None:
        raise BENCHMARKS.not_found(benchmark_id)
    return benchmark_of(row, tx.now_ms())


def page(
    tx: Transaction,
    *,
    limit: int,
    before: str | None = None,
    state: JobState | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Sequence[Benchmark]:
    """List up to `limit` benchmarks, newest first, created before the one of id `before`."""
    statement = sa.select(benchmark).where(_VISIBLE).order_by(benchmark.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(benchmark.c.id < before)
    if state is not None:
        statement = statement.where(benchmark.c.state == state)
    for name, value in (metadata or {}).items():
        statement = statement.where(has_metadata(tx, benchmark.c.metadata, name, value))
    now = tx.now_ms()
    return [benchmark_of(row, now) for row in tx.execute(statement)]


def count_alive(tx: Transaction) -> Mapping[JobState, int]:
    """Number of benchmarks that have not ended, by state."""
    statement = (
        sa.select(benchmark.c.state, sa.func.count().label("number"))
        .where(is_live(benchmark), _VISIBLE)
        .group_by(benchmark.c.state)
    )
    return {row.state: row.number for row in tx.execute(statement)}


def benchmark_of(row: sa.Row[Any], now_ms: int) -> Benchmark:
    """The benchmark in a row of all columns."""
    return Benchmark(
        key=row.key,
        id=row.id,
        state=row.state,
        draft=draft_of(row.spec, row.metadata),
        counts=RunCounts(
            total=row.total,
            succeeded=row.succeeded,
            failed=row.failed,
            skipped=row.skipped,
            cancelled=row.cancelled,
        ),
        environment=environment_of(row.environment),
        created_at_ms=row.created_at_ms,
        started_at_ms=row.started_at_ms,
        finished_at_ms=row.finished_at_ms,
        error=row.error,
        read_at_ms=now_ms,
        sessions=row.sessions,
    )


def any_alive(tx: Transaction) -> bool:
    """Whether any benchmark has not ended."""
    return (
        tx.execute(sa.select(benchmark.c.key).where(is_live(benchmark)).limit(1)).first()
        is not None
    )


# --- cancel ----------------------------------------------------------------------------------


def request_cancel(tx: Transaction, benchmark_id: str) -> None:
    """End a benchmark that no worker measures; else request its end from its worker.

    A repetition changes nothing.

    Raises:
        NotFound: There is no benchmark of that id.
        Conflict: The benchmark has ended.
    """
    if not BENCHMARKS.move(tx, benchmark_id, JobEvent.REQUEST_CANCEL):
        state = BENCHMARKS.state_of(tx, benchmark_id)
        if state in TERMINAL_JOB_STATES:
            raise Conflict(f"The benchmark has already ended: it is {state.value}.")
    end_cancelled(tx)


_CANCELLED = (
    sa.select(benchmark.c.key)
    .where(
        is_live(benchmark),
        is_in(benchmark.c.state, [JobState.CANCELLING]),
        is_unleased(benchmark),
    )
    .order_by(benchmark.c.key)
    .with_for_update(skip_locked=True)
)


def end_cancelled(tx: Transaction) -> Sequence[str]:
    """End benchmarks to be cancelled that no worker measures; returns their ids."""
    keys = tx.execute(_CANCELLED, {"now": tx.now_ms()}).scalars().all()
    return [close(tx, key, JobEvent.CANCEL) for key in keys]


def close(tx: Transaction, key: int, event: JobEvent, *, error: str | None = None) -> str:
    """End a benchmark whose row is locked, release its host, and return its id.

    The benchmark's row is locked before the host's, as when a benchmark is taken up.
    """
    benchmark_id = tx.execute(
        sa.update(benchmark)
        .where(benchmark.c.key == key, benchmark.c.state.in_(job_sources(event)))
        .values(
            state=job_target(event),
            error=error,
            finished_at_ms=tx.now_ms(),
            cancelled=benchmark.c.cancelled + PENDING,
            **NO_LEASE,
        )
        .returning(benchmark.c.id)
    ).scalar_one()
    tx.execute(sa.update(host).where(host.c.held_by == key).values(held_by=None))
    return str(benchmark_id)


# --- delete ----------------------------------------------------------------------------------


def purge_some(tx: Transaction, *, limit: int = 5_000) -> int:
    """Remove some rows of deleted benchmarks, in one short transaction; 0 if none are left."""
    return BENCHMARKS.purge_some(
        tx, benchmark_run, limit=limit, purge_children=_purge_runs, purge_row=_purge_row
    )


def _purge_runs(tx: Transaction, first: int, last: int) -> None:
    tx.execute(sa.delete(benchmark_run).where(benchmark_run.c.id.between(first, last)))


def _purge_row(tx: Transaction, key: int) -> None:
    tx.execute(sa.delete(benchmark).where(benchmark.c.key == key))

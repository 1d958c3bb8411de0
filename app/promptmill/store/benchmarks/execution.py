"""The lease of a benchmark: taken with its host, runs recorded, ended.

The rules to know:
- One lease covers the whole benchmark, and its token fences every write: a worker that was paused
beyond its lease records no more runs.
- Taking a benchmark up takes its host as well (`host.held_by`). From that commit on no prompt is
claimed there; open claims are waited for (`exclusivity`), and then running prompts.
- A measured run is stored once. A crash loses only unrecorded runs, which the next session makes
again; cold loads and warm-ups are made again in every session.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.benchmarks.records import (
    Benchmark,
    BenchmarkRun,
    ChunkIntervals,
    Environment,
    Flag,
    Phase,
)
from promptmill.domain.lifecycle import JobEvent, JobState, TaskState, job_target
from promptmill.domain.outcomes import OLLAMA_COUNTERS, CallMetrics
from promptmill.store.benchmarks import registry
from promptmill.store.benchmarks.spec import environment_json
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import NO_LEASE, is_live, is_unleased
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import host, id_range, index_of, prompt_id
from promptmill.store.db.tables.benchmarks import benchmark, benchmark_run


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkLease:
    """Right to measure one benchmark."""

    benchmark: Benchmark
    token: int
    session: int
    """The number of this lease of the benchmark, counted from 1."""
    done: frozenset[int]
    """Steps of the plan that an earlier session has recorded."""
    has_success: bool
    """Whether a measured run of an earlier session succeeded."""


# --- take up ---------------------------------------------------------------------------------

_NEXT = (
    sa.select(benchmark)
    .where(
        is_live(benchmark),
        ~is_in(benchmark.c.state, [JobState.CANCELLING]),
        is_unleased(benchmark),
        sa.or_(benchmark.c.host_key.is_(None), benchmark.c.host_key == sa.bindparam("at_host")),
    )
    # A benchmark that has begun holds its host, so it precedes the others.
    .order_by(sa.case((benchmark.c.sessions > 0, 0), else_=1), benchmark.c.key)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_HOLD = (
    sa.update(host)
    .where(host.c.key == sa.bindparam("at_host"))
    .where(
        sa.or_(
            sa.and_(host.c.held_by.is_(None), host.c.closed_at_ms.is_(None)),
            # A benchmark that began before the host was taken out of service continues.
            host.c.held_by == sa.bindparam("holder"),
        )
    )
    .values(held_by=sa.bindparam("holder"))
)


def take_up(tx: Transaction, *, owner: str, lease_ms: int, host_key: int) -> BenchmarkLease | None:
    """Lease the next benchmark, and its host exclusively; None without a benchmark to lease.

    None also while another benchmark has the host.
    """
    now = tx.now_ms()
    row = tx.execute(_NEXT, {"now": now, "at_host": host_key}).first()
    if row is None:
        return None
    if not tx.execute(_HOLD, {"at_host": host_key, "holder": row.key}).rowcount:
        return None
    token = secrets.randbits(63)
    session = row.sessions + 1
    tx.execute(
        sa.update(benchmark)
        .where(benchmark.c.key == row.key)
        .values(
            state=job_target(JobEvent.START),
            sessions=session,
            host_key=host_key,
            started_at_ms=sa.func.coalesce(benchmark.c.started_at_ms, now),
            lease_token=token,
            lease_owner=owner,
            lease_until_ms=now + lease_ms,
        )
    )
    low, high = id_range(row.key)
    recorded = tx.execute(
        sa.select(benchmark_run.c.step, benchmark_run.c.phase, benchmark_run.c.status).where(
            benchmark_run.c.id.between(low, high)
        )
    ).all()
    return BenchmarkLease(
        benchmark=registry.benchmark_of(row, now),
        token=token,
        session=session,
        done=frozenset(each.step for each in recorded),
        has_success=any(
            each.phase is Phase.MEASURED and each.status is TaskState.SUCCEEDED for each in recorded
        ),
    )


# --- while it is measured --------------------------------------------------------------------


def _mine(lease: BenchmarkLease) -> sa.ColumnElement[bool]:
    return sa.and_(benchmark.c.key == lease.benchmark.key, benchmark.c.lease_token == lease.token)


def renew(tx: Transaction, lease: BenchmarkLease, *, lease_ms: int) -> JobState | None:
    """Renew the lease; return the benchmark's state, None if the lease was lost."""
    state = tx.execute(
        sa.update(benchmark)
        .where(_mine(lease))
        .values(lease_until_ms=tx.now_ms() + lease_ms)
        .returning(benchmark.c.state)
    ).scalar()
    return None if state is None else JobState(state)


def record(tx: Transaction, lease: BenchmarkLease, runs: Sequence[BenchmarkRun]) -> bool:
    """Store runs and count those of new steps; False if the lease was lost.

    Runs of this session that are stored already are skipped: the commit of an earlier try
    succeeded, and only its confirmation was lost.
    """
    low, high = id_range(lease.benchmark.key)
    stored = tx.execute(
        sa.select(benchmark_run.c.step).where(
            benchmark_run.c.id.between(low, high),
            benchmark_run.c.session == lease.session,
            benchmark_run.c.step.in_([run.step for run in runs]),
        )
    ).scalars()
    there = set(stored)
    runs = [run for run in runs if run.step not in there]
    new = [run for run in runs if run.step not in lease.done]
    succeeded = sum(run.succeeded for run in new)
    recorded = tx.execute(
        sa.update(benchmark)
        .where(_mine(lease))
        .values(
            recorded=benchmark.c.recorded + len(runs),
            succeeded=benchmark.c.succeeded + succeeded,
            failed=benchmark.c.failed + len(new) - succeeded,
        )
        .returning(benchmark.c.recorded)
    ).scalar()
    if recorded is None:
        return False
    if not runs:
        return True
    first = recorded - len(runs)
    tx.execute(
        sa.insert(benchmark_run),
        [_row(lease.benchmark.key, first + place, run) for place, run in enumerate(runs)],
    )
    return True


def note(
    tx: Transaction, lease: BenchmarkLease, *, environment: Environment, skipped: int = 0
) -> bool:
    """Store the environment, and the number of steps that will never be run."""
    return bool(
        tx.execute(
            sa.update(benchmark)
            .where(_mine(lease))
            .values(
                environment=environment_json(environment),
                skipped=benchmark.c.skipped + skipped,
            )
        ).rowcount
    )


# --- end -------------------------------------------------------------------------------------


def end(
    tx: Transaction, lease: BenchmarkLease, *, has_success: bool, error: str | None
) -> str | None:
    """End a completely measured benchmark; return its id, None if the lease was lost.

    A benchmark that a client has cancelled meanwhile becomes cancelled.
    """
    state = tx.execute(sa.select(benchmark.c.state).where(_mine(lease)).with_for_update()).scalar()
    if state is None:
        return None
    if state is JobState.CANCELLING:
        return registry.close(tx, lease.benchmark.key, JobEvent.CANCEL)
    event = JobEvent.COMPLETE if has_success else JobEvent.FAIL
    return registry.close(tx, lease.benchmark.key, event, error=None if has_success else error)


def give_back(tx: Transaction, lease: BenchmarkLease) -> None:
    """Return the benchmark for another worker; its host stays exclusive."""
    tx.execute(sa.update(benchmark).where(_mine(lease)).values(**NO_LEASE))


def take_all_back(tx: Transaction) -> int:
    """Return all leased benchmarks, at the start of a database's only worker."""
    return tx.execute(
        sa.update(benchmark)
        .where(is_live(benchmark), benchmark.c.lease_token.is_not(None))
        .values(**NO_LEASE)
    ).rowcount


# --- rows ------------------------------------------------------------------------------------


_OWN_FORM: Final = ("icl", "metrics", "flags")
_COLUMNS: Final = tuple(each.name for each in fields(BenchmarkRun) if each.name not in _OWN_FORM)
"""The fields of a run that are columns as they are."""


def _row(key: int, number: int, run: BenchmarkRun) -> dict[str, Any]:
    icl = run.icl
    return {
        "id": prompt_id(key, number),
        "benchmark_key": key,
        **{name: getattr(run, name) for name in _COLUMNS},
        **{name: getattr(run.metrics, name) for name in OLLAMA_COUNTERS},
        "chunks": icl.chunks if icl else None,
        "chunk_p50_s": icl.p50_s if icl else None,
        "chunk_p95_s": icl.p95_s if icl else None,
        "chunk_max_s": icl.max_s if icl else None,
        "flags": [flag.value for flag in run.flags],
    }


_FIGURES = [column for column in benchmark_run.c if column.name != "response"]


def page(
    tx: Transaction, key: int, *, limit: int, after: int | None = None
) -> Sequence[tuple[int, BenchmarkRun]]:
    """List up to `limit` runs with their numbers, in the order of recording, after a number."""
    low, high = id_range(key)
    first = low if after is None else prompt_id(key, after + 1)
    rows = tx.execute(
        sa.select(benchmark_run)
        .where(benchmark_run.c.id.between(first, high))
        .order_by(benchmark_run.c.id)
        .limit(limit)
    )
    return [(index_of(row.id), _run(row, response=row.response)) for row in rows]


def figures(tx: Transaction, key: int) -> Sequence[BenchmarkRun]:
    """All runs without prompt and answer texts."""
    low, high = id_range(key)
    rows = tx.execute(
        sa.select(*_FIGURES)
        .where(benchmark_run.c.id.between(low, high))
        .order_by(benchmark_run.c.id)
    )
    return [_run(row, response=None) for row in rows]


def sample_responses(tx: Transaction, key: int) -> dict[str, str]:
    """The answer of each model's last successful measured run."""
    low, high = id_range(key)
    last = (
        sa.select(sa.func.max(benchmark_run.c.id))
        .where(
            benchmark_run.c.id.between(low, high),
            benchmark_run.c.phase == Phase.MEASURED,
            benchmark_run.c.status == TaskState.SUCCEEDED,
        )
        .group_by(benchmark_run.c.model)
    )
    rows = tx.execute(
        sa.select(benchmark_run.c.model, benchmark_run.c.response).where(
            benchmark_run.c.id.in_(last)
        )
    )
    return {row.model: row.response or "" for row in rows}


def _run(row: sa.Row[Any], *, response: str | None) -> BenchmarkRun:
    own = {name: getattr(row, name) for name in _COLUMNS if name != "response"}
    icl = None
    if row.chunks is not None:
        icl = ChunkIntervals(
            chunks=row.chunks, p50_s=row.chunk_p50_s, p95_s=row.chunk_p95_s, max_s=row.chunk_max_s
        )
    return BenchmarkRun(
        **own,
        response=response,
        icl=icl,
        metrics=CallMetrics(**{name: getattr(row, name) for name in OLLAMA_COUNTERS}),
        flags=tuple(map(Flag, row.flags)),
    )

"""Stored state that explains why batches without running prompts wait.

A few small reads serve a whole page of batches; of the prompts only the first due one of each group
is read, which is the first entry of an index.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa

from promptmill.domain.hosts.reports import HostReport
from promptmill.domain.scheduling.waiting import (
    Standing,
    StandingHost,
    StandingJob,
    StandingLimit,
)
from promptmill.store.db.compiled import Prepared, ids_in
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import PENDING, RUNNING
from promptmill.store.db.tables.batches import host, job, job_group, task
from promptmill.store.db.tables.benchmarks import benchmark
from promptmill.store.db.tables.usage_limits import host_limit
from promptmill.store.hosts import host_reports, workers

_JOBS = Prepared(
    sa.select(
        job.c.key,
        job.c.next_start_at_ms,
        job.c.last_claimed_at_ms,
        job.c.awaits_models,
        job_group.c.load_key,
        sa.select(task.c.available_at_ms)
        .where(
            task.c.job_key == job.c.key,
            task.c.group_key == job_group.c.group_key,
            PENDING,
        )
        .order_by(task.c.available_at_ms, task.c.id)
        .limit(1)
        .correlate(job, job_group)
        .scalar_subquery()
        .label("due_at_ms"),
    )
    .join(job_group, job_group.c.job_key == job.c.key)
    .where(ids_in(job.c.key, "keys"))
)
_HOSTS = Prepared(
    sa.select(
        host.c.key,
        host.c.url,
        host.c.closed_at_ms,
        benchmark.c.id.label("held_by"),
        sa.select(sa.literal(1))
        .where(task.c.host_key == host.c.key, RUNNING)
        .correlate(host)
        .exists()
        .label("is_working"),
    )
    .outerjoin(benchmark, benchmark.c.key == host.c.held_by)
    .order_by(host.c.key)
)
_LIMITS = Prepared(sa.select(host_limit).where(host_limit.c.until_ms > sa.bindparam("now")))


def read(tx: Transaction, job_keys: Collection[int], *, lease_ms: int) -> Standing:
    """Read the state for these batches, as of now."""
    reports: dict[int, list[HostReport]] = {}
    for _, key, report in host_reports.of_hosts(tx, lease_ms=lease_ms):
        reports.setdefault(key, []).append(report)
    limits = {
        (row.host_key, row.group_key): StandingLimit(until_ms=row.until_ms, error=row.error)
        for row in _LIMITS.run(tx, {"now": tx.now_ms()})
    }
    return Standing(
        has_workers=bool(reports) or workers.any_alive(tx, lease_ms=lease_ms),
        hosts=[_host(row, reports[row.key]) for row in _HOSTS.run(tx, {}) if row.key in reports],
        limits=limits,
        jobs=_jobs(tx, job_keys),
    )


def _host(row: sa.Row[Any], reports: list[HostReport]) -> StandingHost:
    asides = [report.aside for report in reports if report.aside is not None]
    first = min(asides, key=lambda one: one.next_look_s, default=None)
    return StandingHost(
        key=row.key,
        url=row.url,
        # A host to which one worker sends work does not block a batch.
        aside=first if len(asides) == len(reports) else None,
        held_by=row.held_by,
        enabled=row.closed_at_ms is None,
        is_working=bool(row.is_working),
    )


def _jobs(tx: Transaction, keys: Collection[int]) -> Mapping[int, StandingJob]:
    rows: dict[int, list[sa.Row[Any]]] = {}
    for row in _JOBS.run(tx, {"keys": list(keys)}):
        rows.setdefault(row.key, []).append(row)
    return {key: _job(of_job) for key, of_job in rows.items()}


def _job(rows: list[sa.Row[Any]]) -> StandingJob:
    left = [row for row in rows if row.due_at_ms is not None]
    first = rows[0]
    return StandingJob(
        load_groups=frozenset(row.load_key for row in left),
        due_at_ms=min((row.due_at_ms for row in left), default=None),
        next_start_at_ms=first.next_start_at_ms,
        last_claimed_at_ms=first.last_claimed_at_ms,
        awaits_models=bool(first.awaits_models),
    )

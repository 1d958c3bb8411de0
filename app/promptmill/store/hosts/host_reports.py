"""Host reports: each worker replaces its own, and those of living workers are read.

A report counts while its worker is alive by the register in `workers`. A worker that stops removes
its reports; a killed worker is silent for longer than the lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from promptmill.domain.hosts.reports import HostReport, Quarantine
from promptmill.domain.outcomes import ErrorCode
from promptmill.store.db.compiled import Prepared
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import host
from promptmill.store.db.tables.workers import host_pace, host_report, worker


def write(tx: Transaction, worker_id: str, reports: Mapping[int, HostReport]) -> None:
    """Replace the worker's reports, given by the keys of the hosts."""
    take_back(tx, worker_id)
    now = tx.now_ms()
    tx.execute(
        sa.insert(host_report), [_row(worker_id, key, one, now) for key, one in reports.items()]
    )
    paces = [
        {
            "worker_id": worker_id,
            "host_key": key,
            "model": model,
            "call_s": pace.call_s,
            "measured_at_ms": now - round(pace.age_s * 1000),
        }
        for key, one in reports.items()
        for model, pace in one.paces.items()
    ]
    if paces:
        tx.execute(sa.insert(host_pace), paces)


def _row(worker_id: str, host_key: int, report: HostReport, now_ms: int) -> dict[str, Any]:
    aside = report.aside
    return {
        "worker_id": worker_id,
        "host_key": host_key,
        "slots": report.slots,
        "error_code": aside and aside.error_code,
        "error": aside and aside.reason,
        "next_look_at_ms": aside and now_ms + round(aside.next_look_s * 1000),
        "on_trial": report.on_trial,
        "calls": report.calls,
        "failed": report.failed,
        "latency_s": report.latency_s,
    }


def take_back(tx: Transaction, worker_id: str) -> None:
    """Remove the worker's reports."""
    for table in (host_report, host_pace):
        tx.execute(sa.delete(table).where(table.c.worker_id == worker_id))


def forget_strangers(tx: Transaction) -> None:
    """Remove reports of workers that are no longer in the register."""
    for table in (host_report, host_pace):
        tx.execute(sa.delete(table).where(table.c.worker_id.not_in(sa.select(worker.c.id))))


_IS_ALIVE = sa.and_(
    worker.c.stopped_at_ms.is_(None), worker.c.seen_at_ms >= sa.bindparam("alive_since")
)
_REPORTS = Prepared(
    sa.select(host_report, host.c.url, host.c.machine)
    .join(worker, worker.c.id == host_report.c.worker_id)
    .join(host, host.c.key == host_report.c.host_key)
    .where(_IS_ALIVE)
    .order_by(worker.c.started_at_ms, worker.c.id, host_report.c.host_key)
)
_PACES = Prepared(
    sa.select(host_pace)
    .join(worker, worker.c.id == host_pace.c.worker_id)
    .where(_IS_ALIVE)
    # Oldest first, so that of several reports on the same host the newest stays.
    .order_by(host_pace.c.measured_at_ms)
)


def of_hosts(tx: Transaction, *, lease_ms: int) -> Sequence[tuple[str, int, HostReport]]:
    """The reports of living workers: worker, key of the host, report; without speeds."""
    now = tx.now_ms()
    return [
        (row.worker_id, row.host_key, _report(row, now))
        for row in _REPORTS.run(tx, {"alive_since": now - lease_ms})
    ]


def _report(row: sa.Row[Any], now_ms: int) -> HostReport:
    aside = None
    if row.error_code is not None:
        aside = Quarantine(
            error_code=ErrorCode(row.error_code),
            reason=row.error,
            next_look_s=max(row.next_look_at_ms - now_ms, 0) / 1000,
        )
    return HostReport(
        url=row.url,
        machine=row.machine or None,
        slots=row.slots,
        aside=aside,
        on_trial=bool(row.on_trial),
        calls=row.calls,
        failed=row.failed,
        latency_s=row.latency_s,
    )


def call_seconds(tx: Transaction, *, lease_ms: int) -> Mapping[int, Mapping[str, float]]:
    """Measured seconds of a call, by the key of each host and the name of a model."""
    found: dict[int, dict[str, float]] = {}
    for row in _PACES.run(tx, {"alive_since": tx.now_ms() - lease_ms}):
        found.setdefault(row.host_key, {})[row.model] = row.call_s
    return found

"""Forecast inputs: batches that may start prompts, and the speed of the hosts.

One read for all batches, whose cost grows with the number of live batches and not of their prompts:
no prompt or result is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from promptmill.domain.batches import BatchKind
from promptmill.domain.limits import Limits
from promptmill.domain.model_names import normalise_model
from promptmill.domain.scheduling.forecast import Demand, ForecastHost, ForecastInputs
from promptmill.domain.scheduling.load_groups import ANY_GROUP, model_of
from promptmill.store.db.compiled import Prepared
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import FINISHED, is_going
from promptmill.store.db.tables.batches import host_group, job, job_group, job_stats, model_group
from promptmill.store.hosts import host_reports

_DEMANDS = Prepared(
    sa.select(
        job.c.key,
        job.c.kind,
        job.c.model,
        job.c.priority,
        job.c.max_concurrent,
        job.c.rate_limit_delay_s,
        sa.case(
            (job.c.last_claimed_at_ms > 0, job.c.last_claimed_at_ms), else_=job.c.created_at_ms
        ).label("waits_since_ms"),
        (job_stats.c.total - FINISHED).label("prompts"),
        job_group.c.load_key,
        model_group.c.name,
    )
    .join(job_stats, job_stats.c.job_key == job.c.key)
    .join(job_group, job_group.c.job_key == job.c.key)
    .join(model_group, model_group.c.key == job_group.c.load_key)
    .where(is_going(job))
)
_TURNS = Prepared(sa.select(host_group))


def read(tx: Transaction, *, lease_ms: int, turn_s: float, texts_per_call: int) -> ForecastInputs:
    """The waiting and running work, and what living workers have measured of the hosts."""
    return ForecastInputs(
        demands=_demands(tx, texts_per_call),
        places=tuple(_places(tx, lease_ms)),
        turn_s=turn_s,
    )


def _demands(tx: Transaction, texts_per_call: int) -> Mapping[int, Demand]:
    of_job: dict[int, list[sa.Row[Any]]] = {}
    for row in _DEMANDS.run(tx, {}):
        of_job.setdefault(row.key, []).append(row)
    return {key: _demand(rows, texts_per_call) for key, rows in of_job.items()}


def _demand(rows: list[sa.Row[Any]], texts_per_call: int) -> Demand:
    """A batch from its rows, one for each of its groups."""
    row = rows[0]
    names = [row.model if one.name == ANY_GROUP else model_of(one.name) for one in rows]
    return Demand(
        key=row.key,
        prompts=row.prompts,
        priority=row.priority,
        limits=Limits(max_concurrent=row.max_concurrent, rate_limit_delay_s=row.rate_limit_delay_s),
        models=frozenset(map(normalise_model, names)),
        groups=frozenset(one.load_key for one in rows),
        waits_since_ms=row.waits_since_ms,
        prompts_per_call=texts_per_call if row.kind == BatchKind.EMBED else 1,
    )


def _places(tx: Transaction, lease_ms: int) -> list[ForecastHost]:
    """Hosts to which at least one worker sends work."""
    now = tx.now_ms()
    call_s = host_reports.call_seconds(tx, lease_ms=lease_ms)
    turns: dict[int, dict[int, float]] = {}
    for row in _TURNS.run(tx, {}):
        turns.setdefault(row.host_key, {})[row.group_key] = (now - row.since_ms) / 1000
    slots = {
        key: report.slots
        for _, key, report in host_reports.of_hosts(tx, lease_ms=lease_ms)
        if report.aside is None
    }
    return [
        ForecastHost(slots=most, call_s=call_s.get(key, {}), turns=turns.get(key, {}))
        for key, most in slots.items()
    ]

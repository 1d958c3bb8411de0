"""Adaptive concurrency in the database: samples of a job's results, and the resulting limit.

The limit in force stays `job.max_concurrent`, so that claims need no further rule and the limit
holds over all workers. A pass locks the job's row, adds the results since the last pass to the
search's sample, and writes both back in one short transaction. The time of the last pass shows
whether another worker was first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa

from promptmill.domain.lifecycle import JobState
from promptmill.domain.scheduling.adaptive_concurrency import Level, Sample, Search, Watch, watch
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import is_live
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, job_stats, prompt_id, result

LOOK_EVERY_S = 0.5
"""Seconds between two samples of a job."""
_SOONEST_MS = 400
"""Least milliseconds between two samples: several workers take them."""
_LONGEST_MS = 5_000
"""Most milliseconds between two samples: after a longer gap the sample is discarded."""
_ADAPTED = sa.and_(
    is_live(job),
    is_in(job.c.state, [JobState.RUNNING]),
    job.c.auto_concurrency,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A change of a job's limit."""

    batch_id: str
    before: int
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """The stored state of a search between two samples."""

    watch: Watch
    looked_at_ms: int
    event: int
    """Number of the last result in the sample."""
    finished_at_ms: int | None
    """Moment at which the last prompt of the sample finished; None before the first."""
    setbacks: int
    """The job's counter at the last look."""


def adapted_jobs(tx: Transaction) -> Sequence[int]:
    """Keys of the running jobs whose limit is to be adapted."""
    return tx.execute(sa.select(job.c.key).where(_ADAPTED).order_by(job.c.key)).scalars().all()


def adapt(tx: Transaction, job_key: int) -> Changed | None:
    """Sample a job once; return the change of its limit, if any."""
    row = tx.execute(
        sa.select(job.c.id, job.c.max_concurrent, job.c.auto_state)
        .where(job.c.key == job_key, _ADAPTED)
        .with_for_update(of=job, key_share=True)
    ).first()
    if row is None:
        return None
    # A separate statement sees what was committed while waiting for the lock.
    counters = tx.execute(
        sa.select(job_stats.c.last_event, job_stats.c.setbacks).where(
            job_stats.c.job_key == job_key
        )
    ).one()
    now = tx.now_ms()
    if row.auto_state is None:
        begun = Watch(search=Search(limit=row.max_concurrent))
        _write(tx, job_key, _begin(begun, counters, now))
        return None
    state = _read(row.auto_state)
    passed_ms = now - state.looked_at_ms
    if passed_ms < _SOONEST_MS:
        return None
    if passed_ms > _LONGEST_MS:
        _write(tx, job_key, _begin(Watch(search=state.watch.search), counters, now))
        return None
    seen, finished_at_ms = _seen(tx, job_key, state, counters)
    after = _State(
        watch=watch(state.watch, seen),
        looked_at_ms=now,
        event=counters.last_event,
        finished_at_ms=finished_at_ms,
        setbacks=counters.setbacks,
    )
    _write(tx, job_key, after)
    limit = after.watch.search.limit
    if limit == row.max_concurrent:
        return None
    return Changed(batch_id=row.id, before=row.max_concurrent, now=limit)


def _begin(begun: Watch, counters: sa.Row[Any], now_ms: int) -> _State:
    return _State(
        watch=begun,
        looked_at_ms=now_ms,
        event=counters.last_event,
        finished_at_ms=None,
        setbacks=counters.setbacks,
    )


_FINISHED = (
    sa.select(
        sa.func.count().label("prompts"),
        sa.func.coalesce(sa.func.sum(result.c.latency_s), 0.0).label("busy_s"),
        sa.func.coalesce(sa.func.sum(result.c.latency_s * result.c.latency_s), 0.0).label(
            "squares"
        ),
        sa.func.max(result.c.finished_at_ms).label("finished_at_ms"),
    )
    # A prompt that never ran has no such time.
    .where(
        result.c.event_id.between(sa.bindparam("low"), sa.bindparam("high")),
        result.c.latency_s.is_not(None),
    )
)


def _seen(
    tx: Transaction, job_key: int, state: _State, counters: sa.Row[Any]
) -> tuple[Sample, int | None]:
    """Read the results since the last sample, and when the last of them finished.

    A sample begins and ends when a prompt finishes, not at the time of a pass: prompts finish in
    bursts, and an interval with a part of a burst would show a wrong throughput.
    """
    row = tx.execute(
        _FINISHED,
        {
            "low": prompt_id(job_key, state.event + 1),
            "high": prompt_id(job_key, counters.last_event),
        },
    ).one()
    sample = Sample(setbacks=max(counters.setbacks - state.setbacks, 0))
    if not row.prompts:
        return sample, state.finished_at_ms
    if state.finished_at_ms is None:
        return sample, row.finished_at_ms
    last_ms = max(row.finished_at_ms, state.finished_at_ms)
    sample = replace(
        sample,
        prompts=row.prompts,
        duration_s=(last_ms - state.finished_at_ms) / 1000,
        busy_s=row.busy_s,
        squares=row.squares,
    )
    return sample, last_ms


def _write(tx: Transaction, job_key: int, state: _State) -> None:
    tx.execute(
        sa.update(job)
        .where(job.c.key == job_key)
        .values(max_concurrent=state.watch.search.limit, auto_state=asdict(state))
    )


def _read(stored: Mapping[str, Any]) -> _State:
    watched: Mapping[str, Any] = stored["watch"]
    search: dict[str, Any] = dict(watched["search"])
    search |= {name: _level(search[name]) for name in ("against", "settled")}
    return _State(
        watch=Watch(
            search=Search(**search),
            sample=Sample(**watched["sample"]),
            is_settling=watched["is_settling"],
        ),
        looked_at_ms=stored["looked_at_ms"],
        event=stored["event"],
        finished_at_ms=stored["finished_at_ms"],
        setbacks=stored["setbacks"],
    )


def _level(stored: Mapping[str, Any] | None) -> Level | None:
    return None if stored is None else Level(**stored)

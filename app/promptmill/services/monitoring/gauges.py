"""Gauges of `/metrics`, read from the database and the hosts at each request."""

from __future__ import annotations

import platform
import shutil
import time
from pathlib import Path
from typing import Final, NamedTuple

from promptmill.domain.errors import Unavailable
from promptmill.domain.lifecycle import JobState
from promptmill.domain.workers import WorkerState
from promptmill.observability import metrics
from promptmill.services.resources import Resources
from promptmill.services.workers import list_workers
from promptmill.store.batches import stats
from promptmill.store.benchmarks import registry
from promptmill.store.db import inspection
from promptmill.store.db.database import Transaction
from promptmill.store.hosts import hosts
from promptmill.version import version

_FRESH_S: Final = 5.0
"""Seconds for which numbers read from the database are reused."""
_OF_BATCHES: Final = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED, JobState.CANCELLING)
_OF_BENCHMARKS: Final = (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)


class _Sizes(NamedTuple):
    """Sizes in bytes that the database itself reports."""

    whole: int | None = None
    """The whole database on PostgreSQL; the size of a SQLite file is read from its folder."""
    free: int | None = None
    """The free pages of a SQLite file."""


async def refresh(resources: Resources) -> None:
    """Set all gauges; those of the database keep their values while it is away."""
    _set_hosts(resources)
    if time.monotonic() < resources.last_stats.fresh_until:
        return
    resources.last_stats.fresh_until = time.monotonic() + _FRESH_S
    try:
        queue, benchmarks, used, sizes = await resources.database.read(_read)
        workers = await list_workers(resources)
    except Unavailable:
        return
    database = "sqlite" if resources.database.is_sqlite else "postgresql"
    metrics.BUILD_INFO.labels(version(), platform.python_version(), database).set(1)
    metrics.QUEUE_LIMIT.set(resources.settings.max_queued_prompts)
    for state in _OF_BATCHES:
        metrics.BATCHES.labels(state.value).set(queue.batches.get(state, 0))
    for state in _OF_BENCHMARKS:
        metrics.BENCHMARKS.labels(state.value).set(benchmarks.get(state, 0))
    metrics.PROMPTS.labels("pending").set(sum(queue.pending.values()))
    metrics.PROMPTS.labels("running").set(queue.running)
    metrics.PENDING_PROMPTS.clear()
    for model, number in queue.pending.items():
        metrics.PENDING_PROMPTS.labels(metrics.model_label(model)).inc(number)
    metrics.OLDEST_WAIT.set(queue.oldest_wait_ms / 1000)
    for state in (WorkerState.ALIVE, WorkerState.LOST):
        number = sum(worker.state is state for worker in workers)
        metrics.WORKERS.labels(state.value).set(number)
    own = {host.url for host in resources.hosts}
    for use in used:
        if use.url in own:
            metrics.HOST_IN_FLIGHT.labels(use.url).set(use.in_flight)
            metrics.HOST_HELD.labels(use.url).set(use.held_by is not None)
    _set_sizes(resources.settings.sqlite_path, sizes)


def _read(
    tx: Transaction,
) -> tuple[stats.QueueStats, dict[JobState, int], list[hosts.HostUse], _Sizes]:
    return (
        stats.read_queue(tx),
        dict(registry.count_alive(tx)),
        list(hosts.list_hosts(tx)),
        _sizes(tx),
    )


def _sizes(tx: Transaction) -> _Sizes:
    if tx.is_sqlite:
        return _Sizes(free=inspection.free_page_bytes(tx))
    return _Sizes(whole=stats.postgresql_bytes(tx))


def _set_sizes(path: Path | None, sizes: _Sizes) -> None:
    if sizes.whole is not None:
        metrics.DATABASE_BYTES.set(sizes.whole)
    if sizes.free is not None:
        metrics.DATABASE_FREE_BYTES.set(sizes.free)
    if path is not None and path.exists():
        log = path.with_name(f"{path.name}-wal")
        metrics.DATABASE_BYTES.set(path.stat().st_size)
        metrics.WAL_BYTES.set(log.stat().st_size if log.exists() else 0)
        metrics.DISK_FREE_BYTES.set(shutil.disk_usage(path.parent).free)


def _set_hosts(resources: Resources) -> None:
    metrics.HOST_MODEL_BYTES.clear()
    metrics.HOST_MODEL_VRAM_BYTES.clear()
    for host in resources.hosts:
        metrics.HOST_UP.labels(host.url).set(host.available)
        metrics.HOST_QUARANTINED.labels(host.url).set(host.health.trouble is not None)
        if host.spec.slots is not None:
            metrics.HOST_SLOTS.labels(host.url).set(host.spec.slots)
        for model in host.view.loaded or ():
            labels = metrics.pair_labels(host.url, model.name)
            metrics.HOST_MODEL_BYTES.labels(*labels).inc(model.size)
            metrics.HOST_MODEL_VRAM_BYTES.labels(*labels).inc(model.size_vram)

"""Snapshots for the dashboard and `/stats`: queue, hosts and findings, shared by all readers."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from promptmill.domain.batches import Batch
from promptmill.domain.errors import Unavailable
from promptmill.domain.hosts.activity import Grouping, RecentOutcomes, Throughput, Window
from promptmill.domain.lifecycle import LIVE_JOB_STATES, TERMINAL_JOB_STATES
from promptmill.domain.reading import BatchFilter, BatchFindings, Causes, QueueCounts
from promptmill.domain.workers import Worker, WorkerState
from promptmill.services import hosts, models, workers
from promptmill.services.reading.waiting import with_prospects
from promptmill.services.resources import Resources
from promptmill.store.batches import findings, overview
from promptmill.store.db.database import Transaction
from promptmill.store.hosts import activity

MOST_LIVE: Final = 12
MOST_RECENT: Final = 6
"""Most ended batches in the overview."""
_GLANCE_S, _HOSTS_S, _MODELS_S = 1.0, 5.0, 10.0
_FINDINGS_S, _ENDED_S = 5.0, 600.0
_NEARLY_FULL: Final = 0.9
_LITTLE_ROOM: Final = 1 << 30
_LARGE: Final = 10 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """State of the service at one moment."""

    counts: QueueCounts
    live: Sequence[Batch]
    hosts: Sequence[hosts.HostSummary]
    workers: Sequence[Worker]
    recent: RecentOutcomes
    """Recent outcomes, as far as workers have reported them."""
    needs_a_hand: Sequence[str]
    """Conditions that need an operator, one sentence each."""

    @property
    def prompts_per_s(self) -> float | None:
        """Results per second of all running batches; None if no batch has a rate."""
        rates = [batch.prompts_per_s for batch in self.live if batch.prompts_per_s is not None]
        return sum(rates) if rates else None


async def glance(resources: Resources) -> Glance:
    """Read queue, running batches, hosts and workers; up to a second old.

    Raises:
        Unavailable: The database does not answer.
    """

    async def make() -> Glance:
        counts, found, lately, seen, working = await asyncio.gather(
            resources.database.read(overview.counts),
            resources.database.read(overview.live, limit=MOST_LIVE),
            resources.database.read(activity.recent),
            seen_hosts(resources),
            workers.list_workers(resources),
        )
        return Glance(
            counts=counts,
            live=await with_prospects(resources, found),
            hosts=seen,
            workers=working,
            recent=lately,
            needs_a_hand=_needs_a_hand(resources, counts, seen, working),
        )

    return await resources.snapshots.shared("glance", _GLANCE_S, make)


async def throughput(resources: Resources, window: Window, by: Grouping) -> Throughput:
    """Read throughput over time; up to five seconds old.

    Raises:
        Unavailable: The database does not answer.
    """

    async def make() -> Throughput:
        return await resources.database.read(activity.throughput, window, by)

    return await resources.snapshots.shared(("throughput", window, by), _FINDINGS_S, make)


async def recent(resources: Resources) -> Sequence[Batch]:
    """Read the newest ended batches; up to five seconds old.

    Raises:
        Unavailable: The database does not answer.
    """

    async def make() -> Sequence[Batch]:
        wanted = BatchFilter(states=tuple(TERMINAL_JOB_STATES))
        found = await resources.database.read(overview.page, wanted, limit=MOST_RECENT)
        return found.batches

    return await resources.snapshots.shared("recent", _FINDINGS_S, make)


async def seen_hosts(resources: Resources) -> Sequence[hosts.HostSummary]:
    """Read the Ollama hosts, asked at most every five seconds for all readers.

    Raises:
        Unavailable: The database does not answer.
    """
    return await resources.snapshots.shared("hosts", _HOSTS_S, lambda: hosts.list_hosts(resources))


async def seen_models(resources: Resources) -> Sequence[models.ModelSummary]:
    """Read the installed models, at most every ten seconds; none while no host responds."""

    async def make() -> Sequence[models.ModelSummary]:
        try:
            return await models.list_models(resources)
        except Unavailable:
            return ()

    return await resources.snapshots.shared("models", _MODELS_S, make)


def _needs_a_hand(
    resources: Resources,
    counts: QueueCounts,
    seen: Sequence[hosts.HostSummary],
    working: Sequence[Worker],
) -> Sequence[str]:
    found: list[str] = []
    for host in seen:
        if not host.enabled:
            found.append(f"{host.url} is out of service until it is put back.")
        elif not host.reachable:
            found.append(f"{host.url} does not answer: {host.error}")
        elif host.work is not None and host.work.aside is not None:
            found.append(f"{host.url} gets no work for now: {host.work.aside.reason}")
    lost = sum(worker.state is WorkerState.LOST for worker in working)
    if lost:
        found.append(f"{lost} of the workers lost: silent for longer than their lease.")
    if counts.pending and not any(worker.state is WorkerState.ALIVE for worker in working):
        found.append("Prompts wait and no worker is alive: start `promptmill worker`.")
    most = resources.settings.max_queued_prompts
    if counts.pending >= _NEARLY_FULL * most:
        found.append(f"The queue is nearly full: {counts.pending} of {most} prompts.")
    return [*found, *_lacks_room(resources.settings.sqlite_path)]


def _lacks_room(path: Path | None) -> Iterator[str]:
    if path is None or not path.exists():
        return
    free, size = shutil.disk_usage(path.parent).free, path.stat().st_size
    if free < max(_LITTLE_ROOM, size // 10):
        yield f"Of the database's disk {free / 1e9:.1f} GB are free: make room, or delete batches."
    if size > _LARGE:
        yield f"The database has {size / 1e9:.0f} GB, and nothing is deleted by itself."


async def batch_findings(resources: Resources, batch: Batch) -> BatchFindings:
    """Read the progress of a batch and a sample of its times; up to five seconds old while it runs.

    Raises:
        Unavailable: The database does not answer.
    """

    async def make() -> BatchFindings:
        def read(tx: Transaction) -> BatchFindings:
            return BatchFindings(
                curve=findings.curve(tx, batch.key, batch.last_event),
                sample=findings.sample(tx, batch.key, batch.last_event),
                of=batch.counts.finished,
            )

        return await resources.database.read(read)

    return await resources.snapshots.shared(
        ("findings", batch.id, _state_of(batch)), _age_s(batch), make
    )


async def batch_causes(resources: Resources, batch: Batch) -> Causes:
    """Read the failures of a batch, grouped; up to five seconds old while it runs.

    Raises:
        Unavailable: The database does not answer.
    """

    async def make() -> Causes:
        return await resources.database.read(findings.causes, batch.key)

    return await resources.snapshots.shared(
        ("causes", batch.id, _state_of(batch)), _age_s(batch), make
    )


def _age_s(batch: Batch) -> float:
    return _FINDINGS_S if batch.state in LIVE_JOB_STATES else _ENDED_S


def _state_of(batch: Batch) -> object:
    """Value that changes when results were added or removed since the batch ended."""
    is_live = batch.state in LIVE_JOB_STATES
    return None if is_live else (batch.last_event, batch.counts)

"""Health and readiness of the service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from promptmill.domain.errors import Unavailable, WorkerEnded
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.hosts import LOOK_S, Host
from promptmill.services.resources import OwnWorker, Resources
from promptmill.services.workers import list_workers
from promptmill.store.batches import jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the service can work, and which parts are missing."""

    ready: bool
    """Whether the database and at least one host respond, and no worker is stuck."""
    missing: Sequence[str]
    """Parts that do not respond or work, one sentence each, including hosts that others replace."""


def require_health(resources: Resources) -> None:
    """Check that the roles of this process run, without accessing the database or a host.

    Raises:
        WorkerEnded: A role of a worker has ended.
    """
    for worker in resources.own_workers.values():
        if worker.ended is not None:
            raise WorkerEnded(worker.ended)


async def check_ready(resources: Resources) -> Readiness:
    """Ask the database and every host, all at once."""
    database, idle, hosts = await asyncio.gather(
        _missing_database(resources),
        _idle_workers(resources),
        asyncio.gather(*(_missing_host(host) for host in resources.hosts)),
    )
    return Readiness(
        ready=database is None and not idle and None in hosts,
        missing=[sentence for sentence in (database, *idle, *hosts) if sentence is not None],
    )


async def _idle_workers(resources: Resources) -> Sequence[str]:
    """Sentences for workers that are alive and do not work.

    Lost workers are left out: their prompts go back, and `/workers` shows them.
    """
    settings = resources.settings
    # An idle worker reads the database no more often than this.
    quiet_s = max(settings.lease_s, 2 * settings.poll_s)
    idle = [
        sentence
        for worker_id, own in resources.own_workers.items()
        if (sentence := own.ended or own.outdated or _silence(worker_id, own, quiet_s))
    ]
    try:
        others = await list_workers(resources)
    except Unavailable:
        return idle  # that the database does not answer has a sentence of its own
    return idle + [
        f"Worker {worker.identity.id} had its last exchange with the database"
        f" {(worker.seen_at_ms - worker.exchanged_at_ms) / 1000:.0f} s before its last heartbeat."
        for worker in others
        if worker.identity.id not in resources.own_workers
        and worker.stands_still(after_ms=round(quiet_s * 1000))
    ]


def _silence(worker_id: str, own: OwnWorker, quiet_s: float) -> str | None:
    silent_s = time.monotonic() - own.last_exchange_at()
    if silent_s <= quiet_s:
        return None
    return f"Worker {worker_id} had its last exchange with the database {silent_s:.0f} s ago."


async def _missing_database(resources: Resources) -> str | None:
    try:
        await resources.database.read(jobs.page, limit=1)
    except Unavailable as error:
        return str(error)
    return None


async def _missing_host(host: Host) -> str | None:
    try:
        await host.client.version(within_s=LOOK_S)
    except OllamaError as error:
        return error.failed.message
    return None

"""Checks of the workers that the database knows."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.diagnosis.findings import Finding, Level
from promptmill.domain.workers import WorkerState
from promptmill.store.db.database import Database
from promptmill.store.hosts import host_reports, workers
from promptmill.version import version


def check_workers(database: Database, *, lease_ms: int) -> Sequence[Finding]:
    """Whether workers are alive, and whether they agree about version and hosts."""
    listed = database.read_now(workers.list_workers, lease_ms=lease_ms)
    alive = [each for each in listed if each.state is WorkerState.ALIVE]
    lost = [each.identity.id for each in listed if each.state is WorkerState.LOST]
    found: list[Finding] = []
    if alive:
        found.append(Finding("workers", Level.OK, f"{len(alive)} alive."))
    else:
        found.append(Finding("workers", Level.NOTE, "No worker is alive.", "`serve` brings one."))
    if lost:
        told = f"Lost without a word: {', '.join(lost)}."
        found.append(
            Finding("workers", Level.WARNING, told, "Their prompts go back by themselves.")
        )
    versions = {each.identity.version for each in alive} | {version()}
    if len(versions) > 1:
        told = f"Several versions: {', '.join(sorted(versions))}."
        found.append(Finding("workers", Level.WARNING, told, "Start all with one version."))
    if fenced := sum(each.fenced for each in listed):
        told = f"{fenced} outcomes were dropped, because their leases had been lost."
        advice = "A worker was frozen or cut off; its prompts ran again elsewhere."
        found.append(Finding("workers", Level.NOTE, told, advice))
    hosts: dict[str, set[int]] = {}
    for worker_id, host_key, _ in database.read_now(host_reports.of_hosts, lease_ms=lease_ms):
        hosts.setdefault(worker_id, set()).add(host_key)
    if len(set(map(frozenset, hosts.values()))) > 1:
        told = "Workers have different lists of hosts."
        advice = "That may be meant; else give all the same PROMPTMILL_OLLAMA_HOSTS."
        found.append(Finding("workers", Level.NOTE, told, advice))
    return found

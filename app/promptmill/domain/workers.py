"""Records of workers: identity, counters, state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WorkerState(StrEnum):
    """The state of a worker as seen from outside."""

    ALIVE = "alive"
    """The worker was seen within the lease."""
    STOPPED = "stopped"
    """The worker has shut down in order."""
    LOST = "lost"
    """The worker has been silent for longer than the lease: killed, paused or cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """The identity that a worker registers at its start."""

    id: str
    """Id of the worker, which is also the owner's name in its leases."""
    host_name: str
    pid: int
    version: str
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker at the moment of a read."""

    identity: WorkerIdentity
    state: WorkerState
    in_flight: int
    """Prompts that the worker has leased."""
    finished: int
    """Results that the worker has stored, as of its last heartbeat."""
    fenced: int
    """Outcomes that the worker dropped because their leases had been lost."""
    started_at_ms: int
    seen_at_ms: int
    exchanged_at_ms: int
    """Moment at which the dispatcher last had nothing left to record, as of the last heartbeat.
    """
    stopped_at_ms: int | None

    def stands_still(self, *, after_ms: int) -> bool:
        """Whether a worker sends heartbeats but has recorded nothing for longer than `after_ms`."""
        silent_ms = self.seen_at_ms - self.exchanged_at_ms
        return self.state is WorkerState.ALIVE and silent_ms > after_ms


def worker_state(
    *, now_ms: int, seen_at_ms: int, stopped_at_ms: int | None, lease_ms: int
) -> WorkerState:
    """State of a worker; all times are of the database's clock."""
    if stopped_at_ms is not None:
        return WorkerState.STOPPED
    return WorkerState.ALIVE if now_ms - seen_at_ms <= lease_ms else WorkerState.LOST

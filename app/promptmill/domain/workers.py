"""Workers as others see them: who they are, what they have done, and whether they are alive."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WorkerState(StrEnum):
    """What can be said of a worker from outside."""

    ALIVE = "alive"
    """It was seen within the lease."""
    STOPPED = "stopped"
    """It said goodbye."""
    LOST = "lost"
    """It has been silent for longer than the lease: killed, paused, or cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerIdentity:
    """What a worker says of itself once, at its start."""

    id: str
    """The owner's name in its leases."""
    host_name: str
    pid: int
    version: str
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker at the moment that the database was asked."""

    identity: WorkerIdentity
    state: WorkerState
    in_flight: int
    """Prompts whose leases it has."""
    finished: int
    """Results that it has stored, as of its last heartbeat."""
    fenced: int
    """Outcomes that it had to drop, because their leases had been lost."""
    started_at_ms: int
    seen_at_ms: int
    exchanged_at_ms: int
    """When it last had nothing left to tell the database, as of its last heartbeat."""
    stopped_at_ms: int | None

    def stands_still(self, *, after_ms: int) -> bool:
        """Whether it shows that it lives, and for longer than `after_ms` did not get on."""
        silent_ms = self.seen_at_ms - self.exchanged_at_ms
        return self.state is WorkerState.ALIVE and silent_ms > after_ms


def worker_state(
    *, now_ms: int, seen_at_ms: int, stopped_at_ms: int | None, lease_ms: int
) -> WorkerState:
    """Whether a worker is alive; all times are of one clock, the database's."""
    if stopped_at_ms is not None:
        return WorkerState.STOPPED
    return WorkerState.ALIVE if now_ms - seen_at_ms <= lease_ms else WorkerState.LOST

"""What a claim gives and what comes back for it: plain records, shared by store and worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptmill.domain.calls import Call
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode, Outcome
from promptmill.domain.retry import Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to run one prompt, and everything needed to do so."""

    task_id: int
    token: int
    job_key: int
    attempt: int
    """Which try this is, counted from 1."""
    max_attempts: int
    losses: int = 0
    """How often what ran it died: its worker, or its host."""
    turned_away: int = 0
    """How often its host took nothing at that moment."""
    limits: Limits
    call: Call
    host_key: int
    """The host that it is to run on, whose slot it takes."""
    fail_on: tuple[ErrorCode, ...] | None = None
    """Defects that make the answer a failure; None: the default ones."""
    claimed_at_ms: int
    """The moment of the claim by the database's clock."""
    claimed_at: float
    """The same moment by this process's monotonic clock, in seconds."""
    start_by: float
    """The latest moment at which the call may begin, by the same clock: then the permit ends."""
    available_at_ms: int
    """Its place in the queue."""
    group_key: int = 0
    load_key: int = 0
    """The group that the host runs for it; 0: prompts are not sorted by groups."""
    begins_alike: bool = False
    """Whether the group is of prompts that begin alike."""

    @property
    def is_paced(self) -> bool:
        """Whether the call has to begin within moments, by a permit of its job's delay."""
        return self.limits.rate_limit_delay_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HostShare:
    """The host that claimed prompts will run on, and how many it takes."""

    key: int
    url: str
    slots: int | None
    """Most running calls of all workers there; None: not limited."""
    grouped: bool = False
    """Whether only prompts of the groups that the host runs may start there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Which prompts a host is to be given before others of equal priority.

    See `worker.scheduling.prefix_affinity`.

    It only orders: jobs that never had a turn come before, and what nobody else takes is taken.
    """

    group: int | None = None
    """The group whose turn it is at the host."""
    leave: bool = False
    """Whether to stop before a group that began alike at another host last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """How an attempt ended and what is to follow."""

    lease: Lease
    outcome: Outcome
    decision: Decision
    host_url: str
    started_at_ms: int
    finished_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a flush did."""

    finished: int
    """Results stored."""
    fenced: int
    """Outcomes dropped, because the lease was no longer theirs."""
    job_may_end: bool = False
    """Whether a job has no prompt left and waits to be closed."""
    job_stopped: bool = False
    """Whether a job's stop rule has struck, so that what waits of it is to be cancelled."""
    freed: Mapping[int, int] = field(default_factory=dict[int, int], compare=False)
    """For each host, by its key, how many of its slots were freed."""

"""Records of leases and completions, shared by store and worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from promptmill.domain.calls import Call
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode, Outcome
from promptmill.domain.retry import Decision
from promptmill.store.db.tables.batches import index_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Right to run one prompt, with everything needed to do so."""

    task_id: int
    token: int
    job_key: int
    batch_id: str
    attempt: int
    """The number of the attempt, counted from 1."""
    max_attempts: int
    losses: int = 0
    """Number of earlier attempts that ended in a crash of the prompt's worker or host."""
    turned_away: int = 0
    """Number of earlier attempts in which the host refused the prompt."""
    limits: Limits
    call: Call
    host_key: int
    """The key of the host that the prompt runs at, whose slot it takes."""
    fail_on: tuple[ErrorCode, ...] | None = None
    """Defects that make the answer a failure; None: the default ones."""
    accepted_at_ms: int
    """When the job was accepted, by the database's clock."""
    claimed_at_ms: int
    """The moment of the claim by the database's clock."""
    claimed_at: float
    """The moment of the claim by this process's monotonic clock, in seconds."""
    start_by: float
    """The end of the start permit, by the same clock."""
    available_at_ms: int
    """The prompt's place in the queue."""
    group_key: int = 0
    load_key: int = 0
    """Load group that the host runs for the prompt; 0: no grouping."""
    begins_alike: bool = False
    """Whether the group is a prefix group."""
    others: tuple[Lease, ...] = ()
    """Leases of the other texts that the same call embeds."""
    takes_slot: bool = True
    """Whether the call's slot is this lease's; False among the `others`."""

    @property
    def of_call(self) -> tuple[Lease, ...]:
        """Leases of all texts of the call, this one first."""
        return (self, *self.others)

    @property
    def index(self) -> int:
        """The prompt's place in its batch, counted from 0."""
        return index_of(self.task_id)

    @property
    def waited_s(self) -> float | None:
        """Seconds from the job's acceptance to the claim; None of a prompt that ran before."""
        if self.attempt > 1 or self.available_at_ms:
            return None
        return max(self.claimed_at_ms - self.accepted_at_ms, 0) / 1000

    @property
    def is_paced(self) -> bool:
        """Whether the job has a delay between starts, so that the permit ends within moments."""
        return self.limits.is_paced


@dataclass(frozen=True, slots=True, kw_only=True)
class HostShare:
    """Host that claimed prompts run at, with its slots."""

    key: int
    url: str
    slots: int | None
    """The most running calls of all workers at the host; None: no limit."""
    grouped: bool = False
    """Whether only prompts of the groups that the host runs may start there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Prefix affinity: the prompts that a host gets before others of equal priority.

    See `worker.scheduling.prefix_affinity`.

    It only orders: jobs that never had a turn come before, and what nobody else takes is taken.
    """

    group: int | None = None
    """The group whose turn it is at the host."""
    leave: bool = False
    """Whether to stop before a group that began alike at another host last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The outcome of an attempt, and the decision about it."""

    lease: Lease
    outcome: Outcome
    decision: Decision
    host_url: str
    started_at_ms: int
    finished_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The effect of a flush."""

    finished: int
    """Results stored."""
    fenced: int
    """Outcomes dropped because their leases were lost."""
    job_may_end: bool = False
    """Whether a job has no prompt left and must be ended."""
    job_stopped: bool = False
    """Whether a job's stop rule has ended it, so that its waiting prompts must be cancelled."""
    freed: Mapping[int, int] = field(default_factory=dict[int, int], compare=False)
    """The number of freed slots, by the key of each host."""
    results: Sequence[Completion] = field(default=(), compare=False)
    """The completions whose results were stored."""
    returned: Sequence[Completion] = field(default=(), compare=False)
    """The completions whose prompts went back to the queue."""

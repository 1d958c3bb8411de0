"""Records of a batch: specification, state, and results of its prompts.

Plain immutable records, which are used in all layers. Times are integer milliseconds since 1970 UTC
and end in `_ms`; None stands for what has not happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, NamedTuple

from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode, Reply
from promptmill.domain.scheduling.downloads import Pull
from promptmill.domain.scheduling.forecast import Window


class BatchKind(StrEnum):
    """Kinds of batches, by the result of a prompt. Part of the HTTP contract: never renamed."""

    GENERATE = "generate"
    """An answer to each prompt."""
    EMBED = "embed"
    """A vector of each text."""


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """Limit on failed prompts of a batch: a number, or a share of all its prompts."""

    text: str
    """The limit as it was sent: `25`, or `20%`."""

    def prompts_of(self, total: int) -> int:
        """The most failed prompts that a batch of `total` may have; a share is rounded down."""
        if self.text.endswith("%"):
            # Computed in whole ten-thousandths: 0.1 % of 1000 is 1, not 0.99999.
            share = round(float(self.text[:-1]) * 100)
            return total * share // 10_000
        return int(self.text)


TEXTS: Final = "input"
"""Field of a prompt's overrides that holds the texts of a prompt with several texts to embed."""


class PromptDraft(NamedTuple):
    """One prompt of a batch as it was sent. A tuple, since there may be a million of them."""

    text: str
    """The prompt; of a chat, the content of its last user message."""
    custom_id: str | None = None
    """The caller's own id, unique in the batch."""
    overrides: Mapping[str, Any] | None = None
    """The prompt's own fields that differ from the batch's: `model`, `messages`, `options`, …"""
    data: Mapping[str, Any] | None = None
    """The caller's own object, kept for the result and not sent to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDraft:
    """Valid request for a batch, not stored yet."""

    prompts: Sequence[PromptDraft]
    model: str
    kind: BatchKind = BatchKind.GENERATE
    limits: Limits = field(default_factory=Limits)
    auto_concurrency: bool = False
    """Whether `limits.max_concurrent` is only the start, and adapted while the batch runs."""
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of Ollama's request that apply to every prompt (`options`, `system`, ...)."""
    timeout_s: float = 300.0
    max_attempts: int = 3
    priority: int = 0
    label: str | None = None
    """The caller's name for the batch; need not be unique."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    expires_in_s: float | None = None
    """Seconds after which prompts without an outcome expire; None: never."""
    max_failures: FailureLimit | None = None
    """Most prompts that may fail before the batch ends; None: any number."""
    fail_on: tuple[ErrorCode, ...] | None = None
    """Defects that make an answer a failure; None: the default ones."""
    auto_pull: bool = False
    """Whether models that no host has are pulled before the prompts run."""
    key_id: str | None = None
    """Id of the API key of the submission; None without keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchChanges:
    """Changes of a batch that a client asks for; None leaves a field as it is."""

    max_concurrent: int | None = None
    """The new limit, which also ends adaptive concurrency."""
    auto_concurrency: bool = False
    """Whether the limit is adapted from now on."""
    rate_limit_delay_s: float | None = None
    priority: int | None = None
    label: str | None = None
    metadata: Mapping[str, str] | None = None

    def told(self) -> list[str]:
        """Changes in words: new limits with their values, texts by name only."""
        if self.auto_concurrency:
            limit = ["max_concurrent auto"]
        else:
            limit = [] if self.max_concurrent is None else [f"max_concurrent {self.max_concurrent}"]
        delay_s, priority = self.rate_limit_delay_s, self.priority
        return [
            *limit,
            *([] if delay_s is None else [f"rate_limit_delay {delay_s:g} s"]),
            *([] if priority is None else [f"priority {priority}"]),
            *(name for name in ("label", "metadata") if getattr(self, name) is not None),
        ]

    def named(self) -> list[str]:
        """Names of the fields to change."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return [name for name, value in values.items() if value is not None and value is not False]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyKey:
    """Idempotency key: requests with the same key and body stand for one resource."""

    key: str
    body_hash: str
    """SHA-256 of the request's body, hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Number of prompts of a batch in each state; they always add up to `total`."""

    total: int
    pending: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0

    @property
    def finished(self) -> int:
        """The number of prompts that have an outcome."""
        return self.succeeded + self.failed + self.cancelled + self.expired


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens read and written for a batch, as Ollama counted them in finished prompts."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class WaitingReason(StrEnum):
    """Reasons why a batch does not advance. Part of the HTTP contract: never renamed."""

    HOST_UNREACHABLE = "host_unreachable"
    """No connection to the host can be made, or a proxy before it reports that."""
    HOST_REFUSES = "host_refuses"
    """The host, or what answers in its place, takes no prompts (401, 403, no Ollama)."""
    HOST_BUSY = "host_busy"
    """The host takes no more work at the moment (503)."""
    HOST_FAILS = "host_fails"
    """Several prompts in a row failed at the host, or it does not respond in time."""
    HOST_DISABLED = "host_disabled"
    """The host was taken out of service."""
    USAGE_LIMIT = "usage_limit"
    """The host limits the requests for the model (429)."""
    MODEL_MISSING = "model_missing"
    """No host has a model of the batch, and it is pulled or waits to be pulled."""
    BENCHMARK = "benchmark"
    """A benchmark has the host to itself."""
    PAUSED = "paused"
    """A client paused the batch."""
    OTHER_BATCHES = "other_batches"
    """Other batches go first."""
    START_LIMIT = "start_limit"
    """The batch's own `rate_limit_delay`."""
    NEXT_ATTEMPT = "next_attempt"
    """The remaining prompts have failed, and wait for their next attempt."""
    WORKERS_MISSING = "workers_missing"
    """No worker is alive."""


@dataclass(frozen=True, slots=True)
class WaitingFor:
    """Reason why a batch does not advance, with its details."""

    reason: WaitingReason
    message: str
    """A sentence for people."""
    until_ms: int | None = None
    """Moment of the next try; None: unknown."""
    host: str | None = None
    """Host that the reason is about; None: not a single host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Stored batch at the moment of a read."""

    key: int
    """The store's own number; later batches have higher ones. Never shown to a client."""
    id: str
    kind: BatchKind = BatchKind.GENERATE
    state: JobState
    model: str
    limits: Limits
    parameters: Mapping[str, Any]
    timeout_s: float
    max_attempts: int
    priority: int
    metadata: Mapping[str, str]
    counts: Counts
    usage: Usage
    created_at_ms: int
    started_at_ms: int | None
    finished_at_ms: int | None
    error: str | None
    read_at_ms: int
    """The database's clock when this was read."""
    expires_at_ms: int | None = None
    """Moment at which prompts without an outcome expire; None: never."""
    label: str | None = None
    """The caller's name for the batch."""
    max_failures: FailureLimit | None = None
    fail_on: tuple[ErrorCode, ...] | None = None
    """Defects that make an answer a failure; None: the default ones."""
    last_event: int = 0
    """Number of the result that was stored last, counted from 1; 0 before the first."""
    auto_concurrency: bool = False
    """Whether `limits.max_concurrent` is adapted while the batch runs."""
    queue_position: int | None = None
    """Place among the queued batches, counted from 1; None unless queued."""
    window: Window | None = None
    """Last results of a running batch; None before the first."""
    eta_s: float | None = field(default=None, compare=False)
    """Estimated seconds until the batch has ended, set by `services.forecasts`; None: unknown.

    Excluded from comparisons, because it changes with other work and with time.
    """
    waiting_for: WaitingFor | None = field(default=None, compare=False)
    """Reason why the batch does not advance, set by `services.reading.waiting`; else None."""
    auto_pull: bool = False
    """Whether models that no host has are pulled before the prompts run."""
    pulls: tuple[Pull, ...] = ()
    """The downloads that the batch waits or has waited for."""
    key_name: str | None = None
    """Name of the API key of the submission; None without keys."""

    @property
    def progress(self) -> float:
        """The share of prompts that have an outcome, 0 to 1."""
        return self.counts.finished / self.counts.total if self.counts.total else 1.0

    @property
    def prompts_per_s(self) -> float | None:
        """Outcomes per second: recent ones of a running batch, all of an ended one.

        None before the first outcome, and while no prompt is started.
        """
        if self.state is JobState.RUNNING and self.window is not None:
            return self.window.rate(self.read_at_ms)
        if self.started_at_ms is None or self.finished_at_ms is None:
            return None
        elapsed_ms = self.finished_at_ms - self.started_at_ms
        answered = self.counts.succeeded + self.counts.failed
        return answered * 1000 / elapsed_ms if answered and elapsed_ms > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult(Reply):
    """The outcome of one prompt, as it is stored and never changed."""

    index: int
    custom_id: str | None
    prompt: str
    model: str
    status: TaskState
    error: str | None
    error_code: ErrorCode | None
    attempts: int
    host: str | None
    started_at_ms: int | None
    finished_at_ms: int
    data: Mapping[str, Any] | None = None
    """The caller's own object of the prompt."""
    event: int | None = None
    """Number of the result in the order of storing, counted from 1."""

    @property
    def success(self) -> bool:
        """Whether the prompt has an answer."""
        return self.status is TaskState.SUCCEEDED

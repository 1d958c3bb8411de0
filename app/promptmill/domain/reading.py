"""What people and programs look for in batches: filters, and what is found with them.

Plain immutable records, as in `batches`. None is what nobody knows, or asks for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from promptmill.domain.batches import TaskResult
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.outcomes import ErrorCode

_NUMBERS: Final = re.compile(r"0x[0-9a-f]+|\d[\d.,:]*", re.IGNORECASE)
_LONGEST_CAUSE: Final = 300


class SearchedText(StrEnum):
    """In which text of a result a search looks."""

    PROMPT = "prompt"
    RESPONSE = "response"
    ERROR = "error"
    ID = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFilter:
    """Which results of a batch are wanted; a field that is None or empty asks for nothing."""

    status: TaskState | None = None
    error_codes: tuple[ErrorCode, ...] = ()
    defect: ErrorCode | None = None
    model: str | None = None
    host: str | None = None
    min_attempts: int | None = None
    min_latency_s: float | None = None
    max_latency_s: float | None = None
    text: str | None = None
    """What the searched text holds, upper and lower case alike."""
    text_in: SearchedText | None = None
    """Where it is looked for; None: in all of them."""

    @property
    def looks_at_rows(self) -> bool:
        """Whether rows have to be read that may not match: more than the index decides."""
        return self != ResultFilter(status=self.status) or self.status is TaskState.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundResults:
    """Results that match, and how far the search came."""

    results: Sequence[TaskResult]
    next_after: int | None
    """The index from which the search goes on; None at the end of the batch."""
    scanned: int
    """How many results were looked at."""
    complete: bool
    """False when the search stopped at its bound before the page was full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFilter:
    """Which batches are wanted; a field that is None or empty asks for nothing."""

    states: tuple[JobState, ...] = ()
    model: str | None = None
    label: str | None = None
    key_name: str | None = None
    """The API key that they were sent with."""
    text: str | None = None
    """What the id, the label or a value of `metadata` holds."""
    created_after_ms: int | None = None
    created_before_ms: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPrompt:
    """A prompt that has no result yet."""

    index: int
    custom_id: str | None
    prompt: str
    """Its first characters."""
    state: TaskState
    attempt: int
    """Attempts that were made, the running one included."""
    host: str | None
    worker: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierAttempt:
    """An attempt of a prompt that ended without a result."""

    number: int
    charged: bool
    """Whether it counts against the batch's `max_attempts`."""
    host: str | None
    started_at_ms: int | None
    """None when the worker died with it."""
    ended_at_ms: int
    error_code: ErrorCode
    error: str


class HistoryEvent(StrEnum):
    """What happened to a batch."""

    CREATED = "created"
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    CHANGED = "changed"
    CANCEL_REQUESTED = "cancel_requested"
    RETRIED = "retried"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One event in the life of a batch."""

    at_ms: int
    event: HistoryEvent
    state: JobState
    """The state of the batch after the event."""
    key_name: str | None = None
    """The API key of the request; None without keys, and for what no request has asked for."""
    detail: str | None = None
    """New limits, the number of prompts, or why the batch ended so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePrompt:
    """One prompt of a batch with all that is known of it."""

    index: int
    custom_id: str | None
    text: str
    overrides: Mapping[str, Any]
    """What it has otherwise than the batch."""
    state: TaskState
    attempt: int
    host: str | None
    worker: str | None
    result: TaskResult | None
    earlier_attempts: Sequence[EarlierAttempt] = ()
    """Attempts that ended without a result, the first twenty of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Failures of one batch that have the same code and, but for numbers in it, sentence."""

    error_code: ErrorCode | None
    sentence: str
    """With `…` in the place of numbers."""
    prompts: int
    example_index: int
    example: str
    """The sentence of that prompt as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """The failures of a batch, grouped; the most frequent cause first."""

    causes: Sequence[Cause]
    counted: int
    complete: bool
    """False when there are more failures than were looked at."""


def cause_of(sentence: str) -> str:
    """The sentence without what differs between failures of one cause: its numbers."""
    return _NUMBERS.sub("…", sentence)[:_LONGEST_CAUSE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The times of one result."""

    latency_s: float | None
    ttft_s: float | None
    tokens: int | None
    host: str | None
    model: str
    succeeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFindings:
    """What the results of a batch say together."""

    curve: Sequence[tuple[int, int]]
    """Moments and how many prompts had an outcome then."""
    sample: Sequence[Measured]
    of: int
    """How many results there are; more than the sample has when it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """All batches that have not ended, at one moment."""

    batches: Mapping[JobState, int]
    pending: int
    running: int
    longest_wait_ms: int | None
    """Since when the batch that has waited longest for its first start waits."""
    read_at_ms: int

"""Filters of batches and results, and records of what they find.

Plain immutable records, as in `batches`. None stands for an unknown value or an unused filter.
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
    """Texts of a result that a search may look at."""

    PROMPT = "prompt"
    RESPONSE = "response"
    ERROR = "error"
    ID = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFilter:
    """Filter of a batch's results; a field that is None or empty accepts every result."""

    status: TaskState | None = None
    error_codes: tuple[ErrorCode, ...] = ()
    defect: ErrorCode | None = None
    model: str | None = None
    host: str | None = None
    min_attempts: int | None = None
    min_latency_s: float | None = None
    max_latency_s: float | None = None
    text: str | None = None
    """Text that the searched text contains, ignoring the case of letters."""
    text_in: SearchedText | None = None
    """Text of the result that is searched; None: all of them."""

    @property
    def looks_at_rows(self) -> bool:
        """Whether rows must be read that may not match, because an index does not decide."""
        return self != ResultFilter(status=self.status) or self.status is TaskState.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundResults:
    """Results that match, and the extent of the search."""

    results: Sequence[TaskResult]
    next_after: int | None
    """Index after which the search continues; None at the end of the batch."""
    scanned: int
    """Number of results that were examined."""
    complete: bool
    """False if the search reached its bound before the page was full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFilter:
    """Filter of batches; a field that is None or empty accepts every batch."""

    states: tuple[JobState, ...] = ()
    model: str | None = None
    label: str | None = None
    key_name: str | None = None
    """Name of the API key of the submission."""
    text: str | None = None
    """Text that the id, the label or a value of `metadata` contains."""
    created_after_ms: int | None = None
    created_before_ms: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPrompt:
    """A prompt that has no result yet."""

    index: int
    custom_id: str | None
    prompt: str
    """First characters of the prompt."""
    state: TaskState
    attempt: int
    """Attempts made, the running one included."""
    host: str | None
    worker: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierAttempt:
    """An attempt of a prompt that ended without a result."""

    number: int
    charged: bool
    """Whether the attempt counts against the batch's `max_attempts`."""
    host: str | None
    started_at_ms: int | None
    """Moment of the call's start; None if its worker died."""
    ended_at_ms: int
    error_code: ErrorCode
    error: str


class HistoryEvent(StrEnum):
    """Events in the history of a batch."""

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
    """A prompt of a batch with everything that is stored about it."""

    index: int
    custom_id: str | None
    text: str
    overrides: Mapping[str, Any]
    """Fields that override those of the batch."""
    state: TaskState
    attempt: int
    host: str | None
    worker: str | None
    result: TaskResult | None
    earlier_attempts: Sequence[EarlierAttempt] = ()
    """Attempts that ended without a result, the first twenty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Failures of one batch with the same code and, apart from numbers, the same sentence."""

    error_code: ErrorCode | None
    sentence: str
    """The sentence with `…` in place of numbers."""
    prompts: int
    example_index: int
    example: str
    """The example's sentence with its numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Causes:
    """The failures of a batch, grouped; the most frequent cause first."""

    causes: Sequence[Cause]
    counted: int
    complete: bool
    """False if there are more failures than were examined."""


def cause_of(sentence: str) -> str:
    """Replace the numbers of a sentence, which differ between failures of one cause."""
    return _NUMBERS.sub("…", sentence)[:_LONGEST_CAUSE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Measurements of one result."""

    latency_s: float | None
    ttft_s: float | None
    tokens: int | None
    host: str | None
    model: str
    succeeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFindings:
    """Statistics of a batch's results."""

    curve: Sequence[tuple[int, int]]
    """Moments, each with the number of prompts that had an outcome by then."""
    sample: Sequence[Measured]
    of: int
    """Number of results; larger than the sample if they were sampled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCounts:
    """Numbers of batches that have not ended, and of their prompts, at one moment."""

    batches: Mapping[JobState, int]
    pending: int
    running: int
    longest_wait_ms: int | None
    """Milliseconds that the oldest queued batch has waited for its first start."""
    read_at_ms: int

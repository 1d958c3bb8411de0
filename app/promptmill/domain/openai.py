"""Records of files and batches of the OpenAI dialect, and the status that follows from them.

Times are integer milliseconds since 1970 UTC and end in `_ms`; None stands for what has not
happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from promptmill.domain.batches import Counts, Usage
from promptmill.domain.lifecycle import JobState

MARK: Final = "openai"
"""Field of a prompt's overrides that marks it as a prompt of the dialect."""
FAULT: Final = "fault"
"""Field of the mark that holds the error of a request for which no call is made."""


class Purpose(StrEnum):
    """Purposes of a file."""

    BATCH = "batch"
    BATCH_OUTPUT = "batch_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """Complete, immutable file."""

    key: int
    """The store's own number, never shown to a client."""
    id: str
    purpose: Purpose
    filename: str
    bytes: int
    lines: int
    sha256: str
    created_at_ms: int
    expires_at_ms: int | None


class Stage(StrEnum):
    """Stages of a batch of the dialect, apart from the state of its job."""

    VALIDATING = "validating"
    """The input file is read and checked; its job is still hidden."""
    REFUSED = "refused"
    """The input file was wrong. There is no job."""
    STOPPED = "stopped"
    """The batch was cancelled while its file was read. There is no job."""
    RUNNING = "running"
    """The job exists, the output files do not."""
    ENDED = "ended"
    """The job has ended and the output files are written."""


STAGES_UNDER_WAY: Final = frozenset({Stage.VALIDATING, Stage.RUNNING})
"""Stages in which a worker has something left to do."""
STAGES_WITH_JOB: Final = frozenset({Stage.RUNNING, Stage.ENDED})
"""Stages in which there is a job of the batch's id."""


class FileState(StrEnum):
    """The state of a file."""

    RECEIVING = "receiving"
    """Chunks are still being added; clients do not see the file."""
    PROCESSED = "processed"
    """The file is there, whole and unchangeable."""
    DELETED = "deleted"
    """The file is hidden for good, until it is purged."""


class Status(StrEnum):
    """The `status` of a batch, as clients see it."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"


class LineError(NamedTuple):
    """Error in an input file."""

    code: str
    message: str
    line: int | None = None
    """Number of the line, counted from 1, blank lines included."""
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIBatchDraft:
    """Valid request for a batch, not stored yet."""

    endpoint: str
    input_file_id: str
    window: str
    """Completion window, as sent."""
    expires_in_s: float
    metadata: Mapping[str, str] | None = None
    output_expires_s: int | None = None
    """Seconds for which output and error file are kept; None: as the settings say."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the extension `promptmill`, with valid values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIBatch:
    """Batch of the dialect at the moment of a read."""

    id: str
    endpoint: str
    input_file_id: str
    window: str
    stage: Stage
    model: str | None
    """Model of all lines; None if they name several."""
    metadata: Mapping[str, str] | None
    output_expires_s: int | None
    options: Mapping[str, Any]
    errors: Sequence[LineError]
    output_file_id: str | None
    error_file_id: str | None
    created_at_ms: int
    expires_at_ms: int
    in_progress_at_ms: int | None = None
    cancelling_at_ms: int | None = None
    finalizing_at_ms: int | None = None
    ended_at_ms: int | None = None
    job_state: JobState | None = None
    """State of the job; None while the job is hidden or missing."""
    key_id: str | None = None
    """Id of the API key of the submission."""
    stop_reason: str | None = None
    """Why the stop rule ended the batch."""
    counts: Counts = field(default_factory=lambda: Counts(total=0))
    usage: Usage = field(default_factory=Usage)

    @property
    def status(self) -> Status:
        """Status that follows from the stage and the state of the job."""
        match self.stage:
            case Stage.VALIDATING:
                is_cancelled = self.cancelling_at_ms is not None
                return Status.CANCELLING if is_cancelled else Status.VALIDATING
            case Stage.REFUSED:
                return Status.FAILED
            case Stage.STOPPED:
                return Status.CANCELLED
            case Stage.RUNNING:
                return self._status_before_the_end()
            case Stage.ENDED:
                return self._status_at_the_end()

    def _status_before_the_end(self) -> Status:
        if self.job_state is JobState.CANCELLING and self.stop_reason is None:
            return Status.CANCELLING
        if self.job_state in {JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}:
            return Status.IN_PROGRESS
        return Status.FINALIZING

    def _status_at_the_end(self) -> Status:
        if self.job_state is JobState.CANCELLED:
            return Status.CANCELLED
        if self.job_state is JobState.EXPIRED:
            return Status.EXPIRED
        if self.job_state is JobState.FAILED and self.stop_reason is not None:
            return Status.FAILED
        # The counts and the error file show that no request succeeded.
        return Status.COMPLETED

"""Files and batches as OpenAI's clients know them: records, and the status that follows from them.

Times are integer milliseconds since 1970 UTC and end in `_ms`; what has not happened is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from promptmill.domain.batches import Counts, Usage
from promptmill.domain.lifecycle import JobState

MARK: Final = "openai"
"""Field among a prompt's own fields that says that the prompt came through the dialect."""
FAULT: Final = "fault"
"""Field of the mark that holds what is wrong with a request that no call is made for."""


class Purpose(StrEnum):
    """What a file is for."""

    BATCH = "batch"
    BATCH_OUTPUT = "batch_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that is there to be read, whole and unchangeable."""

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
    """How far a batch of the dialect is, apart from what its job does."""

    VALIDATING = "validating"
    """Its file is read and checked; there is no job that anybody sees."""
    REFUSED = "refused"
    """Its file was wrong. It has no job."""
    STOPPED = "stopped"
    """It was cancelled while its file was read. It has no job."""
    RUNNING = "running"
    """It has a job, and no files yet."""
    ENDED = "ended"
    """Its job has ended and its files are written."""


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
    """One thing that is wrong with an input file."""

    code: str
    message: str
    line: int | None = None
    """Counted from 1, blank lines included."""
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIBatchDraft:
    """A valid request for a batch, not stored yet."""

    endpoint: str
    input_file_id: str
    window: str
    """As it was sent."""
    expires_in_s: float
    metadata: Mapping[str, str] | None = None
    output_expires_s: int | None = None
    """Seconds that output and error file live; None: as long as the settings say."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The extension `promptmill`, with valid values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIBatch:
    """A batch of the dialect as it stands at one moment."""

    id: str
    endpoint: str
    input_file_id: str
    window: str
    stage: Stage
    model: str | None
    """The model of all its lines; None where there are several."""
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
    """The state of its job; None while there is none that anybody sees."""
    key_id: str | None = None
    """The API key that it was sent with."""
    stop_reason: str | None = None
    """Why its stop rule ended it."""
    counts: Counts = field(default_factory=lambda: Counts(total=0))
    usage: Usage = field(default_factory=Usage)

    @property
    def status(self) -> Status:
        """The status, which follows from the stage and the state of the job."""
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
        # That no request succeeded is told by the counts and the error file.
        return Status.COMPLETED

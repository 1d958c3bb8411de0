"""The states of jobs and tasks, and every transition of the system, as tables.

Rule 1: whatever changes a state names an event of this file, and the store writes
`UPDATE ... WHERE state IN sources(event)`. Rule 2: what is not in the tables cannot happen.

A job:    queued -> running -> completed | failed | cancelled
                 `-> cancelling -> cancelled
A task:   pending <-> running -> succeeded | failed | cancelled
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final


class JobState(StrEnum):
    """Where a batch is. The values are those of `status` in the HTTP contract."""

    QUEUED = "queued"
    """Accepted; no prompt has started yet."""
    RUNNING = "running"
    """At least one prompt has started."""
    CANCELLING = "cancelling"
    """Cancellation was asked for; running calls are being aborted."""
    COMPLETED = "completed"
    """Every prompt has an outcome and at least one succeeded."""
    FAILED = "failed"
    """Every prompt has an outcome and none succeeded."""
    CANCELLED = "cancelled"
    """Cancelled; what had finished before stays."""


class TaskState(StrEnum):
    """Where a prompt is. The values are the names in `counts` of the HTTP contract."""

    PENDING = "pending"
    """Waiting for its turn, or for the moment of its next attempt."""
    RUNNING = "running"
    """A worker holds a lease on it."""
    SUCCEEDED = "succeeded"
    """It has an answer."""
    FAILED = "failed"
    """It has an error, and no attempt is left or none would help."""
    CANCELLED = "cancelled"
    """Its batch was cancelled before it had an answer."""


class JobEvent(Enum):
    """What can happen to a job."""

    START = "its first prompt is claimed"
    REQUEST_CANCEL = "a client asks to cancel it"
    COMPLETE = "every prompt has an outcome, one at least a success"
    FAIL = "every prompt has an outcome, none a success"
    CANCEL = "cancellation was asked for and nothing runs any more"


class TaskEvent(Enum):
    """What can happen to a task."""

    CLAIM = "a worker takes it under a lease"
    SUCCEED = "its answer is recorded"
    FAIL = "its final error is recorded"
    RETRY = "an attempt failed and another will follow"
    RELEASE = "its worker gives it back, uncharged"
    RESCUE = "its lease ran out; it goes back to the queue"
    CANCEL = "its batch is being cancelled"


JOB_TRANSITIONS: Final[dict[JobEvent, dict[JobState, JobState]]] = {
    JobEvent.START: {JobState.QUEUED: JobState.RUNNING},
    JobEvent.REQUEST_CANCEL: {
        JobState.QUEUED: JobState.CANCELLING,
        JobState.RUNNING: JobState.CANCELLING,
    },
    JobEvent.COMPLETE: {JobState.RUNNING: JobState.COMPLETED},
    JobEvent.FAIL: {JobState.RUNNING: JobState.FAILED},
    JobEvent.CANCEL: {JobState.CANCELLING: JobState.CANCELLED},
}

TASK_TRANSITIONS: Final[dict[TaskEvent, dict[TaskState, TaskState]]] = {
    TaskEvent.CLAIM: {TaskState.PENDING: TaskState.RUNNING},
    TaskEvent.SUCCEED: {TaskState.RUNNING: TaskState.SUCCEEDED},
    TaskEvent.FAIL: {TaskState.RUNNING: TaskState.FAILED},
    TaskEvent.RETRY: {TaskState.RUNNING: TaskState.PENDING},
    TaskEvent.RELEASE: {TaskState.RUNNING: TaskState.PENDING},
    TaskEvent.RESCUE: {TaskState.RUNNING: TaskState.PENDING},
    TaskEvent.CANCEL: {
        TaskState.PENDING: TaskState.CANCELLED,
        TaskState.RUNNING: TaskState.CANCELLED,
    },
}

ACTIVE_JOB_STATES: Final = frozenset({JobState.QUEUED, JobState.RUNNING})
"""Jobs whose prompts may be claimed."""
TERMINAL_JOB_STATES: Final = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})
"""Jobs that never change again."""
TERMINAL_TASK_STATES: Final = frozenset(
    {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED}
)
"""Tasks that have an outcome, and with it a result."""


def job_sources(event: JobEvent) -> frozenset[JobState]:
    """The states that a job may be in for the event to happen."""
    return frozenset(JOB_TRANSITIONS[event])


def job_target(event: JobEvent) -> JobState:
    """The one state that a job is in after the event."""
    (target,) = set(JOB_TRANSITIONS[event].values())
    return target


def task_target(event: TaskEvent) -> TaskState:
    """The one state that a task is in after the event."""
    (target,) = set(TASK_TRANSITIONS[event].values())
    return target

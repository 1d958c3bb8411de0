"""States of jobs and tasks, and all their transitions, as tables.

Rule 1: every change of a state names an event of this file, and the store writes
`UPDATE ... WHERE state IN sources(event)`. Rule 2: a transition that is not in the tables cannot
happen.

A job:    receiving -> queued <-> running -> completed | failed | expired
                       queued | running <-> paused;  all three -> cancelling -> cancelled | failed
A task:   pending <-> running -> succeeded | failed | cancelled;
          pending -> cancelled | expired | failed (refused, with no call)
Only `retry` leads out of a final state.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Final


class JobState(StrEnum):
    """The state of a batch. The values are those of `status` in the HTTP contract."""

    RECEIVING = "receiving"
    """The prompts are still being uploaded; clients see the batch after the last line."""
    QUEUED = "queued"
    """Accepted; no prompt has started yet."""
    RUNNING = "running"
    """At least one prompt has started."""
    PAUSED = "paused"
    """A client paused the batch: no prompt starts, running ones finish."""
    CANCELLING = "cancelling"
    """The batch ends early, by request or by its stop rule; waiting prompts are cancelled."""
    COMPLETED = "completed"
    """Every prompt has an outcome and at least one succeeded."""
    FAILED = "failed"
    """Every prompt has an outcome and none succeeded, or the stop rule ended the batch."""
    CANCELLED = "cancelled"
    """The batch was cancelled; results that had finished before stay."""
    EXPIRED = "expired"
    """The batch's time ran out; results that had finished before stay."""


class TaskState(StrEnum):
    """The state of a prompt. The values are the names in `counts` of the HTTP contract."""

    PENDING = "pending"
    """The prompt waits for its first or next attempt."""
    RUNNING = "running"
    """A worker holds a lease on the prompt."""
    SUCCEEDED = "succeeded"
    """The prompt has an answer."""
    FAILED = "failed"
    """The prompt has an error, and no attempt is left or none would help."""
    CANCELLED = "cancelled"
    """The batch was cancelled before the prompt had an answer."""
    EXPIRED = "expired"
    """The batch's time ran out before the prompt had an answer."""


class JobEvent(Enum):
    """Events of a job."""

    RECEIVE = "the last line of its upload is stored"
    START = "its first prompt is claimed"
    UNSTART = "what was claimed of it came back, and nothing of it has run yet"
    PAUSE = "a client asks that nothing new be started"
    RESUME_UNSTARTED = "a client lets it go on; no prompt has started yet"
    RESUME = "a client lets it go on"
    REQUEST_CANCEL = "a client asks to cancel it"
    STOP = "more prompts failed than its stop rule allows"
    COMPLETE = "every prompt has an outcome, one at least a success"
    FAIL = "every prompt has an outcome, none a success"
    CANCEL = "cancellation was asked for and nothing runs any more"
    FAIL_STOPPED = "its stop rule struck and nothing runs any more"
    EXPIRE = "every prompt has an outcome, and for some it is that time ran out"
    RETRY_UNSTARTED = "a client asks to run prompts again, and none had started"
    RETRY = "a client asks to run prompts again that had no success"


class TaskEvent(Enum):
    """Events of a task."""

    CLAIM = "a worker takes it under a lease"
    SUCCEED = "its answer is recorded"
    FAIL = "its final error is recorded"
    RETRY = "an attempt failed and another will follow"
    RELEASE = "its worker gives it back, uncharged"
    RESCUE = "its lease ran out; it goes back to the queue"
    CANCEL = "its batch is being cancelled"
    EXPIRE = "its batch's time ran out"
    REFUSE = "its request cannot be honoured, so that no call is made for it"
    RUN_AGAIN = "a client asks to run it again, although it has an outcome"


_GOING = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)
_ENDED = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED)

JOB_TRANSITIONS: Final[dict[JobEvent, dict[JobState, JobState]]] = {
    JobEvent.RECEIVE: {JobState.RECEIVING: JobState.QUEUED},
    JobEvent.START: {JobState.QUEUED: JobState.RUNNING},
    JobEvent.UNSTART: {JobState.RUNNING: JobState.QUEUED},
    JobEvent.PAUSE: {JobState.QUEUED: JobState.PAUSED, JobState.RUNNING: JobState.PAUSED},
    JobEvent.RESUME_UNSTARTED: {JobState.PAUSED: JobState.QUEUED},
    JobEvent.RESUME: {JobState.PAUSED: JobState.RUNNING},
    JobEvent.REQUEST_CANCEL: dict.fromkeys(_GOING, JobState.CANCELLING),
    JobEvent.STOP: dict.fromkeys(_GOING, JobState.CANCELLING),
    # A job that is paused while its last prompts run ends when they do.
    JobEvent.COMPLETE: dict.fromkeys(_GOING, JobState.COMPLETED),
    JobEvent.FAIL: dict.fromkeys(_GOING, JobState.FAILED),
    JobEvent.EXPIRE: dict.fromkeys(_GOING, JobState.EXPIRED),
    JobEvent.CANCEL: {JobState.CANCELLING: JobState.CANCELLED},
    JobEvent.FAIL_STOPPED: {JobState.CANCELLING: JobState.FAILED},
    JobEvent.RETRY_UNSTARTED: dict.fromkeys(_ENDED, JobState.QUEUED),
    JobEvent.RETRY: dict.fromkeys(_ENDED, JobState.RUNNING),
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
    TaskEvent.EXPIRE: {TaskState.PENDING: TaskState.EXPIRED},
    TaskEvent.REFUSE: {TaskState.PENDING: TaskState.FAILED},
    TaskEvent.RUN_AGAIN: {
        TaskState.FAILED: TaskState.PENDING,
        TaskState.CANCELLED: TaskState.PENDING,
        TaskState.EXPIRED: TaskState.PENDING,
    },
}

TERMINAL_JOB_STATES: Final = frozenset(_ENDED)
"""Final states of a job, left only by `retry`."""
LIVE_JOB_STATES: Final = frozenset(JobState) - TERMINAL_JOB_STATES - {JobState.RECEIVING}
"""States of a job that is visible to clients and has not ended."""
TERMINAL_TASK_STATES: Final = frozenset(
    {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.EXPIRED}
)
"""States of a task that has an outcome, and with it a result."""


def job_sources(event: JobEvent) -> frozenset[JobState]:
    """States in which a job may be for the event to happen."""
    return frozenset(JOB_TRANSITIONS[event])


def job_target(event: JobEvent) -> JobState:
    """The one state of a job after the event."""
    (target,) = set(JOB_TRANSITIONS[event].values())
    return target


def task_target(event: TaskEvent) -> TaskState:
    """The one state of a task after the event."""
    (target,) = set(TASK_TRANSITIONS[event].values())
    return target


def task_sources(event: TaskEvent) -> frozenset[TaskState]:
    """States in which a task may be for the event to happen."""
    return frozenset(TASK_TRANSITIONS[event])

"""Records of prompts without a result, summaries of results, and the service's statistics."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from promptmill.contract import examples
from promptmill.contract.activity import RECENT, RecentOutcomes
from promptmill.contract.batches import BatchStatus
from promptmill.contract.record import Count, ErrorWord, OneOf, Record, Seconds, Time
from promptmill.contract.results import Result

HistoryWord = Literal[
    "created",
    "started",
    "paused",
    "resumed",
    "changed",
    "cancel_requested",
    "retried",
    "ended",
]
"""The events of `domain.reading.HistoryEvent`; a test holds them together."""
PromptState = Literal["pending", "running", "succeeded", "failed", "cancelled", "expired"]

WAITING: Final[dict[str, Any]] = {
    "index": 7,
    "id": "question-7",
    "prompt": "Why is the sky blue?",
    "state": "running",
    "attempts": 1,
    "host": "http://127.0.0.1:11434",
    "worker": "worker_01kasqg8v3",
}
WAITING_PAGE: Final[dict[str, Any]] = {"data": [WAITING], "next_cursor": None}
EARLIER: Final[dict[str, Any]] = {
    "number": 1,
    "charged": True,
    "host": "http://127.0.0.1:11434",
    "started_at": "2026-11-23T06:30:00.223Z",
    "ended_at": "2026-11-23T06:30:05.223Z",
    "error_code": "timeout",
    "error": "No answer within 5 s.",
}
WHOLE: Final[dict[str, Any]] = {
    "index": 0,
    "id": "question-17",
    "prompt": "Why is the sky blue?",
    "overrides": {"options": {"temperature": 0}},
    "state": "succeeded",
    "attempts": 1,
    "host": None,
    "worker": None,
    "result": examples.RESULT,
    "earlier_attempts": [EARLIER],
}
CAUSE: Final[dict[str, Any]] = {
    "error_code": "timeout",
    "sentence": "No answer came within … s.",
    "prompts": 12,
    "example_index": 3,
    "example": "No answer came within 300 s.",
}
HISTORY: Final[list[dict[str, Any]]] = [
    {
        "at": "2026-11-23T06:30:00.223Z",
        "event": "created",
        "status": "queued",
        "key": "ci",
        "detail": None,
    },
    {
        "at": "2026-11-23T06:30:00.737Z",
        "event": "started",
        "status": "running",
        "key": None,
        "detail": None,
    },
    {
        "at": "2026-11-23T06:31:10.002Z",
        "event": "changed",
        "status": "running",
        "key": "ci",
        "detail": "max_concurrent 4",
    },
]
HISTORY_PAGE: Final[dict[str, Any]] = {"data": HISTORY, "next_cursor": None}
SUMMARY: Final[dict[str, Any]] = {
    "of": 1000,
    "n": 1000,
    "sampled": False,
    "curve": [{"at": "2026-11-23T06:30:00.737Z", "finished": 1}],
    "latency_s": {"n": 988, "p50": 1.2, "p95": 3.4, "p99": None},
    "ttft_s": {"n": 988, "p50": 0.2, "p95": 0.5, "p99": None},
    "tokens": {"n": 988, "p50": 64.0, "p95": 128.0, "p99": None},
    "hosts": {"http://127.0.0.1:11434": 1000},
    "models": {"qwen3:8b": 1000},
    "failures": [CAUSE],
    "failures_complete": True,
}
STATS: Final[dict[str, Any]] = {
    "pending": 480,
    "running": 6,
    "batches": {"queued": 1, "running": 3},
    "longest_wait_s": 12.5,
    "prompts_per_s": 3.4,
    "hosts": [{"url": "http://127.0.0.1:11434", "in_flight": 4, "slots": 4, "reachable": True}],
    "workers": 1,
    "last_minute": RECENT,
    "last_hour": RECENT,
    "needs_a_hand": ["http://gpu-2:11434 does not answer: connection refused"],
    "read_at": "2026-11-23T06:30:00.737Z",
}


class WaitingPrompt(Record):
    """A prompt without a result."""

    index: Count = Field(description="Place of the prompt in the batch, from 0.", examples=[7])
    id: str | None = Field(description="Your own id of the prompt.", examples=["question-7"])
    prompt: str = Field(
        description="First 200 characters of the prompt.", examples=["Why is the sky blue?"]
    )
    state: Annotated[str, OneOf(Literal["pending", "running"])] = Field(
        description="Where it is.", examples=["running"]
    )
    attempts: Count = Field(description="Attempts made, the running one included.", examples=[1])
    host: str | None = Field(
        description="Host that runs the prompt; null while it waits.",
        examples=["http://127.0.0.1:11434"],
    )
    worker: str | None = Field(
        description="Worker that runs the prompt; null while it waits.",
        examples=["worker_01kasqg8v3"],
    )


class WaitingPromptPage(Record):
    """Page of prompts without a result."""

    data: tuple[WaitingPrompt, ...] = Field(description="The prompts.", examples=[[WAITING]])
    next_cursor: None = Field(
        description="Always null: all running prompts are one page, and of the waiting ones only"
        " the first are shown.",
        examples=[None],
    )


class EarlierAttempt(Record):
    """Attempt of a prompt that ended without a result."""

    number: Count = Field(
        description="Number of the attempt, from 1; an attempt that is not charged is repeated"
        " under its number.",
        examples=[1],
    )
    charged: bool = Field(
        description="Whether the attempt counts against `max_attempts`.", examples=[True]
    )
    host: str | None = Field(
        description="Host of the attempt.", examples=["http://127.0.0.1:11434"]
    )
    started_at: Time | None = Field(
        description="When the call began; null when its worker died.",
        examples=[EARLIER["started_at"]],
    )
    ended_at: Time = Field(description="When the attempt ended.", examples=[EARLIER["ended_at"]])
    error_code: ErrorWord = Field(description="As in results.", examples=["timeout"])
    error: str = Field(description="What happened.", examples=[EARLIER["error"]])


class WholePrompt(Record):
    """A prompt of a batch with everything that is stored about it."""

    index: Count = Field(description="Place of the prompt in the batch, from 0.", examples=[0])
    id: str | None = Field(description="Your own id of the prompt.", examples=["question-17"])
    prompt: str = Field(
        description="The prompt; of a chat, its last user message.",
        examples=["Why is the sky blue?"],
    )
    overrides: dict[str, Any] = Field(
        description="Fields that override those of the batch: `messages`, `options`, `model`, ….",
        examples=[{"options": {"temperature": 0}}],
    )
    state: Annotated[str, OneOf(PromptState)] = Field(
        description="Where it is.", examples=["succeeded"]
    )
    attempts: Count = Field(description="Attempts made.", examples=[1])
    host: str | None = Field(description="Host that runs the prompt now.", examples=[None])
    worker: str | None = Field(description="Worker that runs the prompt now.", examples=[None])
    result: Result | None = Field(
        description="Result; null before the prompt has ended.", examples=[examples.RESULT]
    )
    earlier_attempts: tuple[EarlierAttempt, ...] = Field(
        description="Attempts that ended without a result, oldest first; up to twenty.",
        examples=[[EARLIER]],
    )


class HistoryEntry(Record):
    """One event in the life of a batch."""

    at: Time = Field(description="When it happened.", examples=[HISTORY[0]["at"]])
    event: Annotated[str, OneOf(HistoryWord)] = Field(
        description="What happened; `ended` more than once where a retry let the batch go on.",
        examples=["created"],
    )
    status: Annotated[str, OneOf(BatchStatus)] = Field(
        description="The batch's status after it.", examples=["queued"]
    )
    key: str | None = Field(
        description="Name of the API key of the request; null without keys, and for events that no"
        " request has asked for.",
        examples=["ci"],
    )
    detail: str | None = Field(
        description="New limits, how many prompts run again, or why the batch ended so.",
        examples=[None],
    )


class HistoryPage(Record):
    """History of a batch."""

    data: tuple[HistoryEntry, ...] = Field(
        description="The events, the first one first; of changes the newest 500.",
        examples=[[HISTORY[2]]],
    )
    next_cursor: None = Field(description="Always null: there is one page.", examples=[None])


class Point(Record):
    """Number of prompts with an outcome at a moment."""

    at: Time = Field(description="The moment.", examples=["2026-11-23T06:30:00.737Z"])
    finished: Count = Field(description="Results stored by then.", examples=[1])


class Percentiles(Record):
    """Percentiles of a measure, over prompts that succeeded."""

    n: Count = Field(description="Number of values.", examples=[988])
    p50: Seconds | None = Field(description="Median.", examples=[1.2])
    p95: Seconds | None = Field(description="Null below 20 values.", examples=[3.4])
    p99: Seconds | None = Field(description="Null below 100 values.", examples=[None])


class Cause(Record):
    """Failures with the same code and, apart from numbers, the same sentence."""

    error_code: ErrorWord | None = Field(description="As in results.", examples=["timeout"])
    sentence: str = Field(
        description="The sentence with `…` for its numbers.", examples=[CAUSE["sentence"]]
    )
    prompts: Count = Field(description="Prompts that failed with this cause.", examples=[12])
    example_index: Count = Field(description="One of them.", examples=[3])
    example: str = Field(description="Error of the example, in full.", examples=[CAUSE["example"]])


_PERCENTILES: Final = {"n": 988, "p50": 1.2, "p95": 3.4, "p99": None}


class Summary(Record):
    """Summary of a batch's results."""

    of: Count = Field(description="Number of results.", examples=[1000])
    n: Count = Field(
        description="Results from which times and shares were computed.", examples=[1000]
    )
    sampled: bool = Field(
        description="Whether those are an even sample, taken of more than 4000 results.",
        examples=[False],
    )
    curve: tuple[Point, ...] = Field(
        description="Progress over time, in up to 120 points.", examples=[SUMMARY["curve"]]
    )
    latency_s: Percentiles = Field(description="Of the whole answer.", examples=[_PERCENTILES])
    ttft_s: Percentiles = Field(description="To the first token.", examples=[_PERCENTILES])
    tokens: Percentiles = Field(description="Tokens of an answer.", examples=[_PERCENTILES])
    hosts: dict[str, int] = Field(
        description="Results of the sample by host.", examples=[SUMMARY["hosts"]]
    )
    models: dict[str, int] = Field(
        description="Results of the sample by model.", examples=[SUMMARY["models"]]
    )
    failures: tuple[Cause, ...] = Field(
        description="Causes of failures, the most frequent first; up to 50.",
        examples=[[CAUSE]],
    )
    failures_complete: bool = Field(
        description="False if more than 20000 prompts failed: then only the first ones are"
        " grouped.",
        examples=[True],
    )


class HostLoad(Record):
    """Load of a host."""

    url: str = Field(description="Its address.", examples=["http://127.0.0.1:11434"])
    in_flight: Count = Field(description="Prompts that run at the host.", examples=[4])
    slots: int | None = Field(
        description="Most prompts that may run there; null: any number.", examples=[4]
    )
    reachable: bool = Field(description="Whether the host responded last time.", examples=[True])


class Stats(Record):
    """Statistics of the service, up to a second old."""

    pending: Count = Field(description="Prompts that wait, over all batches.", examples=[480])
    running: Count = Field(description="Prompts that run now.", examples=[6])
    batches: dict[str, int] = Field(
        description="Batches that have not ended, by status.", examples=[STATS["batches"]]
    )
    longest_wait_s: Seconds | None = Field(
        description="Seconds that the oldest queued batch has waited; null if no batch is queued.",
        examples=[12.5],
    )
    prompts_per_s: Seconds | None = Field(
        description="Prompts per second of all running batches; null before the first result.",
        examples=[3.4],
    )
    hosts: tuple[HostLoad, ...] = Field(description="All hosts.", examples=[STATS["hosts"]])
    workers: Count = Field(description="Workers that are alive.", examples=[1])
    last_minute: RecentOutcomes = Field(
        description="Results of the last whole minute, as workers report them with their"
        " heartbeats.",
        examples=[RECENT],
    )
    last_hour: RecentOutcomes = Field(description="Results of the last hour.", examples=[RECENT])
    needs_a_hand: tuple[str, ...] = Field(
        description="Conditions that need an operator, one sentence each.",
        examples=[STATS["needs_a_hand"]],
    )
    read_at: Time = Field(description="When the statistics were read.", examples=[STATS["read_at"]])

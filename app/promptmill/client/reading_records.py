"""What is read of prompts without a result, of all results together, and of the whole service."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from promptmill.client.records import Record, Result


class WaitingPrompt(Record):
    """A prompt that has no result yet."""

    index: int
    id: str | None = None
    prompt: str
    """Its first 200 characters."""
    state: str
    """`running` or `pending`."""
    attempts: int = 0
    host: str | None = None
    worker: str | None = None


class EarlierAttempt(Record):
    """An attempt of a prompt that ended without a result."""

    number: int
    charged: bool = True
    """Whether it counts against the batch's `max_attempts`."""
    host: str | None = None
    started_at: datetime | None = None
    """None when its worker died."""
    ended_at: datetime
    error_code: str
    error: str


class WholePrompt(Record):
    """One prompt of a batch with all that is known of it."""

    index: int
    id: str | None = None
    prompt: str
    overrides: Mapping[str, Any] = {}
    """What it has otherwise than the batch."""
    state: str
    attempts: int = 0
    host: str | None = None
    worker: str | None = None
    result: Result | None = None
    earlier_attempts: tuple[EarlierAttempt, ...] = ()
    """Attempts that ended without a result, up to twenty."""


class Point(Record):
    """How many prompts had an outcome at a moment."""

    at: datetime
    finished: int


class Percentiles(Record):
    """Percentiles of a measure; None where there are too few values."""

    n: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Cause(Record):
    """Failures with the same code and, but for numbers in it, sentence."""

    error_code: str | None = None
    sentence: str
    prompts: int
    example_index: int
    example: str


class Summary(Record):
    """What the results of a batch say together."""

    of: int
    n: int
    sampled: bool
    """Whether times and shares are those of an even sample."""
    curve: tuple[Point, ...] = ()
    latency_s: Percentiles
    ttft_s: Percentiles
    tokens: Percentiles
    hosts: Mapping[str, int] = {}
    models: Mapping[str, int] = {}
    failures: tuple[Cause, ...] = ()
    failures_complete: bool = True


class HostLoad(Record):
    """How busy a host is."""

    url: str
    in_flight: int
    slots: int | None = None
    reachable: bool


class RecentOutcomes(Record):
    """Results of a stretch of time by their outcome."""

    succeeded: int = 0
    failed: int = 0
    errors: Mapping[str, int] = {}
    """Those that failed, by error code."""


class ThroughputPoint(Record):
    """Results of one part of a window."""

    at: datetime
    succeeded: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    latency_s: float | None = None
    """Mean seconds of an answer."""


class ThroughputSeries(Record):
    """The parts of a window, oldest first, also those in which nothing ended."""

    name: str | None = None
    """The model or host; `other` for those beyond the busiest; None for everything."""
    points: tuple[ThroughputPoint, ...] = ()


class Throughput(Record):
    """What calls came to over time."""

    window: str
    by: str
    bucket_s: int
    data: tuple[ThroughputSeries, ...] = ()
    """The series, the busiest first."""


class Stats(Record):
    """The service at a glance."""

    pending: int
    running: int
    batches: Mapping[str, int]
    """Batches that have not ended, by status."""
    longest_wait_s: float | None = None
    prompts_per_s: float | None = None
    hosts: tuple[HostLoad, ...] = ()
    workers: int
    last_minute: RecentOutcomes = RecentOutcomes()
    last_hour: RecentOutcomes = RecentOutcomes()
    needs_a_hand: tuple[str, ...] = ()
    """What somebody should look at, a sentence each."""
    read_at: datetime

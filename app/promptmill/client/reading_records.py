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
    needs_a_hand: tuple[str, ...] = ()
    """What somebody should look at, a sentence each."""
    read_at: datetime

"""Throughput over time, and outcomes of the last minute and hour."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from promptmill.contract.record import Count, OneOf, Record, Seconds, Time

WindowName = Literal["15m", "1h", "6h", "24h", "72h", "30d", "365d"]

POINT: Final[dict[str, Any]] = {
    "at": "2026-11-23T06:30:00.000Z",
    "succeeded": 120,
    "failed": 2,
    "prompt_tokens": 1440,
    "completion_tokens": 9600,
    "latency_s": 1.25,
}
ONE: Final[dict[str, Any]] = {"name": "qwen3:8b", "points": [POINT]}
THROUGHPUT: Final[dict[str, Any]] = {
    "window": "1h",
    "by": "model",
    "bucket_s": 60,
    "data": [ONE],
}
RECENT: Final[dict[str, Any]] = {"succeeded": 118, "failed": 2, "errors": {"timeout": 2}}


class ThroughputPoint(Record):
    """Results of one part of the window."""

    at: Time = Field(description="When the part begins.", examples=[POINT["at"]])
    succeeded: Count = Field(description="Prompts that succeeded.", examples=[120])
    failed: Count = Field(
        description="Prompts whose call ended otherwise for good, aborted ones too.", examples=[2]
    )
    prompt_tokens: Count = Field(description="Tokens read for those.", examples=[1440])
    completion_tokens: Count = Field(description="Tokens written by those.", examples=[9600])
    latency_s: Seconds | None = Field(
        description="Mean seconds of an answer; null where there is none.", examples=[1.25]
    )


class ThroughputSeries(Record):
    """The parts of the window, oldest first, also those in which nothing ended."""

    name: str | None = Field(
        description="The model or the address of the host; `other` for those beyond the busiest;"
        " null for everything.",
        examples=["qwen3:8b"],
    )
    points: tuple[ThroughputPoint, ...] = Field(description="The parts.", examples=[[POINT]])


class Throughput(Record):
    """What calls came to over time."""

    window: Annotated[str, OneOf(WindowName)] = Field(description="As asked for.", examples=["1h"])
    by: Annotated[str, OneOf(Literal["none", "model", "host"])] = Field(
        description="As asked for.", examples=["model"]
    )
    bucket_s: int = Field(gt=0, description="Seconds of a part of the window.", examples=[60])
    data: tuple[ThroughputSeries, ...] = Field(
        description="The series, the busiest first; at most eight.", examples=[[ONE]]
    )


class RecentOutcomes(Record):
    """Results of a stretch of time by their outcome."""

    succeeded: Count = Field(description="Prompts that succeeded.", examples=[118])
    failed: Count = Field(description="Prompts whose call ended otherwise.", examples=[2])
    errors: dict[str, int] = Field(
        description="Those by error code, the most frequent first.", examples=[{"timeout": 2}]
    )

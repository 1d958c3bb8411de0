"""Records of throughput over time, and of the outcomes of the last minute and hour."""

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
    """Results of one interval of the window."""

    at: Time = Field(description="When the interval begins.", examples=[POINT["at"]])
    succeeded: Count = Field(description="Prompts that succeeded.", examples=[120])
    failed: Count = Field(
        description="Prompts whose last call did not succeed, aborted calls included.", examples=[2]
    )
    prompt_tokens: Count = Field(description="Tokens of their prompts.", examples=[1440])
    completion_tokens: Count = Field(description="Tokens of their answers.", examples=[9600])
    latency_s: Seconds | None = Field(
        description="Mean seconds of an answer; null without answers.", examples=[1.25]
    )


class ThroughputSeries(Record):
    """Intervals of the window, oldest first, including those without results."""

    name: str | None = Field(
        description="Name of the model or address of the host; `other` for all beyond the busiest;"
        " null for the total.",
        examples=["qwen3:8b"],
    )
    points: tuple[ThroughputPoint, ...] = Field(description="The parts.", examples=[[POINT]])


class Throughput(Record):
    """Results of calls over time."""

    window: Annotated[str, OneOf(WindowName)] = Field(description="As asked for.", examples=["1h"])
    by: Annotated[str, OneOf(Literal["none", "model", "host"])] = Field(
        description="As asked for.", examples=["model"]
    )
    bucket_s: int = Field(gt=0, description="Seconds of an interval.", examples=[60])
    data: tuple[ThroughputSeries, ...] = Field(
        description="The series, the busiest first; at most eight.", examples=[[ONE]]
    )


class RecentOutcomes(Record):
    """Results of a period, by outcome."""

    succeeded: Count = Field(description="Prompts that succeeded.", examples=[118])
    failed: Count = Field(description="Prompts whose last call did not succeed.", examples=[2])
    errors: dict[str, int] = Field(
        description="Failed prompts by error code, the most frequent first.",
        examples=[{"timeout": 2}],
    )

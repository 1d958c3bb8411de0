"""Totals of calls by the minute and by the hour.

Plain records; no decision depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MINUTE_S: Final = 60
HOUR_S: Final = 3600
DAY_S: Final = 86_400
KEPT_S: Final[Mapping[int, int]] = {MINUTE_S: 72 * HOUR_S, HOUR_S: 400 * DAY_S}
"""Seconds for which the counts of minutes and of hours are kept."""
SUCCEEDED: Final = "succeeded"
OTHERS: Final = "other"
"""Name of the series of all hosts or models without a series of their own."""


@dataclass(slots=True)
class CallTotals:
    """Totals of a number of results."""

    prompts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0

    def add(self, other: CallTotals) -> None:
        """Add other totals to these."""
        self.prompts += other.prompts
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        self.latency_s += other.latency_s


ActivityKey = tuple[int, str, str, str]
"""Start of a minute in seconds, host, model and outcome."""


class Grouping(StrEnum):
    """Groupings of throughput into series."""

    NONE = "none"
    MODEL = "model"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Period up to now, and the length of its intervals, in seconds."""

    length_s: int
    bucket_s: int

    @property
    def span_s(self) -> int:
        """Seconds of the rows to read: those of minutes, or of hours."""
        return HOUR_S if self.bucket_s % HOUR_S == 0 else MINUTE_S


WINDOWS: Final[Mapping[str, Window]] = {
    "15m": Window(length_s=15 * MINUTE_S, bucket_s=MINUTE_S),
    "1h": Window(length_s=HOUR_S, bucket_s=MINUTE_S),
    "6h": Window(length_s=6 * HOUR_S, bucket_s=5 * MINUTE_S),
    "24h": Window(length_s=DAY_S, bucket_s=15 * MINUTE_S),
    "72h": Window(length_s=3 * DAY_S, bucket_s=HOUR_S),
    "30d": Window(length_s=30 * DAY_S, bucket_s=12 * HOUR_S),
    "365d": Window(length_s=365 * DAY_S, bucket_s=5 * DAY_S),
}
"""Windows by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Results of one interval of a window."""

    at_s: int
    succeeded: CallTotals
    failed: int
    """Results that did not succeed, aborted calls included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Intervals of a window, for everything or for one host or model, empty intervals included."""

    name: str | None
    """Name of the host or model; None for everything."""
    buckets: Sequence[Bucket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Results over time; the busiest host or model comes first."""

    window: Window
    read_at_s: int
    """End of the window, in seconds since 1970; the last interval is incomplete."""
    series: Sequence[Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentOutcomes:
    """Results by their outcome, of the last whole minute and of the last hour."""

    minute: Mapping[str, int]
    hour: Mapping[str, int]

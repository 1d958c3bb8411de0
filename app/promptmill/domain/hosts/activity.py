"""What calls came to, added up by the minute and by the hour.

Plain records; nothing here decides about a prompt.
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
"""For how many seconds the counts of minutes and of hours are kept."""
SUCCEEDED: Final = "succeeded"
OTHERS: Final = "other"
"""The name of all hosts or models together that have no series of their own."""


@dataclass(slots=True)
class CallTotals:
    """Results together: how many, and the sums of what was measured."""

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
"""The beginning of a minute in seconds, the host, the model, and the outcome."""


class Grouping(StrEnum):
    """What each series of a throughput is of."""

    NONE = "none"
    MODEL = "model"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time up to now, and the width of its parts, in seconds."""

    length_s: int
    bucket_s: int

    @property
    def span_s(self) -> int:
        """The rows to be read: those of minutes, or of hours."""
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
"""The windows that a throughput can be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """The results of one part of a window."""

    at_s: int
    succeeded: CallTotals
    failed: int
    """Results that did not succeed, aborted calls included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The parts of a window, of everything or of one host or model; parts without calls too."""

    name: str | None
    """The host or model; None: of everything."""
    buckets: Sequence[Bucket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What calls came to over time; the busiest host or model first."""

    window: Window
    read_at_s: int
    """Until when, in seconds since 1970; the last part has only just begun."""
    series: Sequence[Series]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentOutcomes:
    """Results by their outcome, of the last whole minute and of the last hour."""

    minute: Mapping[str, int]
    hour: Mapping[str, int]

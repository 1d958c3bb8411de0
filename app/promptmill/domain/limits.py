"""Limits: how many calls may start now, when the next may start, and what suits a model's size.

Pure arithmetic, used by the queue (over all workers) and by `OllamaManager` (in one process), so
that a limit has the same meaning in both. Times are integer milliseconds of the caller's clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX_CONCURRENT_BOUND = 256
"""The largest `max_concurrent` of a batch."""
RATE_LIMIT_DELAY_BOUND_S = 3600.0
"""The largest `rate_limit_delay` of a batch, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a batch: the most calls in flight, and the least time between two starts."""

    max_concurrent: int = 5
    rate_limit_delay_s: float = 0.1

    @property
    def is_paced(self) -> bool:
        """Whether there is a delay between starts."""
        return self.rate_limit_delay_s > 0


def startable(*, wanted: int, running: int, limits: Limits) -> int:
    """Number of calls of a job that may start now under the job's own limits.

    With a delay between starts that is at most one.
    """
    free = min(wanted, limits.max_concurrent - running)
    if limits.is_paced:
        free = min(free, 1)
    return max(free, 0)


START_TOLERANCE_S = 0.005
"""Seconds by which two starts may be closer than the delay.

The clocks of two machines, and the way from a decision to the network, are no more exact.
"""
MOST_START_WINDOW_S = 10.0
"""The longest grace period of a start permit, in seconds."""


def next_start_at_ms(
    started_at_ms: int, limits: Limits, *, window_s: float = START_TOLERANCE_S
) -> int:
    """Earliest moment of the next start, after a start that was permitted at `started_at_ms`.

    The permitted call may begin until `window_s` after its permit. The part of the window beyond
    the tolerance is added to the delay, so that the next start keeps its distance from the latest
    possible moment. The result is rounded up, so that a fraction of a millisecond never shortens a
    delay.
    """
    late_s = max(window_s - START_TOLERANCE_S, 0.0)
    return started_at_ms + math.ceil(round((limits.rate_limit_delay_s + late_s) * 1000, 6))


def adapted_window_s(window_s: float, *, missed: bool) -> float:
    """Grace period of the next permit, after a permit was used or missed.

    A missed permit costs another claim, a wide window a part of every delay. At this ratio of steps
    the window settles where a fifth of the permits is missed, and a machine as slow as
    `MOST_START_WINDOW_S` still starts calls.
    """
    if missed:
        return min(window_s * 1.5, MOST_START_WINDOW_S)
    return max(window_s * 0.9, START_TOLERANCE_S)


_GIGA = 1_000_000_000


def recommended_limits(parameter_count: float | None, *, little_memory: bool = False) -> Limits:
    """Recommend limits for a model by its number of parameters.

    Below 8 billion 8 at 0.05 s, up to 30 billion 5 at 0.1 s, above 2 at 0.2 s; with little memory 2
    at 0.5 s. An unknown size gets the middle row.
    """
    if little_memory:
        return Limits(max_concurrent=2, rate_limit_delay_s=0.5)
    if parameter_count is None:
        return Limits(max_concurrent=5, rate_limit_delay_s=0.1)
    if parameter_count < 8 * _GIGA:
        return Limits(max_concurrent=8, rate_limit_delay_s=0.05)
    if parameter_count <= 30 * _GIGA:
        return Limits(max_concurrent=5, rate_limit_delay_s=0.1)
    return Limits(max_concurrent=2, rate_limit_delay_s=0.2)


_SUFFIXES = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


def parse_parameter_size(text: str | None) -> float | None:
    """Parse Ollama's `parameter_size` ("8.2B", "97.24M"); None for other texts."""
    if not text:
        return None
    number, factor = text.strip(), 1.0
    if number and number[-1].upper() in _SUFFIXES:
        number, factor = number[:-1], _SUFFIXES[number[-1].upper()]
    try:
        return float(number) * factor
    except ValueError:
        return None

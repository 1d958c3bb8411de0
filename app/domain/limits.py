"""How many calls may start now, when the next may start, and what is sensible for a model's size.

Pure arithmetic, used by the queue (over all workers) and by `OllamaManager` (in one process), so
that a limit means the same in both. Times are integer milliseconds of whatever clock the caller
has; the domain never reads one.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_CONCURRENT_BOUND = 256
"""Most that `max_concurrent` of a batch may be."""
RATE_LIMIT_DELAY_BOUND_S = 3600.0
"""Most that `rate_limit_delay` of a batch may be, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a batch allows: most calls in flight, and the least time between two starts."""

    max_concurrent: int = 5
    rate_limit_delay_s: float = 0.1


def startable(
    *,
    wanted: int,
    running: int,
    limits: Limits,
    host_running: int = 0,
    host_slots: int | None = None,
) -> int:
    """How many calls of a job may start at this moment.

    With a delay between starts it is one at most: the next start has to wait for its own moment.
    `host_slots=None` means that only the job's own limits hold.
    """
    free = min(wanted, limits.max_concurrent - running)
    if host_slots is not None:
        free = min(free, host_slots - host_running)
    if limits.rate_limit_delay_s > 0:
        free = min(free, 1)
    return max(free, 0)


def next_start_at_ms(started_at_ms: int, limits: Limits) -> int:
    """The earliest moment of the next start, given that one started at `started_at_ms`.

    Rounded up, so that a delay that is not a whole millisecond is never cut short.
    """
    delay_ms = limits.rate_limit_delay_s * 1000
    whole = int(delay_ms)
    return started_at_ms + whole + (1 if delay_ms > whole else 0)


_GIGA = 1_000_000_000


def recommended_limits(parameter_count: float | None, *, little_memory: bool = False) -> Limits:
    """Limits that suit a model of that many parameters (the seed's table).

    Below 8 billion 8 at 0.05 s, up to 30 billion 5 at 0.1 s, above 2 at 0.2 s; with little memory
    2 at 0.5 s. An unknown size gets the middle row.
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
    """Ollama's `parameter_size` ("8.2B", "97.24M") as a number; None if it is no size."""
    if not text:
        return None
    number, factor = text.strip(), 1.0
    if number and number[-1].upper() in _SUFFIXES:
        number, factor = number[:-1], _SUFFIXES[number[-1].upper()]
    try:
        return float(number) * factor
    except ValueError:
        return None

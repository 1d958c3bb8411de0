"""Search of `max_concurrent: auto` for the most useful number of calls in flight.

A climb with trials. The limit in force is compared with one a quarter higher: while throughput
grows beyond its noise the limit rises; else it steps back and a lower limit is tried. If neither is
better the search rests and tries again later, after longer and longer rests, because the host may
have changed. An increase needs a clear gain, a decrease only the absence of a loss, so that noise
leads down to the host's capacity and not away from it. A busy host, or calls that time out, halve
the limit at once.

Pure: samples and states are values, and the clock is the caller's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from promptmill.domain.limits import MAX_CONCURRENT_BOUND

LEAST_GAIN = 0.03
"""The smallest relative growth of throughput that counts as growth."""
WORTH = 0.25
"""Part of a relative increase of calls in flight by which throughput must grow."""
TOLERATED_LOSS = 0.02
"""The relative loss of throughput that a lower limit may cost, against the best on the way down."""
FALL = 0.2
"""The relative fall of throughput that ends a rest of the limit."""
TOLERATED_SETBACKS = 0.02
"""Share of calls that may find the host busy, or time out, without a decrease."""
LEAST_WINDOW_S = 1.0
"""The shortest duration of a sample, in seconds."""
_GENERATIONS = 3
"""The fewest prompts of a sample for each call in flight ..."""
_MOST_GENERATIONS = 24
"""... and the most, however much the prompts differ."""
_ENOUGH_ERROR = 0.05
"""Between the two bounds a sample ends when its standard error is below this share."""
_SHORTEST_REST, _LONGEST_REST = 4, 64
"""Samples between two searches, at first and at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Prompts that finished within a period."""

    prompts: int = 0
    duration_s: float = 0.0
    busy_s: float = 0.0
    """Sum of the calls' durations; more than `duration_s` if several ran at a time."""
    squares: float = 0.0
    """The sum of the squared durations: a measure of how much prompts differ."""
    setbacks: int = 0
    """Calls that found the host busy, or timed out."""

    def __add__(self, other: Sample) -> Sample:
        return Sample(
            prompts=self.prompts + other.prompts,
            duration_s=self.duration_s + other.duration_s,
            busy_s=self.busy_s + other.busy_s,
            squares=self.squares + other.squares,
            setbacks=self.setbacks + other.setbacks,
        )

    @property
    def rate(self) -> float:
        """Prompts per second."""
        return self.prompts / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def error(self) -> float:
        """Standard error of the rate, relative to the rate."""
        if not self.prompts or not self.busy_s:
            return 1.0
        mean = self.busy_s / self.prompts
        variance = max(self.squares / self.prompts - mean * mean, 0.0)
        # The prompt at the sample's edge, counted or not by chance, adds to the error.
        return math.hypot(math.sqrt(variance / self.prompts) / mean, 1 / self.prompts)

    @property
    def in_flight(self) -> float:
        """The mean number of calls in flight."""
        return self.busy_s / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def is_set_back(self) -> bool:
        """Whether too many calls found the host busy or timed out."""
        return self.setbacks > TOLERATED_SETBACKS * (self.prompts + self.setbacks)

    def is_enough(self, limit: int) -> bool:
        """Whether the sample is complete, under one limit."""
        if self.is_set_back:
            return True
        if self.duration_s < LEAST_WINDOW_S or self.prompts < _GENERATIONS * limit:
            return False
        return self.error <= _ENOUGH_ERROR or self.prompts >= _MOST_GENERATIONS * limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A limit and the throughput that was measured with it."""

    limit: int
    rate: float
    error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The state of the search for the best limit."""

    limit: int
    """The limit in force."""
    against: Level | None = None
    """The level that `limit` is compared with; None outside a trial."""
    upward: bool = True
    """Whether the present or the next trial is of a higher limit."""
    other_way_known: bool = False
    """Whether the opposite direction was already found to be no better."""
    rests: int = 0
    """Samples to skip before the next trial."""
    next_rest: int = _SHORTEST_REST
    """The length of the next rest, in samples."""
    settled: Level | None = None
    """The throughput at the limit where the search ended; None before."""


def observe(search: Search, sample: Sample) -> Search:
    """Compute the state of the search, with its limit, after a complete sample."""
    if sample.is_set_back:
        return _retreat(search)
    level = Level(limit=search.limit, rate=sample.rate, error=sample.error)
    # With fewer calls in flight than the limit allows, the limit is not what bounds throughput.
    is_filled = sample.in_flight * 2 > search.limit
    if search.against is not None:
        if is_filled and _is_better(level, search.against):
            return _go_on(search, level, search.against)
        return _step_back(search, search.against)
    if search.rests > 0 and not _has_fallen(level, search.settled):
        return replace(search, rests=search.rests - 1)
    if not is_filled:
        return search
    if search.rests > 0:
        # The settled limit is no longer good; a lower one is the careful guess.
        search = replace(search, upward=False, next_rest=_SHORTEST_REST)
    return _try(replace(search, rests=0, other_way_known=False), level)


def _retreat(search: Search) -> Search:
    return Search(
        limit=max(search.limit // 2, 1),
        rests=search.next_rest,
        next_rest=min(search.next_rest * 2, _LONGEST_REST),
    )


def _is_better(new: Level, old: Level) -> bool:
    """Whether a new level is kept: a higher limit must pay, a lower one must not lose.

    Calls beyond a host's slots only wait there, and on many hosts they do harm.
    """
    noise = math.hypot(new.error, old.error)
    if new.limit < old.limit:
        return new.rate >= old.rate * (1 - max(TOLERATED_LOSS, noise / 2))
    worth = WORTH * (new.limit / old.limit - 1)
    return new.rate > old.rate * (1 + max(LEAST_GAIN, worth, 1.5 * noise))


def _has_fallen(now: Level, settled: Level | None) -> bool:
    if settled is None:
        return False
    return now.rate < settled.rate * (1 - FALL - 2 * math.hypot(now.error, settled.error))


def _go_on(search: Search, level: Level, against: Level) -> Search:
    better = replace(search, other_way_known=True, next_rest=_SHORTEST_REST)
    # The best level stays the measure, so that small losses do not add up.
    return _try(better, replace(level, rate=max(level.rate, against.rate)))


def _step_back(search: Search, to: Level) -> Search:
    turned = replace(search, limit=to.limit, against=None, upward=not search.upward)
    if search.other_way_known:
        return _rest(turned, to)
    return _try(replace(turned, other_way_known=True), to)


def _try(search: Search, level: Level) -> Search:
    """Begin a trial next to `level`, in the other direction if the bound is reached."""
    step = max(level.limit // 4, 1)
    beside = level.limit + (step if search.upward else -step)
    beside = min(max(beside, 1), MAX_CONCURRENT_BOUND)
    if beside != level.limit:
        return replace(search, limit=beside, against=level)
    turned = replace(search, limit=level.limit, against=None, upward=not search.upward)
    if search.other_way_known:
        return _rest(turned, level)
    return _try(replace(turned, other_way_known=True), level)


def _rest(search: Search, level: Level) -> Search:
    return Search(
        limit=level.limit,
        rests=search.next_rest,
        next_rest=min(search.next_rest * 2, _LONGEST_REST),
        settled=level,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A search, and the sample that is being gathered for the search."""

    search: Search
    sample: Sample = field(default_factory=Sample)
    is_settling: bool = True
    """Whether finishing prompts were started under the previous limit, and are not counted."""


def watch(state: Watch, seen: Sample) -> Watch:
    """Compute the state after `seen` prompts finished since the last call of this function."""
    sample = state.sample + seen
    limit = state.search.limit
    if state.is_settling:
        if sample.prompts >= limit:
            return Watch(search=state.search, is_settling=False)
        return replace(state, sample=sample)
    if not sample.is_enough(limit):
        return replace(state, sample=sample)
    search = observe(state.search, sample)
    return Watch(search=search, is_settling=search.limit != limit)

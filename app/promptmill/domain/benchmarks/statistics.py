"""Statistics of a series of measured values: spread, percentiles, confidence intervals, drift.

A number that the data do not support is None, never 0 and never a guess: no standard deviation of
one value, no 99th percentile of ten. Only `drift` depends on the order of the values. Two series
are compared in `significance`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from itertools import combinations
from statistics import mean, median, stdev

from promptmill.domain.benchmarks.student_t import two_sided_t

CONFIDENCE = 0.95
"""Least probability with which an interval contains its estimand."""
PERCENTILES = {"p50": (0.50, 1), "p90": (0.90, 10), "p95": (0.95, 20), "p99": (0.99, 100)}
"""Percentiles: each with its fraction, and the least number of values that supports it."""
LEAST_FOR_ORDER_STATISTICS = 6
"""Fewest values for an interval of the median: below, even the full range covers less than 95 %."""


class Estimand(StrEnum):
    """Estimands of intervals."""

    MEDIAN = "median"
    """Median of the measured values."""
    MEAN = "mean"
    """Mean of the measured values."""
    RATIO = "ratio"
    """Ratio of the target to the baseline."""


class Method(StrEnum):
    """Methods of computing an interval."""

    ORDER_STATISTICS = "order_statistics"
    """Between two of the sorted values; valid for any distribution."""
    STUDENT_T = "student_t"
    """Mean and standard deviation; valid for values that are about normal."""
    HODGES_LEHMANN_MANN_WHITNEY = "hodges_lehmann_mann_whitney"
    """From all ratios of one value to another; valid for two distributions of one shape."""
    WELCH_ON_LOGS = "welch_on_logs"
    """Means of the logarithms; valid for values that are about lognormal."""
    RATIO_OF_SINGLE_RUNS = "ratio_of_single_runs"
    """One value on a side: a ratio without an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """95 % confidence interval, in the unit of the values (a ratio has none)."""

    low: float
    high: float
    of: Estimand
    method: Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Statistics of a series of values; all but `n` and `cv` are in the unit of the values.

    A statistic that needs more values is None. See `distribution` for each.
    """

    n: int
    mean: float | None
    stddev: float | None
    cv: float | None
    min: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    max: float | None
    ci95: Interval | None


def distribution(values: Iterable[float]) -> Distribution:
    """The distribution of values that were measured under the same conditions, in any order.

    - `mean` is the arithmetic one.
    - `stddev` is that of a sample, with n - 1 (Bessel's correction); None below two values.
    - `cv` is `stddev / mean`, without a unit; None below two values, and when the mean is not above
      0, where it means nothing.
    - `p50` to `p99` interpolate between the two nearest of the sorted values (Hyndman & Fan 1996,
      type 7: what NumPy, R and `statistics.quantiles(method="inclusive")` do). Below 10, 20 and 100
      values `p90`, `p95` and `p99` are None: the value asked for would lie beyond the data.
    - `ci95` is of the median from six values on (`median_interval`), of the mean from two to five
      (`mean_interval`), None below. Where no value is below 0 it is not either: no time is, though
      Student's t knows nothing of that.

    Raises:
        ValueError: a value is not finite.
    """
    ordered = sorted(map(float, values))
    if not all(map(math.isfinite, ordered)):
        raise ValueError("a measured value is not a finite number")
    n = len(ordered)
    centre = mean(ordered) if n else None
    spread = stdev(ordered) if n > 1 else None
    found = {
        name: _percentile(ordered, fraction) if n >= least else None
        for name, (fraction, least) in PERCENTILES.items()
    }
    return Distribution(
        n=n,
        mean=centre,
        stddev=spread,
        cv=spread / centre if spread is not None and centre is not None and centre > 0 else None,
        min=ordered[0] if n else None,
        max=ordered[-1] if n else None,
        ci95=_not_below_zero(median_interval(ordered) or mean_interval(ordered), ordered),
        **found,
    )


def median_interval(values: Sequence[float]) -> Interval | None:
    """95 % confidence interval of the median, for any distribution; None below six values.

    It goes from the k-th smallest value to the k-th largest. The median is outside if fewer than k
    values lie on one side of it, and that number is binomial with one half: k is the largest for
    which this happens in at most 5 % of all samples (Thompson 1936; David & Nagaraja, Order
    Statistics, 7.1).
    """
    if len(values) < LEAST_FOR_ORDER_STATISTICS:
        return None
    ordered, rank = sorted(values), median_interval_rank(len(values))
    return Interval(
        low=ordered[rank - 1],
        high=ordered[-rank],
        of=Estimand.MEDIAN,
        method=Method.ORDER_STATISTICS,
    )


@lru_cache(maxsize=256)
def median_interval_rank(n: int) -> int:
    """Rank of the sorted values, from either end, that bounds the median's interval (1 = end).

    Computed in integers, and so exact for any n; 10 ms for 10,000 values. 0 if no rank suffices.
    """
    rank, ways, outside = 0, 1, 1
    # Of 2^n equally likely outcomes `outside` have at most `rank` values on a side; at most 1/40
    # may.
    while 40 * outside <= 2**n:
        rank += 1
        ways = ways * (n - rank + 1) // rank
        outside += ways
    return rank


def mean_interval(values: Sequence[float]) -> Interval | None:
    """95 % confidence interval of the mean of two to five values by Student's t (1908), else None.

    It assumes that the values are about normal, which so few can neither show nor deny; with an
    outlier among them it contains the mean less often than 95 %. For more values `median_interval`
    needs no assumption.
    """
    n = len(values)
    if not 2 <= n < LEAST_FOR_ORDER_STATISTICS:  # noqa: PLR2004 - one value has no spread
        return None
    centre = mean(values)
    half = two_sided_t(1 - CONFIDENCE, n - 1) * stdev(values) / math.sqrt(n)
    return Interval(
        low=centre - half, high=centre + half, of=Estimand.MEAN, method=Method.STUDENT_T
    )


LEAST_FOR_DRIFT = 8
"""Fewest values in order that can show a trend at the required level."""
DRIFT_P_VALUE = 0.01
"""Largest p value of a trend that is reported."""
DRIFT_CHANGE = 0.05
"""Smallest change that is reported, relative to the median."""
_MOST_FOR_DRIFT = 400


def drift(values_in_order: Sequence[float]) -> float | None:
    """By how much values changed from the first run to the last, as a share of their median.

    0.2 means that the last is about a fifth above the first: what a machine that heats up does to
    latencies. None when nothing speaks for a trend: below eight values, when the rank correlation
    with the order (Kendall 1938) could well be chance (p of 0.01 or more), or when the change is
    not above 5 % of the median. The change is the median slope between any two values (Theil 1950,
    Sen 1968) times the range of the order; outliers hardly move it. Of more than 400 values it is
    an even selection that is looked at.
    """
    n = len(values_in_order)
    centre = median(values_in_order) if n else 0.0
    if n < LEAST_FOR_DRIFT or centre <= 0:
        return None
    chosen = values_in_order[:: math.ceil(n / _MOST_FOR_DRIFT)]
    slopes = [
        (later - earlier) / (j - i)
        for (i, earlier), (j, later) in combinations(enumerate(chosen), 2)
    ]
    if not rank_correlation_p_value(chosen, slopes) < DRIFT_P_VALUE:
        return None
    change = median(slopes) * (len(chosen) - 1) / centre
    return change if abs(change) > DRIFT_CHANGE else None


def rank_correlation_p_value(values_in_order: Sequence[float], slopes: Iterable[float]) -> float:
    """Probability of at least this order of values by chance; 1 if all are equal.

    Kendall's tau with its normal approximation and the correction for ties (Kendall 1970, Rank
    Correlation Methods, 4.2 and 5.1). `slopes` are those between any two of the values.
    """
    n = len(values_in_order)
    rising_minus_falling = sum((slope > 0) - (slope < 0) for slope in slopes)
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(values_in_order).values())
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    if not variance:
        return 1.0
    return math.erfc(abs(rising_minus_falling) / math.sqrt(2 * variance))


def _not_below_zero(interval: Interval | None, ordered: Sequence[float]) -> Interval | None:
    if interval is None or interval.low >= 0 or ordered[0] < 0:
        return interval
    return replace(interval, low=0.0)


def _percentile(ordered: Sequence[float], fraction: float) -> float:
    """Percentile of Hyndman and Fan's type 7, computed from the nearer side against rounding."""
    position = (len(ordered) - 1) * fraction
    index = math.floor(position)
    share = position - index
    below, above = ordered[index], ordered[min(index + 1, len(ordered) - 1)]
    if share < 0.5:  # noqa: PLR2004 - the middle of the gap
        return below + (above - below) * share
    return above - (above - below) * (1 - share)

"""Ratio of two series of measurements, with its confidence interval and p value.

All is computed on logarithms, so that results are ratios, and comparing the other way round gives
the inverse. The interval decides the verdict; the p value comes from the same distribution and
agrees with it if there are no ties.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate
from statistics import NormalDist, mean, median, variance

from promptmill.domain.benchmarks.statistics import CONFIDENCE, Estimand, Interval, Method
from promptmill.domain.benchmarks.student_t import two_sided_p, two_sided_t

LEAST_FOR_RANKS = 5
"""Fewest values on each side for ranks: 4 and 4 can hardly differ at 5 %."""
MOST_FOR_EXACT = 50
"""Most values on each side for the exact distribution of U; above, the normal one is used."""
_MOST_PAIRS = 250_000
"""Most pairs whose differences are all sorted; above, the wanted ones are searched for."""
_SAME = 1e-13
"""Precision of the search for a difference of logarithms."""
_LARGEST_LOG = math.log(1.7e308)


class Verdict(StrEnum):
    """The verdict on the target against the baseline."""

    FASTER = "faster"
    """Better, and the interval excludes 1."""
    SLOWER = "slower"
    """Worse, and the interval excludes 1."""
    NO_SIGNIFICANT_DIFFERENCE = "no_significant_difference"
    """The interval contains 1: the series may be equal, or the runs too few."""
    INSUFFICIENT_DATA = "insufficient_data"
    """Fewer than two runs on a side."""
    NOT_COMPARABLE = "not_comparable"
    """The work differs; set where series are matched, never by `compare`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Comparison of the target with the baseline."""

    ratio: float | None
    """Target / baseline: 1.1 is a tenth more. None when a side has no value."""
    ci95: Interval | None
    """The 95 % confidence interval of the ratio; None below two values on a side."""
    method: Method | None
    p_value: float | None
    """Two-sided p value: probability of at least this difference by chance."""
    n_base: int
    n_target: int
    verdict: Verdict


def compare(base: Sequence[float], target: Sequence[float], *, lower_is_better: bool) -> Comparison:
    """The ratio of two series of independent measurements, target / base, with a 95 % interval.

    - From five values on each side: the median of all ratios of a target to a base value (Hodges &
      Lehmann 1963, on logarithms), the interval by inverting the test of Mann & Whitney (1947): it
      holds the ratios that the test, at 5 %, would not reject. The null distribution of U is exact
      up to 50 values on each side, else normal with a continuity correction.
    - From two to four on a side: the ratio of the geometric means, interval and p value by Welch's
      test (1947) on logarithms.
    - One on a side: a ratio, nothing more. None on a side: nothing.

    The interval decides: `faster` or `slower` only when it leaves out 1. Without ties this is so
    exactly when the p value is at most 0.05. With ties the p value is normal and corrected for
    them, the interval is not and thus rather wide; they can differ near the border.
    `lower_is_better` says whether a ratio below 1 is `faster` (times) or `slower` (rates).

    A thousand runs a side take a tenth of a second: call it off the event loop.

    Raises:
        ValueError: a value is not finite or not above 0.
    """
    shift = _shift(_sorted_logs(base), _sorted_logs(target))
    return Comparison(
        ratio=None if shift.centre is None else _ratio(shift.centre),
        ci95=(ci95 := _interval(shift)),
        method=shift.method,
        p_value=shift.p_value,
        n_base=len(base),
        n_target=len(target),
        verdict=_verdict(ci95, lower_is_better=lower_is_better),
    )


def geometric_mean(ratios: Iterable[float]) -> float | None:
    """Geometric mean of ratios, the n-th root of their product; None without ratios.

    It is the only mean of ratios whose value does not depend on which side is the baseline (Fleming
    & Wallace 1986).

    Raises:
        ValueError: A ratio is not finite or not above 0.
    """
    logs = _sorted_logs(ratios)
    return _ratio(mean(logs)) if logs else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shift:
    """Shift of the target above the base, in logarithms."""

    method: Method | None = None
    centre: float | None = None
    bounds: tuple[float, float] | None = None
    p_value: float | None = None


def _shift(base: Sequence[float], target: Sequence[float]) -> _Shift:
    """Compute the shift by ranks or by means, depending on the number of values; both sorted."""
    fewest = min(len(base), len(target))
    if fewest >= LEAST_FOR_RANKS:
        return _by_ranks(base, target)
    if fewest > 1:
        return _by_means(base, target)
    if fewest == 1:
        centre = median(target) - median(base)
        return _Shift(method=Method.RATIO_OF_SINGLE_RUNS, centre=centre)
    return _Shift()


def _interval(shift: _Shift) -> Interval | None:
    if shift.method is None or shift.bounds is None:
        return None
    low, high = map(_ratio, shift.bounds)
    return Interval(low=low, high=high, of=Estimand.RATIO, method=shift.method)


def _sorted_logs(values: Iterable[float]) -> list[float]:
    given = sorted(values)
    if not all(value > 0 and math.isfinite(value) for value in given):
        raise ValueError("a value to compare is not a finite number above 0")
    return [math.log(value) for value in given]


def _ratio(log: float) -> float:
    """Ratio of a difference of logarithms, bounded because JSON has no infinity."""
    return math.exp(min(log, _LARGEST_LOG))


def _verdict(ci95: Interval | None, *, lower_is_better: bool) -> Verdict:
    if ci95 is None:
        return Verdict.INSUFFICIENT_DATA
    if ci95.low <= 1 <= ci95.high:
        return Verdict.NO_SIGNIFICANT_DIFFERENCE
    return Verdict.FASTER if (ci95.high < 1) is lower_is_better else Verdict.SLOWER


def _by_means(base: Sequence[float], target: Sequence[float]) -> _Shift:
    """Welch's test: unequal variances, with the degrees of freedom of Satterthwaite (1946)."""
    centre = mean(target) - mean(base)
    shares = [variance(logs) / len(logs) for logs in (base, target)]
    if not (error := math.sqrt(math.fsum(shares))):
        # Without any spread on both sides, as with a simulator, no test is possible.
        return _Shift(
            method=Method.WELCH_ON_LOGS,
            centre=centre,
            bounds=(centre, centre),
            p_value=float(centre == 0),
        )
    # Shares of the whole: squares of tiny variances would vanish.
    parts = [share / error**2 for share in shares]
    freedom = 1 / math.fsum(
        part**2 / (len(logs) - 1) for part, logs in zip(parts, (base, target), strict=True)
    )
    half = two_sided_t(1 - CONFIDENCE, freedom) * error
    return _Shift(
        method=Method.WELCH_ON_LOGS,
        centre=centre,
        bounds=(centre - half, centre + half),
        p_value=two_sided_p(centre / error, freedom),
    )


def _by_ranks(base: Sequence[float], target: Sequence[float]) -> _Shift:
    """Hodges and Lehmann's shift, with the interval and the p value of Mann and Whitney."""
    pairs = len(base) * len(target)
    rank = ratio_interval_rank(len(base), len(target))
    wanted = (rank, (pairs + 1) // 2, pairs // 2 + 1, pairs + 1 - rank)
    low, middle, next_to_it, high = _differences(base, target, wanted)
    return _Shift(
        method=Method.HODGES_LEHMANN_MANN_WHITNEY,
        centre=(middle + next_to_it) / 2,
        bounds=(low, high),
        p_value=_p_value(base, target),
    )


@lru_cache(maxsize=256)
def ratio_interval_rank(n: int, m: int) -> int:
    """Rank, from either end, of the sorted n * m ratios that bounds the interval (1 = the end).

    It is the largest k for which U is below k in at most 2.5 % of all equal series.
    """
    if max(n, m) <= MOST_FOR_EXACT:
        return bisect_right(_chance_of_u(n, m), (1 - CONFIDENCE) / 2)
    centre, spread = n * m / 2, math.sqrt(n * m * (n + m + 1) / 12)
    quantile = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return math.floor(centre + 0.5 - quantile * spread)


@lru_cache(maxsize=64)
def _chance_of_u(n: int, m: int) -> tuple[float, ...]:
    """Distribution of U at 0, 1, 2 … up to the middle, for two equal series.

    The numbers of orders with each U are the coefficients of a Gaussian binomial, the product of (1
    - x^(m + i)) (1 - x^i) for i from 1 to n (Mann & Whitney's recurrence, multiplied out).
    """
    size = n * m // 2 + 1
    ways = [1] + [0] * (size - 1)
    for i in range(1, n + 1):
        for u in range(size - 1, m + i - 1, -1):
            ways[u] -= ways[u - m - i]
        for u in range(i, size):
            ways[u] += ways[u - i]
    orders = math.comb(n + m, n)
    return tuple(up_to / orders for up_to in accumulate(ways))


def _p_value(base: Sequence[float], target: Sequence[float]) -> float:
    """Two-sided p value of Mann and Whitney's U; the arguments are sorted logarithms."""
    n, m = len(base), len(target)
    # A tie counts half: once with and once without it.
    doubled = sum(bisect_left(base, one) + bisect_right(base, one) for one in target)
    u = min(doubled, 2 * n * m - doubled) / 2
    ties = [count for count in Counter([*base, *target]).values() if count > 1]
    if not ties and max(n, m) <= MOST_FOR_EXACT:
        return min(1.0, 2 * _chance_of_u(n, m)[int(u)])
    lost = sum(count**3 - count for count in ties) / ((n + m) * (n + m - 1))
    spread = math.sqrt(n * m / 12 * max(n + m + 1 - lost, 0.0))
    if not spread:
        return 1.0
    return min(1.0, math.erfc((n * m / 2 - u - 0.5) / spread / math.sqrt(2)))


def _differences(
    base: Sequence[float], target: Sequence[float], ranks: Sequence[int]
) -> list[float]:
    """Differences with given ranks (1 = smallest) among all pairs of a target and a base value."""
    if len(base) * len(target) <= _MOST_PAIRS:
        every = sorted(after - before for after in target for before in base)
        return [every[rank - 1] for rank in ranks]
    return [_difference(base, target, rank) for rank in ranks]


def _difference(base: Sequence[float], target: Sequence[float], rank: int) -> float:
    """One difference by its rank, found by halving its range, for too many to write down."""
    low, high = target[0] - base[-1], target[-1] - base[0]
    while high - low > _SAME:
        middle = (low + high) / 2
        if sum(bisect_right(target, before + middle) for before in base) >= rank:
            high = middle
        else:
            low = middle
    # The nearest real difference, so that two equal values differ by exactly 0.
    near = (
        target[min(index, len(target) - 1)] - before
        for before in base
        for place in [bisect_left(target, before + high)]
        for index in (max(place - 1, 0), place)
    )
    return min(near, key=lambda difference: abs(difference - high))

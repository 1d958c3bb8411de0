"""Distributions, their intervals and drift: against NumPy and SciPy, and by properties."""

from __future__ import annotations

import math
import random
import tracemalloc
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from promptmill.domain.benchmarks.statistics import (
    PERCENTILES,
    Distribution,
    Estimand,
    Interval,
    Method,
    distribution,
    drift,
    mean_interval,
    median_interval_rank,
    rank_correlation_p_value,
)

SECONDS = st.floats(1e-3, 1e4)
SERIES = st.lists(SECONDS, min_size=1, max_size=130)


def lognormal(n: int, *, cv: float = 0.3, seed: int = 1) -> list[float]:
    return np.random.default_rng(seed).lognormal(0.0, math.sqrt(math.log1p(cv**2)), n).tolist()


def test_no_values_say_nothing() -> None:
    assert distribution([]) == Distribution(
        n=0, **dict.fromkeys([field.name for field in fields(Distribution)][1:])
    )


def test_one_value_is_its_own_median_and_has_no_spread() -> None:
    assert distribution([2.5]) == Distribution(
        n=1,
        mean=2.5,
        stddev=None,
        cv=None,
        min=2.5,
        p50=2.5,
        p90=None,
        p95=None,
        p99=None,
        max=2.5,
        ci95=None,
    )


@given(values=SERIES)
def test_moments_and_percentiles_are_those_of_numpy(values) -> None:
    found = distribution(values)
    assert found.n == len(values)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-12)
    assert (found.min, found.max) == (min(values), max(values))
    if found.n > 1:
        # Of equal values numpy's is not zero, but as large as the rounding of their mean.
        rounding = 1e-12 * max(values)
        assert found.stddev == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=rounding)
        assert found.cv == pytest.approx(found.stddev / found.mean, rel=1e-12)
    for name, (fraction, least) in PERCENTILES.items():
        if found.n >= least:
            expected = np.percentile(values, fraction * 100)
            assert getattr(found, name) == pytest.approx(expected, rel=1e-12)


@given(values=SERIES, rng=st.randoms(use_true_random=False))
def test_the_order_of_the_values_changes_nothing(values, rng: random.Random) -> None:
    shuffled = list(values)
    rng.shuffle(shuffled)
    assert distribution(shuffled) == distribution(values)


@given(values=SERIES)
def test_percentiles_rise_from_the_smallest_value_to_the_largest(values) -> None:
    found = distribution(values)
    told = [found.min, found.p50, found.p90, found.p95, found.p99, found.max]
    present = [value for value in told if value is not None]
    assert present == sorted(present)
    assert found.min <= found.mean <= found.max


@pytest.mark.parametrize(("name", "least"), [("p90", 10), ("p95", 20), ("p99", 100)])
def test_a_percentile_beyond_the_data_is_none(name, least) -> None:
    assert getattr(distribution(lognormal(least - 1)), name) is None
    assert getattr(distribution(lognormal(least)), name) is not None


@given(values=SERIES, factor=st.sampled_from([0.001, 0.5, 3.0, 1000.0]))
def test_another_unit_scales_everything_but_the_cv(values, factor) -> None:
    before, after = distribution(values), distribution([value * factor for value in values])
    for name in ("mean", "stddev", "min", "p50", "p90", "p95", "p99", "max"):
        one, other = getattr(before, name), getattr(after, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert other == pytest.approx(one * factor, rel=1e-9, abs=1e-9 * factor)
    if before.ci95 is not None:
        bounds = (before.ci95.low * factor, before.ci95.high * factor)
        assert (after.ci95.low, after.ci95.high) == pytest.approx(bounds, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        distribution([1.0, wrong, 2.0])


def test_a_cv_around_zero_is_none_and_not_huge_or_negative() -> None:
    assert distribution([-1.0, 1.0]).cv is None
    assert distribution([-2.0, -1.0]).cv is None
    assert distribution([0.0, 0.0]).stddev == 0.0


def test_equal_values_have_no_spread_at_all() -> None:
    found = distribution([0.1] * 7)
    assert (found.mean, found.stddev, found.cv) == (0.1, 0.0, 0.0)
    assert found.ci95 == Interval(
        low=0.1, high=0.1, of=Estimand.MEDIAN, method=Method.ORDER_STATISTICS
    )


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_of_few_values_the_interval_is_students_of_the_mean(n) -> None:
    values = lognormal(n)
    found = distribution(values).ci95
    expected = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
    assert (found.of, found.method) == ("mean", "student_t")
    assert mean_interval(values) == found


@pytest.mark.parametrize("n", [*range(6, 60), 100, 500, 1001, 5000, 20_000])
def test_the_interval_of_the_median_is_the_narrowest_that_covers_95_percent(n) -> None:
    rank = median_interval_rank(n)

    def covered(k: int) -> float:
        return 1 - 2 * stats.binom.cdf(k - 1, n, 0.5)

    assert covered(rank + 1) < 0.95 <= covered(rank)


@pytest.mark.parametrize("n", [6, 7, 20, 101])
def test_the_interval_of_the_median_ends_at_measured_values(n) -> None:
    values = lognormal(n)
    found, rank = distribution(values).ci95, median_interval_rank(n)
    assert (found.of, found.method) == ("median", "order_statistics")
    assert (found.low, found.high) == (sorted(values)[rank - 1], sorted(values)[n - rank])


@given(values=st.lists(SECONDS, min_size=2, max_size=60))
def test_an_interval_holds_what_it_is_of(values) -> None:
    found = distribution(values)
    assert found.ci95.low <= (found.mean if len(values) < 6 else found.p50) <= found.ci95.high


def test_a_machine_that_becomes_slower_shows_drift_by_its_whole_change() -> None:
    noise = lognormal(40, cv=0.02)
    assert drift([(1 + 0.2 * i / 39) * noise[i] for i in range(40)]) == pytest.approx(
        0.2 / 1.1, abs=0.03
    )
    assert drift([(1 - 0.2 * i / 39) * noise[i] for i in range(40)]) == pytest.approx(
        -0.2 / 0.9, abs=0.03
    )


def test_the_slope_of_drift_is_that_of_scipy() -> None:
    values = [1 + 0.05 * i + 0.01 * (-1) ** i for i in range(12)]
    slope = stats.theilslopes(values, range(12)).slope
    assert drift(values) == pytest.approx(slope * 11 / np.median(values))


@pytest.mark.parametrize("digits", [1, 6])
def test_the_rank_correlation_is_that_of_scipy_with_ties_and_without(digits) -> None:
    rng = np.random.default_rng(7)
    for n in (8, 20, 60):
        values = np.round(rng.normal(1, 0.1, n) + 0.01 * np.arange(n), digits).tolist()
        slopes = [values[j] - values[i] for i in range(n) for j in range(i + 1, n)]
        told = stats.kendalltau(range(n), values, method="asymptotic").pvalue
        assert rank_correlation_p_value(values, slopes) == pytest.approx(told)
    assert rank_correlation_p_value([1.0] * 8, [0.0] * 28) == 1.0


def test_a_few_outliers_are_no_drift_and_do_not_hide_one() -> None:
    steady = lognormal(30, cv=0.01)
    assert drift([*steady[:28], 5.0, 5.0]) is None
    rising = [1 + 0.01 * i for i in range(30)]
    rising[3] = rising[17] = 9.0
    assert drift(rising) == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [1.0 + 0.1 * i for i in range(7)],
        [1.0] * 20,
        [1 + 0.001 * i for i in range(20)],
        [-1.0 - i for i in range(20)],
        lognormal(50),
    ],
    ids=["none", "too few", "equal", "clear but small", "no positive median", "chance"],
)
def test_nothing_that_speaks_for_a_trend_is_no_drift(values) -> None:
    assert drift(values) is None


def test_steady_series_show_drift_in_less_than_one_of_a_hundred() -> None:
    rng = np.random.default_rng(7)
    found = sum(drift(rng.lognormal(0, 0.3, 12).tolist()) is not None for _ in range(1000))
    assert found <= 10 + 3 * math.sqrt(10)


def test_drift_of_very_many_runs_needs_no_table_of_all_pairs() -> None:
    noise = lognormal(5000, cv=0.05)
    rising = [(1 + 0.5 * i / 4999) * noise[i] for i in range(5000)]
    tracemalloc.start()
    found = drift(rising)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == pytest.approx(0.5 / 1.25, abs=0.03)
    assert most < 8 * 5000**2 / 2

"""Ratios of two series: against SciPy, and by properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from promptmill.domain.benchmarks import significance
from promptmill.domain.benchmarks.significance import (
    Comparison,
    Verdict,
    compare,
    geometric_mean,
    ratio_interval_rank,
)
from promptmill.domain.benchmarks.statistics import Estimand, Interval, Method

SECONDS = st.floats(1e-3, 1e4)
ROUNDED = st.integers(1, 9).map(float)
"""Values of which many are equal."""


def series(least: int = 1, most: int = 12):
    return st.one_of(
        st.lists(SECONDS, min_size=least, max_size=most),
        st.lists(ROUNDED, min_size=least, max_size=most),
    )


def runs(n: int, *, around: float = 1.0, cv: float = 0.1, seed: int = 1) -> list[float]:
    sigma = math.sqrt(math.log1p(cv**2))
    return (around * np.random.default_rng(seed).lognormal(0.0, sigma, n)).tolist()


def exact_p(base, target) -> float:
    return float(stats.mannwhitneyu(target, base, method="exact").pvalue)


@pytest.mark.parametrize(
    ("n", "m"), [(5, 5), (5, 9), (6, 6), (8, 20), (10, 10), (20, 20), (50, 7), (50, 50)]
)
def test_the_interval_holds_exactly_the_ratios_that_the_test_does_not_reject(n, m) -> None:
    base, target = runs(n, seed=n), runs(m, around=1.1, seed=m + 100)
    found = compare(base, target, lower_is_better=True).ci95
    near = 1e-9
    inside = np.geomspace(found.low * (1 + near), found.high * (1 - near), 25)
    for ratio in inside:
        assert exact_p(base, [value / ratio for value in target]) > 0.05
    for ratio in (found.low * (1 - near), found.high * (1 + near)):
        assert exact_p(base, [value / ratio for value in target]) <= 0.05


@pytest.mark.parametrize(("n", "m"), [(51, 51), (60, 20), (200, 100)])
def test_above_the_exact_ones_the_interval_inverts_the_normal_test(n, m) -> None:
    base, target = runs(n, seed=n), runs(m, around=1.1, seed=m + 100)
    found = compare(base, target, lower_is_better=True).ci95
    for ratio, rejected in [
        (found.low * (1 - 1e-9), True),
        (found.low * (1 + 1e-9), False),
        (found.high * (1 - 1e-9), False),
        (found.high * (1 + 1e-9), True),
    ]:
        shifted = [value / ratio for value in target]
        p_value = stats.mannwhitneyu(shifted, base, method="asymptotic").pvalue
        assert bool(p_value <= 0.05) is rejected


@pytest.mark.parametrize("n", [5, 6, 10, 20, 50])
def test_the_ranks_cover_at_least_95_percent_and_one_more_would_not(n) -> None:
    rank = ratio_interval_rank(n, n)
    assert p_value_of(rank - 1, n) <= 0.05 < p_value_of(rank, n)


def p_value_of(u: int, n: int) -> float:
    """Of two series of n values in which u pairs have the target above the base."""
    whole, rest = divmod(u, n)
    above = [n] * whole + [rest] + [0] * (n - whole - 1)
    return exact_p(range(n), [more - 0.5 + i / 1e4 for i, more in enumerate(above)])


@given(base=series(5), target=series(5))
def test_the_p_value_is_that_of_scipy(base, target) -> None:
    pooled = [*base, *target]
    exact = len({math.log(value) for value in pooled}) == len(pooled)
    found = compare(base, target, lower_is_better=True)
    if len(set(pooled)) == 1:
        assert found.p_value == 1.0
        return
    logs = [[math.log(value) for value in side] for side in (target, base)]
    expected = stats.mannwhitneyu(*logs, method="exact" if exact else "asymptotic").pvalue
    assert found.p_value == pytest.approx(expected, rel=1e-9)
    if exact:
        left_out = not found.ci95.low <= 1 <= found.ci95.high
        assert left_out is (found.p_value <= 0.05)


@pytest.mark.parametrize(("n", "m"), [(60, 60), (51, 5), (200, 300)])
def test_the_p_value_of_many_runs_is_that_of_scipy(n, m) -> None:
    base, target = runs(n, seed=3), runs(m, around=1.02, seed=4)
    found = compare(base, target, lower_is_better=True)
    expected = stats.mannwhitneyu(target, base, method="asymptotic").pvalue
    assert found.p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 3), (4, 4), (2, 9), (9, 3)])
def test_of_few_runs_it_is_welchs_test_on_logarithms(n, m) -> None:
    base, target = runs(n, seed=n), runs(m, around=1.3, seed=m + 100)
    found = compare(base, target, lower_is_better=True)
    expected = stats.ttest_ind(np.log(target), np.log(base), equal_var=False)
    bounds = np.exp(expected.confidence_interval(0.95))
    assert found.method == found.ci95.method == "welch_on_logs"
    assert found.ratio == pytest.approx(stats.gmean(target) / stats.gmean(base))
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.ci95.low, found.ci95.high) == pytest.approx(bounds, rel=1e-9)


@given(base=series(1), target=series(1), lower_is_better=st.booleans())
def test_the_other_way_round_the_ratio_is_the_inverse_and_the_verdict_the_opposite(
    base, target, lower_is_better
) -> None:
    there = compare(base, target, lower_is_better=lower_is_better)
    back = compare(target, base, lower_is_better=lower_is_better)
    opposite = {Verdict.FASTER: Verdict.SLOWER, Verdict.SLOWER: Verdict.FASTER}
    assert back.verdict == opposite.get(there.verdict, there.verdict)
    assert back.ratio == pytest.approx(1 / there.ratio, rel=1e-9)
    assert back.method == there.method
    if there.ci95 is not None:
        assert back.p_value == pytest.approx(there.p_value, rel=1e-9)
        bounds = (1 / there.ci95.high, 1 / there.ci95.low)
        assert (back.ci95.low, back.ci95.high) == pytest.approx(bounds, rel=1e-9)


@given(base=series(2), target=series(2))
def test_the_interval_holds_the_ratio(base, target) -> None:
    found = compare(base, target, lower_is_better=True)
    assert found.ci95.low <= found.ratio * (1 + 1e-12)
    assert found.ratio <= found.ci95.high * (1 + 1e-12)
    assert found.ci95.of is Estimand.RATIO


@given(base=series(1), target=series(1), rng=st.randoms(use_true_random=False))
def test_the_order_of_the_runs_changes_nothing(base, target, rng) -> None:
    before = compare(base, target, lower_is_better=True)
    shuffled = [rng.sample(side, len(side)) for side in (base, target)]
    assert compare(*shuffled, lower_is_better=True) == before


@given(base=series(5), target=series(5), factor=st.sampled_from([0.001, 2.0, 1000.0]))
def test_the_unit_of_both_sides_does_not_matter(base, target, factor) -> None:
    before = compare(base, target, lower_is_better=True)
    scaled = [[value * factor for value in side] for side in (base, target)]
    assert compare(*scaled, lower_is_better=True).ratio == pytest.approx(before.ratio, rel=1e-9)


@given(values=series(2))
def test_a_series_does_not_differ_from_itself(values) -> None:
    found = compare(values, values, lower_is_better=True)
    assert found.ratio == pytest.approx(1.0, rel=1e-12)
    assert found.verdict is Verdict.NO_SIGNIFICANT_DIFFERENCE
    assert found.p_value == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("ratio", "lower_is_better", "verdict"),
    [
        (1.5, True, Verdict.SLOWER),
        (1.5, False, Verdict.FASTER),
        (0.5, True, Verdict.FASTER),
        (0.5, False, Verdict.SLOWER),
        (1.0, True, Verdict.NO_SIGNIFICANT_DIFFERENCE),
    ],
)
@pytest.mark.parametrize("n", [4, 10, 100])
def test_whether_more_is_better_decides_between_faster_and_slower(
    n, ratio, lower_is_better, verdict
) -> None:
    base, target = runs(n, cv=0.02), runs(n, around=ratio, cv=0.02, seed=2)
    assert compare(base, target, lower_is_better=lower_is_better).verdict is verdict


def test_five_runs_without_spread_tell_a_difference_from_none() -> None:
    slower = compare([1.0] * 5, [2.0] * 5, lower_is_better=True)
    assert (slower.ci95.low, slower.ratio, slower.ci95.high) == pytest.approx((2.0, 2.0, 2.0))
    assert slower.p_value < 0.01
    assert slower.verdict is Verdict.SLOWER
    equal = compare([0.3] * 5, [0.3] * 7, lower_is_better=True)
    assert (equal.ci95.low, equal.ratio, equal.ci95.high, equal.p_value) == (1.0, 1.0, 1.0, 1.0)
    assert equal.verdict is Verdict.NO_SIGNIFICANT_DIFFERENCE


@given(value=SECONDS, n=st.integers(2, 4), m=st.integers(2, 9))
def test_few_runs_without_spread_that_are_equal_do_not_differ(value, n, m) -> None:
    assert compare([value] * n, [value] * m, lower_is_better=True) == Comparison(
        ratio=1.0,
        ci95=Interval(low=1.0, high=1.0, of=Estimand.RATIO, method=Method.WELCH_ON_LOGS),
        method=Method.WELCH_ON_LOGS,
        p_value=1.0,
        n_base=n,
        n_target=m,
        verdict=Verdict.NO_SIGNIFICANT_DIFFERENCE,
    )


def test_few_runs_without_spread_that_differ_do() -> None:
    found = compare([1.0, 1.0], [1.5, 1.5, 1.5], lower_is_better=True)
    assert found.p_value == 0.0
    assert found.ci95.low == found.ci95.high == found.ratio == pytest.approx(1.5)
    assert found.verdict is Verdict.SLOWER


def test_a_single_run_on_a_side_gives_a_ratio_and_nothing_more() -> None:
    assert compare([2.0], [3.0], lower_is_better=True) == Comparison(
        ratio=pytest.approx(1.5),
        ci95=None,
        method=Method.RATIO_OF_SINGLE_RUNS,
        p_value=None,
        n_base=1,
        n_target=1,
        verdict=Verdict.INSUFFICIENT_DATA,
    )
    assert compare([2.0, 1.0, 9.0], [3.0], lower_is_better=True).ratio == pytest.approx(1.5)


@pytest.mark.parametrize(("base", "target"), [([], []), ([], [1.0] * 9), ([1.0], [])])
def test_no_run_on_a_side_gives_nothing(base, target) -> None:
    assert compare(base, target, lower_is_better=True) == Comparison(
        ratio=None,
        ci95=None,
        method=None,
        p_value=None,
        n_base=len(base),
        n_target=len(target),
        verdict=Verdict.INSUFFICIENT_DATA,
    )


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.nan, math.inf])
def test_what_has_no_logarithm_is_refused(wrong) -> None:
    for sides in (([1.0, wrong], [1.0]), ([1.0], [wrong])):
        with pytest.raises(ValueError, match="not a finite number above 0"):
            compare(*sides, lower_is_better=True)
    with pytest.raises(ValueError, match="not a finite number above 0"):
        geometric_mean([1.0, wrong])


def test_a_bound_beyond_any_float_stays_finite() -> None:
    found = compare([1e-300, 1e300], [1e-300, 1e300], lower_is_better=True)
    assert found.verdict is Verdict.NO_SIGNIFICANT_DIFFERENCE
    assert math.isfinite(found.ci95.high)


def test_very_many_runs_give_the_ratios_that_all_pairs_give() -> None:
    base, target = runs(510), runs(500, around=1.05, seed=2)
    assert len(base) * len(target) > significance._MOST_PAIRS
    found = compare(base, target, lower_is_better=True)
    every = np.sort(np.divide.outer(target, base).ravel())
    rank = ratio_interval_rank(510, 500)
    assert found.ratio == pytest.approx(np.median(every), rel=1e-9)
    assert found.ci95.low == pytest.approx(every[rank - 1], rel=1e-9)
    assert found.ci95.high == pytest.approx(every[-rank], rel=1e-9)


def test_very_many_equal_runs_do_not_differ() -> None:
    base, target = [0.1, 0.1, 0.3] * 200, [0.1, 0.1, 0.7] * 200
    found = compare(base, target, lower_is_better=True)
    assert (found.ci95.low, found.ratio, found.ci95.high) == (1.0, 1.0, 1.0)
    assert found.verdict is Verdict.NO_SIGNIFICANT_DIFFERENCE
    one = compare([0.1] * 600, [0.1] * 600, lower_is_better=True)
    assert (one.ci95.low, one.ratio, one.ci95.high) == (1.0, 1.0, 1.0)


def test_the_geometric_mean_of_ratios_does_not_depend_on_the_baseline() -> None:
    assert geometric_mean([]) is None
    assert geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert geometric_mean([1.2, 1.5, 3.0]) == pytest.approx(stats.gmean([1.2, 1.5, 3.0]))
    assert geometric_mean([1 / 1.2, 1 / 1.5, 1 / 3.0]) == pytest.approx(
        1 / stats.gmean([1.2, 1.5, 3.0])
    )

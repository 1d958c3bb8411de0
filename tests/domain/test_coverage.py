"""The short form of `python -m tests.proof coverage`: intervals hold the truth as often as said."""

from __future__ import annotations

import math

import pytest

from tests.proof import coverage

REPETITIONS = 1500
CHANCE = 3 * 100 * math.sqrt(0.95 * 0.05 / REPETITIONS)
"""Three standard errors of a share of 95 %, in percent."""


@pytest.mark.parametrize("case", coverage.ratio_cases((5, 10)), ids=str)
def test_intervals_of_the_ratio_hold_it_in_95_of_100_series(case) -> None:
    ((_, covered),) = coverage.measured(
        coverage.ratios_covered, [case], lambda _: REPETITIONS, seed=1
    )
    assert coverage.LEAST - CHANCE <= covered <= coverage.MOST + CHANCE


@pytest.mark.parametrize("n", [6, 10, 20])
def test_intervals_of_the_median_hold_it_in_at_least_95_of_100_series(n) -> None:
    case = coverage.Case(n=n, spread=0.3, outliers=False)
    ((_, covered),) = coverage.measured(
        coverage.medians_covered, [case], lambda _: REPETITIONS, seed=1
    )
    assert covered >= 95 - CHANCE

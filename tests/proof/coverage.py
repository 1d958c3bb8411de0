"""How often the intervals of benchmarks hold the truth, on series whose truth is known.

    python -m tests.proof coverage [--seed 1] [--scale 1]

Run times are drawn from a lognormal distribution; in half of the cases one run in ten, on both
sides, takes three times as long. An interval covers when the true value is in it; a 95 % interval
should do so in 95 % of many repetitions. Intervals of ratios have to be within 93 and 97 %,
those of the median at 95 % or above. Told beside them and not judged: intervals that suppose a
normal distribution, series that are not alike, and the bootstrap, which is not used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from promptmill.domain.benchmarks.significance import compare
from promptmill.domain.benchmarks.statistics import mean_interval, median_interval

LEAST, MOST = 93.0, 97.0
SPREADS = (0.05, 0.30)
RATIOS = (1.0, 1.1)
REPETITIONS = {5: 100_000, 6: 20_000, 10: 20_000, 20: 20_000}
"""Most for five: what its ranks can cover is 96.8 %, near the border, and chance must not decide."""
OUTLIERS = 0.1
SLOWED = 3.0
RESAMPLES = 2000
"""Of one bootstrap."""


@dataclass(frozen=True)
class Case:
    """Series of `n` run times each, of which the truth is known."""

    n: int
    spread: float
    """The coefficient of variation, without the outliers."""
    outliers: bool
    ratio: float = 1.0

    @property
    def log_sd(self) -> float:
        return math.sqrt(math.log1p(self.spread**2))

    @property
    def mean(self) -> float:
        """The true mean; the median is 1 when there are no outliers."""
        slowed = 1 + OUTLIERS * (SLOWED - 1) if self.outliers else 1.0
        return slowed * math.exp(self.log_sd**2 / 2)

    def draw(self, rng: np.random.Generator, repetitions: int) -> np.ndarray:
        times = rng.lognormal(0.0, self.log_sd, (repetitions, self.n))
        if self.outliers:
            times[rng.random(times.shape) < OUTLIERS] *= SLOWED
        return times


def ratio_cases(sizes: tuple[int, ...]) -> list[Case]:
    every = itertools.product(sizes, SPREADS, (False, True), RATIOS)
    return [Case(n=n, spread=cv, outliers=slow, ratio=ratio) for n, cv, slow, ratio in every]


def ratios_covered(case: Case, repetitions: int, rng: np.random.Generator) -> float:
    """How many percent of the intervals of `compare` hold the true ratio."""
    base = case.draw(rng, repetitions)
    return _ratios_held(base, case.draw(rng, repetitions) * case.ratio, case.ratio)


def one_sided_covered(case: Case, repetitions: int, rng: np.random.Generator) -> float:
    """The same, where the baseline has no outliers: the two distributions differ in shape."""
    base = replace(case, outliers=False).draw(rng, repetitions)
    return _ratios_held(base, case.draw(rng, repetitions) * case.ratio, case.ratio)


def _ratios_held(base: np.ndarray, target: np.ndarray, ratio: float) -> float:
    held = 0
    for before, after in zip(base.tolist(), target.tolist(), strict=True):
        ci95 = compare(before, after, lower_is_better=True).ci95
        held += ci95.low <= ratio <= ci95.high
    return 100 * held / len(base)


def medians_covered(case: Case, repetitions: int, rng: np.random.Generator) -> float:
    intervals = (median_interval(times) for times in case.draw(rng, repetitions).tolist())
    return 100 * sum(ci95.low <= 1 <= ci95.high for ci95 in intervals) / repetitions


def means_covered(case: Case, repetitions: int, rng: np.random.Generator) -> float:
    intervals = (mean_interval(times) for times in case.draw(rng, repetitions).tolist())
    return 100 * sum(ci95.low <= case.mean <= ci95.high for ci95 in intervals) / repetitions


def bootstraps_covered(case: Case, repetitions: int, rng: np.random.Generator) -> float:
    """The percentile bootstrap of the mean."""
    held = 0
    for times in case.draw(rng, repetitions):
        means = times[rng.integers(0, case.n, (RESAMPLES, case.n))].mean(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        held += bool(low <= case.mean <= high)
    return 100 * held / repetitions


Measure = Callable[[Case, int, np.random.Generator], float]


def measured(
    measure: Measure, cases: list[Case], repetitions: Callable[[int], int], *, seed: int
) -> Iterator[tuple[Case, float]]:
    """Each case with random numbers of its own, so that one more changes none of the others."""
    for case in cases:
        place = (case.n, round(case.spread * 1000), case.outliers, round(case.ratio * 1000))
        rng = np.random.default_rng([seed, *map(int, place)])
        yield case, measure(case, repetitions(case.n), rng)


def main(*, seed: int, scale: float = 1.0) -> None:
    print("intervals of the ratio, by ranks (n a side)")
    print("  n | spread | outliers | true ratio | covered")
    ratios = []
    cases = ratio_cases(tuple(REPETITIONS))
    for case, covered in measured(
        ratios_covered, cases, lambda n: round(REPETITIONS[n] * scale), seed=seed
    ):
        print(f" {_named(case)} | {case.ratio:10.1f} | {covered:5.1f} %", flush=True)
        ratios.append(covered)
    medians = _rest(
        "intervals of the median, by order statistics",
        medians_covered,
        [Case(n=n, spread=cv, outliers=False) for n in (6, 10, 20) for cv in SPREADS],
        seed=seed,
        repetitions=round(20_000 * scale),
    )
    for title, measure, sizes in (
        (
            "not judged: ratios by ranks, outliers in the target only",
            one_sided_covered,
            (5, 10, 20),
        ),
        ("not judged: intervals of the ratio, Welch on logarithms", ratios_covered, (2, 3, 4)),
        ("not judged: intervals of the mean, Student's t", means_covered, (2, 3, 5)),
        ("not judged, not used: bootstrap of the mean", bootstraps_covered, (3, 5, 10)),
    ):
        slowed = (True,) if measure is one_sided_covered else (False, True)
        cases = [Case(n=n, spread=0.3, outliers=slow) for n in sizes for slow in slowed]
        _rest(title, measure, cases, seed=seed, repetitions=round(4000 * scale))
    print(f"\nratios: {min(ratios):.1f} to {max(ratios):.1f} %, wanted {LEAST:.0f} to {MOST:.0f} %")
    print(f"medians: {min(medians):.1f} to {max(medians):.1f} %, wanted 95 % or more")
    assert min(ratios) >= LEAST, "an interval of the ratio covers too little"
    assert max(ratios) <= MOST, "an interval of the ratio covers too much"
    assert min(medians) >= 95, "an interval of the median covers too little"


def _rest(
    title: str, measure: Measure, cases: list[Case], *, seed: int, repetitions: int
) -> list[float]:
    print(f"\n{title}\n  n | spread | outliers | covered")
    found = []
    for case, covered in measured(measure, cases, lambda _: repetitions, seed=seed):
        print(f" {_named(case)} | {covered:5.1f} %", flush=True)
        found.append(covered)
    return found


def _named(case: Case) -> str:
    return f"{case.n:2} | {case.spread:6.0%} | {'1 in 10' if case.outliers else 'none':8}"

"""Input of a report: a benchmark, its figures, its runs, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from promptmill.domain.benchmarks.comparison import BenchmarkComparison, ComparedMeasure
from promptmill.domain.benchmarks.records import Benchmark, BenchmarkRun
from promptmill.domain.benchmarks.summary import LevelSummary, ModelResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """Data of a report; nothing else is read while it is made."""

    benchmark: Benchmark
    results: Mapping[str, ModelResult]
    """Figures by model; models without any may be missing."""
    runs: Sequence[BenchmarkRun]
    """Runs in any order; their responses are not needed."""
    comparison: BenchmarkComparison | None = None
    """Comparison of this benchmark, the target, with its baseline; None without one."""
    model_comparison: Sequence[ComparedMeasure] = ()
    """Comparison of each further model with the first."""

    @property
    def models(self) -> Sequence[str]:
        """Models, in the order of the request."""
        return self.benchmark.draft.models

    def levels(self) -> Iterator[tuple[ModelResult, LevelSummary]]:
        """Yield each measured model, prompt and level, model by model."""
        for model in self.models:
            if model in self.results:
                for level in self.results[model].levels:
                    yield self.results[model], level

    def runs_in_order(self) -> list[BenchmarkRun]:
        """Runs in the order of their making."""
        return sorted(self.runs, key=lambda run: (run.session, run.scheduled_s, run.step))

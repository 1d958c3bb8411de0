"""What a report is made of: a benchmark, its figures, its runs, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from promptmill.domain.benchmarks.comparison import BenchmarkComparison, ComparedMeasure
from promptmill.domain.benchmarks.records import Benchmark, BenchmarkRun
from promptmill.domain.benchmarks.summary import LevelSummary, ModelResult


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInput:
    """All that a report tells; nothing else is read while it is made."""

    benchmark: Benchmark
    results: Mapping[str, ModelResult]
    """By model. A model of which nothing is known yet may be absent."""
    runs: Sequence[BenchmarkRun]
    """Every run that there is, in any order; their responses are not needed."""
    comparison: BenchmarkComparison | None = None
    """Of this benchmark, the target, with its baseline; None: there is none."""
    model_comparison: Sequence[ComparedMeasure] = ()
    """Each further model of it beside the first."""

    @property
    def models(self) -> Sequence[str]:
        """The models, in the order in which they were asked for."""
        return self.benchmark.draft.models

    def levels(self) -> Iterator[tuple[ModelResult, LevelSummary]]:
        """Each model, prompt and level that was measured, model by model."""
        for model in self.models:
            if model in self.results:
                for level in self.results[model].levels:
                    yield self.results[model], level

    def runs_in_order(self) -> list[BenchmarkRun]:
        """The runs as they were made."""
        return sorted(self.runs, key=lambda run: (run.session, run.scheduled_s, run.step))

"""Sections of a report on comparisons, with a baseline or between the benchmark's models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from promptmill.domain.benchmarks.comparison import BenchmarkComparison, ComparedMeasure
from promptmill.reports.report_input import ReportInput
from promptmill.reports.tables import Cell, Column, Given, Section, Table, place
from promptmill.reports.wording import given, interval, number, p_value

METRICS: Final = {
    "latency_s": "latency",
    "ttft_s": "TTFT",
    "tpot_s": "time per output token",
    "decode_tokens_per_sec": "decode rate",
    "prefill_tokens_per_sec": "prefill rate",
}
READING: Final = (
    (
        "ratio",
        "This one over the baseline: 1.10 is a tenth more. Of times less is better, of rates more.",
    ),
    ("p", "How often chance alone would show two equal series at least as different."),
    (
        "verdict",
        "Faster or slower only when the interval leaves out 1; below 2 runs there is none.",
    ),
)


def sections(report: ReportInput) -> Sequence[Section]:
    """Sections on the comparison with the baseline and on that of the models, possibly empty."""
    found: list[Section] = []
    if report.comparison is not None:
        found.append(Section("Compared with the baseline", list(_with_baseline(report.comparison))))
    ratios = _ratios("Each model over the first one", report.model_comparison)
    return [*found, Section("Models beside each other", [ratios])]


def told(measures: Sequence[ComparedMeasure]) -> list[ComparedMeasure]:
    """Measures with a value on at least one side."""
    return [each for each in measures if each.comparison.n_base or each.comparison.n_target]


def _with_baseline(comparison: BenchmarkComparison) -> Iterator[Table]:
    yield Table(
        "Baseline",
        [Column(""), Column("")],
        [["baseline", Given(comparison.baseline_id)], ["this one", Given(comparison.target_id)]],
    )
    yield _ratios("This one over the baseline", comparison.measures)
    yield Table(
        "Geometric mean of the ratios",
        [Column("measure"), Column("ratio", number=True)],
        [
            [METRICS.get(metric, metric), number(ratio)]
            for metric, ratio in comparison.geomean_ratio.items()
        ],
    )
    yield Table(
        "What else is not the same",
        [Column("what"), Column("baseline"), Column("this one")],
        [
            [Given(each.what), Given(given(each.base)), Given(given(each.target))]
            for each in comparison.differences
        ],
    )
    yield Table(
        "Not comparable",
        [Column("model"), Column("prompt"), Column("in flight", number=True), Column("why")],
        [
            [*place(each.model, each.prompt_index, each.concurrency), each.reason]
            for each in comparison.not_comparable
        ],
    )


def _ratios(title: str, measures: Sequence[ComparedMeasure]) -> Table:
    def row(each: ComparedMeasure) -> list[Cell]:
        found = each.comparison
        return [
            *place(each.model, each.prompt_index, each.concurrency),
            Given(each.baseline_model),
            METRICS.get(each.metric, each.metric),
            number(found.ratio),
            interval(found.ci95),
            p_value(found.p_value),
            f"{found.n_base} / {found.n_target}",
            found.verdict.value.replace("_", " "),
        ]

    return Table(
        title,
        [
            Column("model"),
            Column("prompt"),
            Column("in flight", number=True),
            Column("over"),
            Column("measure"),
            Column("ratio", number=True),
            Column("95 % interval", number=True),
            Column("p", number=True),
            Column("runs, base / this", number=True),
            Column("verdict"),
        ],
        [row(each) for each in told(measures)],
    )

"""Sections of a report with its figures: results, failures, cold loads, all measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from promptmill.domain.benchmarks.statistics import Distribution
from promptmill.domain.benchmarks.summary import LevelSummary, ModelResult
from promptmill.reports.report_input import ReportInput
from promptmill.reports.tables import Cell, Column, Given, Section, Table, flags_cell, place
from promptmill.reports.wording import MISSING, given, interval, number, percent

MOST_DETAILS: Final = 60
"""Most combinations of model, prompt and level with a table of all measures; CSV has all."""
MEASURE_NAMES: Final = {
    "latency_s": "latency, s",
    "ttft_s": "time to first token, s",
    "ttfo_s": "time to first answer text, s",
    "tpot_s": "time per output token, s",
    "decode_tokens_per_sec": "decode, tok/s",
    "prefill_tokens_per_sec": "prefill, tok/s",
    "e2e_tokens_per_sec": "end to end, tok/s",
    "chars_per_sec": "characters/s",
    "prompt_tokens": "prompt tokens",
    "output_tokens": "output tokens",
    "server_overhead_s": "server overhead, s",
}


def results(report: ReportInput) -> Sequence[Section]:
    """Sections on results, failures and cold loads."""
    return [
        Section("Results", [_models(report), _levels(report)]),
        Section("Failures", [_failures(report)]),
        Section("Cold load", [_cold_loads(report)]),
    ]


def details(report: ReportInput) -> Section:
    """Section with a table of every measure for each model, prompt and level."""
    return Section("All measures", list(_details(report)))


def _models(report: ReportInput) -> Table:
    def row(result: ModelResult) -> list[Cell]:
        return [
            Given(result.model),
            number(result.latency),
            number(result.tokens_per_sec),
            str(result.n_ok),
            str(result.n_failed),
            flags_cell(result.flags),
            Given(given(result.error)),
        ]

    return Table(
        "Each model over all prompts and levels",
        [
            Column("model"),
            Column("mean latency, s", number=True),
            Column("tok/s", number=True),
            Column("good runs", number=True),
            Column("failed", number=True),
            Column("flags"),
            Column("error"),
        ],
        [row(report.results[model]) for model in report.models if model in report.results],
    )


def _levels(report: ReportInput) -> Table:
    slo = report.benchmark.draft.slo is not None

    def row(model: str, level: LevelSummary) -> list[Cell]:
        latency = level.latency_s
        goodput: list[Cell] = [number(level.goodput_req_s), percent(level.good_request_fraction)]
        return [
            *place(model, level.prompt_index, level.concurrency),
            number(latency.mean),
            number(latency.p50),
            number(latency.p95),
            interval(latency.ci95),
            number(level.ttft_s.p50),
            number(level.decode_tokens_per_sec.p50),
            number(level.prefill_tokens_per_sec.p50),
            number(level.output_throughput_tok_s),
            number(level.request_throughput_req_s),
            *(goodput if slo else []),
            f"{level.n_failed} of {level.n_attempted}",
            flags_cell(level.flags),
        ]

    measured = (
        "latency mean, s",
        "latency p50, s",
        "latency p95, s",
        "latency 95 % interval, s",
        "TTFT p50, s",
        "decode p50, tok/s",
        "prefill p50, tok/s",
        "throughput, tok/s",
        "throughput, req/s",
        *(("goodput, req/s", "good requests") if slo else ()),
        "failed",
    )
    return Table(
        "Each model, prompt and level",
        [
            Column("model"),
            Column("prompt"),
            Column("in flight", number=True),
            *(Column(name, number=True) for name in measured),
            Column("flags"),
        ],
        [row(result.model, level) for result, level in report.levels()],
    )


def _failures(report: ReportInput) -> Table:
    groups: dict[tuple[Any, ...], list[str]] = {}
    for run in report.runs_in_order():
        if not run.succeeded:
            key = (run.model, run.prompt_index, run.concurrency, run.phase, run.error_code)
            groups.setdefault(key, []).append(run.error or "")
    return Table(
        "Runs that failed",
        [
            Column("model"),
            Column("prompt"),
            Column("in flight", number=True),
            Column("phase"),
            Column("error code"),
            Column("runs", number=True),
            Column("the first of them"),
        ],
        [
            [
                *place(model, prompt_index, concurrency),
                Given(phase.value),
                Given(given(code)),
                str(len(errors)),
                Given(errors[0] or MISSING),
            ]
            for (model, prompt_index, concurrency, phase, code), errors in groups.items()
        ],
    )


def _cold_loads(report: ReportInput) -> Table:
    found = [report.results[model] for model in report.models if model in report.results]
    return Table(
        "The first answer of each model after it was unloaded; it counts for nothing else",
        [
            Column("model"),
            Column("load, s", number=True),
            Column("TTFT, s", number=True),
            Column("latency, s", number=True),
            Column("error"),
        ],
        [
            [
                Given(each.model),
                number(each.cold_load.load_s),
                number(each.cold_load.ttft_s),
                number(each.cold_load.latency_s),
                Given(given(each.cold_load.error)),
            ]
            for each in found
            if each.cold_load is not None
        ],
    )


def _details(report: ReportInput) -> Iterator[Table]:
    statistics = ("n", "mean", "stddev", "cv", "min", "p50", "p90", "p95", "p99", "max")

    def row(name: str, found: Distribution) -> list[Cell]:
        of = f" ({found.ci95.of})" if found.ci95 else ""
        values = [number(getattr(found, statistic)) for statistic in statistics]
        return [name, *values, f"{interval(found.ci95)}{of}"]

    places = list(report.levels())
    for result, level in places[:MOST_DETAILS]:
        yield Table(
            f"Prompt {level.prompt_index}, {level.concurrency} in flight:",
            [
                Column("measure"),
                *(Column(name, number=True) for name in statistics),
                Column("95 % interval", number=True),
            ],
            [row(title, getattr(level, name)) for name, title in MEASURE_NAMES.items()],
            of=Given(result.model),
            folded=True,
        )
    if len(places) > MOST_DETAILS:
        rest = len(places) - MOST_DETAILS
        yield Table(
            "Left out",
            [Column(""), Column("")],
            [["more tables", f"{rest}; the CSV report has their figures"]],
        )

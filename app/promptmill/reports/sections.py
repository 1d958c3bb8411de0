"""Readable part of a report as sections of tables, before it is Markdown or HTML.

Cells hold texts unescaped. `Given` marks texts of a user, a model or a host, which each writer
shows literally and never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from promptmill.domain.benchmarks.records import Flag
from promptmill.reports import about, comparisons, figures
from promptmill.reports.report_input import ReportInput
from promptmill.reports.tables import Cell, Column, Given, Section, Table
from promptmill.reports.wording import FLAG_TEXTS, MISSING, MISSING_TEXT, one_line

_READING: Final = (
    ("latency", "From the scheduled start of a run to the end of its answer."),
    ("TTFT", "Time to the first token: from the scheduled start to the first text, thinking too."),
    ("decode", "Tokens of the answer over the time in which Ollama made them."),
    ("prefill", "Tokens of the prompt that were not cached over the time of their evaluation."),
    ("throughput", "Tokens, or requests, of all answers over the time of the level as a whole."),
    (
        "95 % interval",
        "How sure the centre is: the median from 6 runs on, the mean from 2 to 5.",
    ),
)


def sections(report: ReportInput) -> Sequence[Section]:
    """Sections of a report in their order, without empty ones."""
    candidates = [
        *about.sections(report),
        *figures.results(report),
        *comparisons.sections(report),
        figures.details(report),
        Section("How to read it", [_legend(report)]),
    ]
    kept = (
        Section(each.title, [table for table in each.tables if table.rows]) for each in candidates
    )
    return [each for each in kept if each.tables]


def title(report: ReportInput) -> str:
    """Title of the report: the label, or the id."""
    return one_line(report.benchmark.draft.label or report.benchmark.id, 120)


def _legend(report: ReportInput) -> Table:
    found = {flag for result in report.results.values() for flag in result.flags}
    found |= {flag for _, level in report.levels() for flag in level.flags}
    rows: list[tuple[Cell, Cell]] = [
        *((Given(flag.value), FLAG_TEXTS[flag]) for flag in Flag if flag in found),
        *_READING,
    ]
    if report.benchmark.draft.slo is not None:
        rows.append(("goodput", "Requests per second that kept every wish of the service level."))
    if report.comparison is not None or report.model_comparison:
        rows += comparisons.READING
    rows.append((Given(MISSING), MISSING_TEXT))
    return Table("Flags and words", [Column("word"), Column("what it says")], rows)

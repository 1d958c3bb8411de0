"""The figures as CSV (RFC 4180): a row for each model, prompt and level, all in flat columns.

Missing is an empty cell. This file is for spreadsheets, so a text that begins like a formula (with
`=`, `+`, `-`, `@`, a tab or a line break) gets an apostrophe in front, which spreadsheets take for
"this is a text". The CSV of a batch's results leaves texts as they are: it is for programs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from promptmill.domain.benchmarks.records import Benchmark, Flag
from promptmill.domain.benchmarks.statistics import Distribution
from promptmill.domain.benchmarks.summary import MEASURES, NO_ENVIRONMENT, LevelSummary, ModelResult
from promptmill.reports.report_input import ReportInput
from promptmill.reports.wording import one_line

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_STATISTICS: Final = ("n", "mean", "stddev", "cv", "min", "p50", "p90", "p95", "p99", "max")
_OF_LEVEL: Final = (
    "window_s",
    "output_throughput_tok_s",
    "request_throughput_req_s",
    "goodput_req_s",
    "good_request_fraction",
    "effective_parallelism",
)
_PARTS: Final = ("load_s", "queue_s", "prefill_s", "decode_s")
_OF_MODEL: Final = (
    "model_digest",
    "family",
    "parameter_size",
    "quantization_level",
    "context_length",
    "size",
    "size_vram",
    "gpu_offload_share",
)


def write(report: ReportInput) -> str:
    """Write the header and the rows; a model without figures has a row with its error."""
    rows = [
        {name: _cell(value) for name, value in _cells(report.benchmark, *place)}
        for place in _places(report)
    ]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _places(
    report: ReportInput,
) -> Iterator[tuple[str, ModelResult | None, LevelSummary | None]]:
    for model in report.models:
        result = report.results.get(model)
        levels = result.levels if result else ()
        for level in levels or [None]:
            yield model, result, level


def _cells(
    benchmark: Benchmark, model: str, result: ModelResult | None, level: LevelSummary | None
) -> Iterator[tuple[str, object]]:
    """Yield every column with its value, in a fixed order."""
    draft = benchmark.draft
    yield "benchmark_id", benchmark.id
    yield "label", _text(draft.label)
    yield "model", _text(model)
    yield "prompt_index", level and level.prompt_index
    yield "prompt", _text(one_line(draft.prompts[level.prompt_index])) if level else None
    yield "concurrency", level and level.concurrency
    yield "workload_hash", level and level.workload_hash
    for name in ("n_attempted", "n_ok", "n_failed"):
        yield name, getattr(level, name, None)
    yield "errors", _errors(level)
    yield "flags", _flags(result, level)
    yield "error", _text(one_line(result.error)) if result and result.error else None
    yield "error_code", result and result.error_code
    for name in MEASURES:
        yield from _distribution(name, getattr(level, name, None))
    for name in _PARTS:
        yield f"mean_{name}", level and getattr(level.latency_parts, name)
    for name in _OF_LEVEL:
        yield name, getattr(level, name, None)
    cold = result.cold_load if result else None
    for name in ("load_s", "ttft_s", "latency_s"):
        yield f"cold_{name}", getattr(cold, name, None)
    yield "ollama_version", _text(benchmark.environment.ollama_version)
    yield "service_version", _text(benchmark.environment.service_version)
    environment = benchmark.environment.models.get(model, NO_ENVIRONMENT)
    for name in _OF_MODEL:
        found: object = getattr(environment, name)
        yield name, _text(found) if isinstance(found, str) else found


def _distribution(name: str, found: Distribution | None) -> Iterator[tuple[str, object]]:
    for statistic in _STATISTICS:
        yield f"{name}_{statistic}", getattr(found, statistic, None)
    ci95 = found.ci95 if found else None
    for bound in ("low", "high", "of", "method"):
        yield f"{name}_ci95_{bound}", getattr(ci95, bound, None)


def _errors(level: LevelSummary | None) -> str | None:
    if level is None:
        return None
    return " ".join(f"{code}={count}" for code, count in sorted(level.errors.items()))


def _flags(result: ModelResult | None, level: LevelSummary | None) -> str:
    """Flags of the level, and those of the model as a whole."""
    of_levels = {flag for each in result.levels for flag in each.flags} if result else set[Flag]()
    found = set(level.flags) if level else set[Flag]()
    if result:
        found |= set(result.flags) - of_levels
    return " ".join(flag for flag in Flag if flag in found)


def _text(value: str | None) -> str | None:
    return f"'{value}" if value is not None and value.startswith(_FORMULA) else value


def _cell(value: object) -> object:
    # What follows the ninth digit is the machine's, not the measurement's.
    return f"{value:.9g}" if isinstance(value, float) else value

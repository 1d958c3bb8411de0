"""Figures of a benchmark as tables for terminals, wide or narrow, with or without colours.

Names and errors are untrusted: they go into `Text`, never into markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from promptmill.display.texts import one_line

if TYPE_CHECKING:
    from promptmill.client import (
        Benchmark,
        BenchmarkComparison,
        BenchmarkLevel,
        BenchmarkResult,
        ComparedMeasure,
        Distribution,
    )

MISSING: Final = "-"
"""Sign for a missing value; never 0."""
FLAG_TEXTS: Final[Mapping[str, str]] = {
    "no_done": "an answer broke off before its end; the run failed",
    "too_few_tokens": "an answer of fewer than 16 tokens; left out of rates",
    "model_reloaded": "the model was loaded within a run; left out of times and rates",
    "prefix_cache_hit": "Ollama had the beginning of a prompt in its cache",
    "cache_unknown": "not known how much of a prompt was cached: no prefill rate",
    "prompt_truncated": "Ollama cut a prompt to its window without saying so",
    "impossible_rate": "the host told a rate that no machine reaches; left out of rates",
    "short_output": "an answer ended before half of num_predict",
    "partial_offload": "a part of the model runs on the processor",
    "server_serialised": "the host worked on one request at a time",
    "drift": "values rose or fell over the order of the runs",
    "high_variance": "the latencies vary by more than 10 %",
    "too_few_runs": "fewer than five good runs",
    "version_changed": "Ollama's version or the model changed meanwhile",
    "remote_model": "the host passed the calls on to another server",
}
"""Explanation of each flag for new readers."""
METRICS: Final[Mapping[str, str]] = {
    "latency_s": "latency",
    "ttft_s": "TTFT",
    "tpot_s": "time per token",
    "decode_tokens_per_sec": "decode rate",
    "prefill_tokens_per_sec": "prefill rate",
}
_TEXT_COLUMNS: Final = frozenset(
    {"flags", "verdict", "error", "measure", "why", "baseline", "this one"}
)
"""Columns whose words may be wrapped; numbers may not."""
_VERDICT_STYLES: Final = {"slower": "bold red", "faster": "green"}
_DIGITS: Final = 3
_MOST_DECIMALS: Final = 6
_LONGEST_NAME: Final = 60
_LONGEST_VALUE: Final = 24
_LONGEST_TEXT: Final = 200


@dataclass(frozen=True, slots=True)
class Figures:
    """Table before its layout for a terminal's width.

    The first `leading` cells of a row identify it.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str | Text]]
    leading: int = 1


def shown(figures: Figures, width: int) -> RenderableType:
    """Table if it fits into that many columns, else a paragraph for each row."""
    if _needed_width(figures) > width:
        return _paragraphs(figures)
    table = Table(title=Text(figures.title, style="bold"), title_justify="left")
    for place, head in enumerate(figures.heads):
        is_text = _is_text(place, head)
        table.add_column(
            head, justify="left" if is_text else "right", overflow="fold", no_wrap=not is_text
        )
    for row in figures.rows:
        table.add_row(*row)
    return table


def _is_text(place: int, head: str) -> bool:
    return place == 0 or head in _TEXT_COLUMNS


def _needed_width(figures: Figures) -> int:
    """Columns of a terminal in which no number and no word is split."""
    needed = 1
    for place, cells in enumerate(zip(figures.heads, *figures.rows, strict=True)):
        parts = [
            part
            for cell in cells
            for part in (
                str(cell).split() if _is_text(place, figures.heads[place]) else _lines(cell)
            )
        ]
        needed += 3 + max(map(cell_len, parts), default=0)
    return needed


def _lines(cell: str | Text) -> list[str]:
    return str(cell).splitlines()


def _paragraphs(figures: Figures) -> RenderableType:
    parts: list[RenderableType] = [Text(figures.title, style="bold")]
    heads = [head.replace("\n", " ") for head in figures.heads]
    for row in figures.rows:
        pairs = [
            Text(f"{head}: ").append_text(_text(cell))
            for head, cell in zip(heads, row, strict=True)
        ]
        parts.append(Text("; ", style="bold").join(pairs[: figures.leading]))
        parts.append(Padding(Text("; ").join(pairs[figures.leading :]), (0, 0, 0, 2)))
    return Group(*parts)


def _text(cell: str | Text) -> Text:
    return Text(cell) if isinstance(cell, str) else cell


def results_of(benchmark: Benchmark) -> Iterator[Figures]:
    """Tables of the figures: each model, prompt and level, and the cold loads."""
    results = [benchmark.results[name] for name in benchmark.models if name in benchmark.results]
    has_prompts = len(benchmark.prompts) > 1
    has_slo = benchmark.slo is not None
    rows = [
        _level_row(result, level, has_prompts=has_prompts, has_slo=has_slo)
        for result in results
        for level in result.levels
    ]
    if rows:
        yield Figures(
            "Results",
            [
                *_place_heads(has_prompts=has_prompts),
                "latency\n± sd, s",
                "p50, s",
                "p95, s",
                "TTFT\np50, s",
                "decode\ntok/s",
                "throughput\ntok/s",
                *(["good\nreq/s"] if has_slo else []),
                "ok",
                "flags",
            ],
            rows,
            leading=3 if has_prompts else 2,
        )
    cold = [
        [
            _name(result.model),
            number(result.cold_load.load_s),
            number(result.cold_load.ttft_s),
            number(result.cold_load.latency_s),
            Text(one_line(result.cold_load.error, _LONGEST_TEXT) or MISSING),
        ]
        for result in results
        if result.cold_load is not None
    ]
    if cold:
        yield Figures("Cold load", ["model", "load, s", "TTFT, s", "latency, s", "error"], cold)


def _place_heads(*, has_prompts: bool) -> list[str]:
    return ["model", *(["prompt"] if has_prompts else []), "in\nflight"]


def _level_row(
    result: BenchmarkResult, level: BenchmarkLevel, *, has_prompts: bool, has_slo: bool
) -> list[str | Text]:
    return [
        _name(result.model),
        *([str(level.prompt_index)] if has_prompts else []),
        str(level.concurrency),
        _mean_and_spread(level.latency_s),
        number(level.latency_s.p50),
        number(level.latency_s.p95),
        number(level.ttft_s.p50),
        number(level.decode_tokens_per_sec.mean),
        number(level.output_throughput_tok_s),
        *([number(level.goodput_req_s)] if has_slo else []),
        _ok(level.n_ok, level.n_attempted),
        Text(", ".join(_flag(flag) for flag in level.flags) or MISSING, style="yellow"),
    ]


def _mean_and_spread(found: Distribution) -> str:
    if found.mean is None or not found.stddev:
        return number(found.mean)
    # Enough decimals to show the spread as more than zero.
    decimals = max(_decimals(found.mean, _DIGITS), _decimals(found.stddev, 1))
    return f"{found.mean:.{decimals}f} ± {found.stddev:.{decimals}f}"


def _ok(good: int, attempted: int) -> Text:
    return Text(f"{good}/{attempted}", style="" if good == attempted else "bold red")


def failures_of(benchmark: Benchmark) -> Iterator[Text]:
    """Lines for each model with an error, and for each kind of failed runs."""
    for result in benchmark.results.values():
        codes: dict[str, int] = {}
        for level in result.levels:
            for code, amount in level.errors.items():
                codes[code] = codes.get(code, 0) + amount
        if result.error is not None:
            reason = f"{result.error_code or 'error'}: {result.error}"
        elif codes:
            reason = ", ".join(f"{amount} x {code}" for code, amount in codes.items())
        else:
            continue
        yield Text(f"{_name(result.model)}: {one_line(reason, 400)}", style="red")


def legend_of(benchmark: Benchmark) -> RenderableType | None:
    """Explanations of the prompts and flags shown."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    if len(benchmark.prompts) > 1:
        for index, prompt in enumerate(benchmark.prompts):
            grid.add_row(f"prompt {index}", Text(one_line(prompt, _LONGEST_NAME)))
    seen = {
        flag
        for result in benchmark.results.values()
        for flag in (*result.flags, *(flag for level in result.levels for flag in level.flags))
    }
    for flag in [*(flag for flag in FLAG_TEXTS if flag in seen), *sorted(seen - set(FLAG_TEXTS))]:
        grid.add_row(Text(_flag(flag)), FLAG_TEXTS.get(flag, MISSING))
    return grid if grid.row_count else None


def comparison_of(found: BenchmarkComparison) -> Iterator[Figures]:
    """Table of the benchmark over its baseline, without measures that have no value."""
    told = [each for each in found.comparisons if each.n_base or each.n_target]
    if told:
        yield Figures(
            f"Over the baseline {one_line(found.baseline_id, _LONGEST_NAME)}",
            [
                *_place_heads(has_prompts=True),
                "measure",
                "ratio",
                "95 % interval",
                "runs",
                "verdict",
            ],
            [_compared_row(each) for each in told],
            leading=3,
        )
    if found.not_comparable:
        yield Figures(
            "Not comparable",
            [*_place_heads(has_prompts=True), "why"],
            [
                [
                    _name(each.model),
                    str(each.prompt_index),
                    str(each.concurrency),
                    Text(one_line(each.reason, _LONGEST_TEXT)),
                ]
                for each in found.not_comparable
            ],
            leading=3,
        )
    if found.differences:
        yield Figures(
            "What else is not the same",
            ["what", "baseline", "this one"],
            [
                [
                    Text(one_line(each.what, _LONGEST_NAME)),
                    Text(one_line(str(each.base), _LONGEST_VALUE)),
                    Text(one_line(str(each.target), _LONGEST_VALUE)),
                ]
                for each in found.differences
            ],
        )


def _compared_row(each: ComparedMeasure) -> list[str | Text]:
    name = _name(each.model)
    if each.baseline_model != each.model:
        name.append_text(Text(" over ")).append_text(_name(each.baseline_model))
    interval = MISSING
    if each.ci95 is not None:
        interval = f"{_ratio(each.ci95.low)} to {_ratio(each.ci95.high)}"
    return [
        name,
        str(each.prompt_index),
        str(each.concurrency),
        METRICS.get(each.metric, each.metric),
        _ratio(each.ratio),
        interval,
        f"{each.n_base} / {each.n_target}",
        Text(
            one_line(each.verdict, _LONGEST_NAME).replace("_", " "),
            style=_VERDICT_STYLES.get(each.verdict, ""),
        ),
    ]


def models_side_by_side(benchmark: Benchmark) -> Figures | None:
    """Table of each model's means over those of the first, at the same prompts and levels."""
    found = [benchmark.results[name] for name in benchmark.models if name in benchmark.results]
    if not found:
        return None
    first, *others = found
    base = {(level.prompt_index, level.concurrency): level for level in first.levels}
    rows = [
        [
            _name(other.model),
            str(level.prompt_index),
            str(level.concurrency),
            _over(level.latency_s.mean, of_first.latency_s.mean),
            _over(level.ttft_s.mean, of_first.ttft_s.mean),
            _over(level.decode_tokens_per_sec.mean, of_first.decode_tokens_per_sec.mean),
            _over(level.output_throughput_tok_s, of_first.output_throughput_tok_s),
        ]
        for other in others
        for level in other.levels
        if (of_first := base.get((level.prompt_index, level.concurrency))) is not None
    ]
    heads = [*_place_heads(has_prompts=True), "latency", "TTFT", "decode rate", "throughput"]
    title = f"Means over those of {_name(first.model)}"
    return Figures(title, heads, rows, leading=3) if rows else None


def _over(value: float | None, base: float | None) -> str:
    return MISSING if value is None or not base else _ratio(value / base)


def number(value: float | None, digits: int = _DIGITS) -> str:
    """Format a value with that many significant digits."""
    if value is None:
        return MISSING
    return f"{value:.{_decimals(value, digits)}f}" if value else "0"


def _decimals(value: float, digits: int) -> int:
    """Decimal places that show that many significant digits of the value; at most 6."""
    return min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), _MOST_DECIMALS)


def _ratio(value: float | None) -> str:
    # Near 1 the third decimal matters.
    return number(value, 4)


def _name(model: str) -> Text:
    return Text(one_line(model, _LONGEST_NAME))


def _flag(name: str) -> str:
    return one_line(name, _LONGEST_NAME)


def print_all(console: Console, parts: Iterable[Figures]) -> None:
    """Print each table in the layout that fits the console's width."""
    for figures in parts:
        console.print(shown(figures, console.width))

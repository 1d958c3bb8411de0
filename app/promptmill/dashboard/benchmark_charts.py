"""Data of the charts of a benchmark and of a comparison."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from promptmill.dashboard import charts
from promptmill.dashboard.charts import Bar, Chart
from promptmill.dashboard.wording import one_line, precise, rate
from promptmill.domain.benchmarks.comparison import ComparedMeasure
from promptmill.domain.benchmarks.records import Flag
from promptmill.domain.benchmarks.significance import Verdict
from promptmill.domain.benchmarks.statistics import Distribution
from promptmill.domain.benchmarks.summary import LevelSummary, ModelResult
from promptmill.reports.wording import FLAG_TEXTS

_MOST_BARS: Final = 24
_LONGEST_NAME: Final = 40
_KINDS: Final = {Verdict.FASTER: "faster", Verdict.SLOWER: "slower"}


def of_levels(results: Mapping[str, ModelResult]) -> Sequence[Chart]:
    """Latency, time to the first token and throughput of each model, prompt and level."""
    levels = [(model, level) for model, found in results.items() for level in found.levels]
    many_prompts = len({level.prompt_index for _, level in levels}) > 1
    named = [(_name(model, level, with_prompt=many_prompts), level) for model, level in levels]
    drawn = [
        _times(
            "Latency (median or mean, with its 95 % interval)", named, lambda one: one.latency_s
        ),
        _times("Time to the first token", named, lambda one: one.ttft_s),
        charts.bars(
            "Throughput of a level, tokens per second",
            [
                Bar(name=name, value=level.output_throughput_tok_s)
                for name, level in named[:_MOST_BARS]
                if level.output_throughput_tok_s is not None
            ],
            words=rate,
            column="tokens/s",
        ),
        _scaling(results),
    ]
    return [chart for chart in drawn if chart is not None]


def _name(model: str, level: LevelSummary, *, with_prompt: bool) -> str:
    prompt = f", prompt {level.prompt_index}" if with_prompt else ""
    return f"{one_line(model, _LONGEST_NAME)}, {level.concurrency} in flight{prompt}"


def _times(
    title: str,
    named: Sequence[tuple[str, LevelSummary]],
    measure: Callable[[LevelSummary], Distribution],
) -> Chart | None:
    given: list[Bar] = []
    for name, level in named[:_MOST_BARS]:
        found = measure(level)
        centre = found.p50 if found.ci95 is not None and found.ci95.of == "median" else found.mean
        if centre is not None:
            low, high = (None, None) if found.ci95 is None else (found.ci95.low, found.ci95.high)
            given.append(Bar(name=name, value=centre, low=low, high=high, kind="s1"))
    return charts.bars(title, given, words=precise, column="seconds")


def _scaling(results: Mapping[str, ModelResult]) -> Chart | None:
    series: list[tuple[str, list[tuple[float, float]]]] = []
    for model, found in results.items():
        points = sorted(
            (float(level.concurrency), level.output_throughput_tok_s)
            for level in found.levels
            if level.output_throughput_tok_s is not None and level.prompt_index == 0
        )
        if len(points) > 1:
            series.append((one_line(model, _LONGEST_NAME), points))
    return charts.lines(
        "Throughput over requests in flight, tokens per second",
        series,
        x_words=lambda value: f"{value:g}",
        y_words=rate,
        names=("in flight", "tokens/s"),
    )


def flags_of(results: Mapping[str, ModelResult]) -> Sequence[tuple[Flag, str]]:
    """The flags that any level or model has, each with its meaning."""
    found = {flag for result in results.values() for flag in result.flags}
    found |= {
        flag for result in results.values() for level in result.levels for flag in level.flags
    }
    return [(flag, FLAG_TEXTS[flag]) for flag in Flag if flag in found]


def ratios(measures: Sequence[ComparedMeasure]) -> Chart | None:
    """The ratio of each measure to the baseline, with its interval."""
    given = [
        Bar(
            name=f"{each.metric.removesuffix('_s').replace('_', ' ')}, "
            f"{one_line(each.model, 24)} at {each.concurrency}",
            value=each.comparison.ratio,
            low=None if each.comparison.ci95 is None else each.comparison.ci95.low,
            high=None if each.comparison.ci95 is None else each.comparison.ci95.high,
            kind=_KINDS.get(each.comparison.verdict, "unclear"),
        )
        for each in measures[:_MOST_BARS]
        if each.comparison.ratio
    ]
    return charts.ratios(
        "How many times the baseline",
        given,
        note="Times: below 1 is faster. Rates (tokens per second): above 1 is faster.",
    )

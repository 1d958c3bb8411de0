"""Charts of a report's runs, as figures; empty charts are left out.

They are drawn from the same runs and figures as the tables: dots are the runs that count for the
distribution, failed runs are marked and never drawn as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from promptmill.domain.benchmarks.records import BenchmarkRun, Phase
from promptmill.domain.benchmarks.statistics import Distribution
from promptmill.domain.benchmarks.summary import LevelSummary, is_steady
from promptmill.reports.charts import ratio
from promptmill.reports.charts.drawing import (
    DASHES,
    GREY,
    MOST_DOTS,
    MOST_ROWS,
    PART_COLOURS,
    Chart,
    axis,
    centre,
    cut_note,
    error_bars,
    evenly,
    model_colour,
    model_symbol,
    place_label,
    rows_height,
    rows_layout,
    shown,
)
from promptmill.reports.charts.order import order_of_runs
from promptmill.reports.charts.svg import Figure, Trace
from promptmill.reports.report_input import ReportInput

_PARTS = {"load_s": "load", "queue_s": "queue", "prefill_s": "prefill", "decode_s": "decode"}
_GOLDEN = 0.618033988749895
_Place = tuple[str, int, int]


def charts(report: ReportInput) -> list[Chart]:
    """Build the charts for which the benchmark has data, in the order of the page."""
    makers: Sequence[Callable[[ReportInput], Chart | None]] = (
        single_runs,
        latency_parts,
        throughput,
        ttft,
        ecdf,
        order_of_runs,
        ratio.with_baseline,
        ratio.between_models,
    )
    return [chart for make in makers if (chart := make(report)) is not None]


def single_runs(report: ReportInput) -> Chart | None:
    """Draw a dot for each run, and the interval of each row."""
    by_place = _latencies(report)
    everything = [(result.model, level) for result, level in report.levels() if level.latency_s.n]
    rows = evenly(everything, MOST_ROWS)
    dots = [
        (row, model, value)
        for row, (model, level) in enumerate(rows)
        for value in by_place.get((model, level.prompt_index, level.concurrency), [])
    ]
    drawn = evenly(dots, MOST_DOTS)
    if not drawn:
        return None
    traces: list[Trace] = []
    for model in dict.fromkeys(model for model, _ in rows):
        mine = [(row, value) for row, of, value in drawn if of == model]
        levels = [(row, level) for row, (of, level) in enumerate(rows) if of == model]
        traces += [
            _dots(report, model, mine),
            _intervals(model, levels),
        ]
    labels = [_label(report, model, level) for model, level in rows]
    return Chart(
        name="single-runs",
        title="Latency of single runs",
        caption="Each dot is a run that counts, spread out in its row only to be seen. The bar is"
        " the 95 % interval of the median (of the mean below six runs), the line in it its centre."
        + cut_note(len(drawn), len(dots), "runs")
        + cut_note(len(rows), len(everything), "rows"),
        height=rows_height(len(rows)),
        figure=Figure(
            traces,
            rows_layout(axis("latency, s", rangemode="tozero"), labels),
        ),
    )


def _dots(report: ReportInput, model: str, found: Sequence[tuple[int, float]]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": shown(model),
        "legendgroup": model,
        "x": [value for _, value in found],
        # The golden ratio spreads any number of dots over the row, always the same way.
        "y": [row + (place * _GOLDEN % 1 - 0.5) * 0.5 for place, (row, _) in enumerate(found)],
        "marker": {
            "color": model_colour(report, model),
            "symbol": model_symbol(report, model),
            "size": 8,
            "opacity": 0.8,
        },
        "hovertemplate": "%{x:.4g} s<extra></extra>",
    }


def _intervals(model: str, found: Sequence[tuple[int, LevelSummary]]) -> Trace:
    latencies = [level.latency_s for _, level in found]
    return {
        "type": "scatter",
        "mode": "markers",
        "legendgroup": model,
        "showlegend": False,
        "x": [centre(each) for each in latencies],
        "y": [row for row, _ in found],
        "marker": {"symbol": "line-ns-open", "size": 22, "color": GREY, "line": {"width": 3}},
        "error_x": {**error_bars(latencies), "color": GREY, "thickness": 3, "width": 8},
        "hovertemplate": "centre %{x:.4g} s<extra></extra>",
    }


def latency_parts(report: ReportInput) -> Chart | None:
    """Draw the parts of the latency, as the host reports them."""
    everything = [
        (result.model, level)
        for result, level in report.levels()
        if any(getattr(level.latency_parts, part) is not None for part in _PARTS)
    ]
    rows = evenly(everything, MOST_ROWS)
    if not rows:
        return None
    traces: list[Trace] = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": [getattr(level.latency_parts, part) for _, level in rows],
            "y": list(range(len(rows))),
            "width": 0.5,
            "marker": {"color": colour, "line": {"color": GREY, "width": 1}},
            "hovertemplate": f"{name} %{{x:.4g}} s<extra></extra>",
        }
        for (part, name), colour in zip(_PARTS.items(), PART_COLOURS, strict=True)
    ]
    labels = [_label(report, model, level) for model, level in rows]
    return Chart(
        name="latency-parts",
        title="Where the latency goes",
        caption="Means of Ollama's own times: loading, waiting at the host, evaluating the prompt,"
        " making the answer. What the network and the client take is in none of them."
        + cut_note(len(rows), len(everything), "rows"),
        height=rows_height(len(rows)),
        figure=Figure(
            traces,
            {
                "barmode": "stack",
                **rows_layout(axis("mean time, s", rangemode="tozero"), labels),
            },
        ),
    )


def throughput(report: ReportInput) -> Chart | None:
    """Draw tokens per second of the whole level against requests in flight."""
    return _against_concurrency(
        report,
        name="throughput",
        title="Throughput against requests in flight",
        caption="Tokens of all answers over the time of the level. A host that works on several"
        " requests at a time rises; one that serialises stays flat.",
        unit="output throughput, tok/s",
        value=lambda level: level.output_throughput_tok_s,
    )


def ttft(report: ReportInput) -> Chart | None:
    """Draw the time to the first token against requests in flight."""
    return _against_concurrency(
        report,
        name="ttft",
        title="Time to the first token against requests in flight",
        caption="The median with its 95 % interval (of few runs the mean with its own). It rises"
        " where requests wait for a slot of the host.",
        unit="time to the first token, s",
        value=lambda level: centre(level.ttft_s),
        spread=lambda level: level.ttft_s,
    )


def _against_concurrency(
    report: ReportInput,
    *,
    name: str,
    title: str,
    caption: str,
    unit: str,
    value: Callable[[LevelSummary], float | None],
    spread: Callable[[LevelSummary], Distribution] | None = None,
) -> Chart | None:
    draft = report.benchmark.draft
    lines: dict[tuple[str, int], list[LevelSummary]] = {}
    for result, level in report.levels():
        if value(level) is not None:
            lines.setdefault((result.model, level.prompt_index), []).append(level)
    if len(draft.concurrency) == 1 or not lines:
        return None
    drawn = evenly(list(lines), MOST_ROWS)
    traces: list[Trace] = []
    for model, prompt_index in drawn:
        levels = sorted(lines[model, prompt_index], key=lambda level: level.concurrency)
        bars = {} if spread is None else {"error_y": error_bars([spread(each) for each in levels])}
        prompt = f", prompt {prompt_index}" if len(draft.prompts) > 1 else ""
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"{shown(model)}{prompt}",
                "x": [level.concurrency for level in levels],
                "y": [value(level) for level in levels],
                "line": {
                    "color": model_colour(report, model),
                    "dash": DASHES[prompt_index % len(DASHES)],
                },
                "marker": {"symbol": model_symbol(report, model), "size": 9},
                "hovertemplate": "%{x} in flight: %{y:.4g}<extra></extra>",
                **bars,
            }
        )
    ticks = sorted(draft.concurrency)
    x_axis = axis("requests in flight", type="log", tickvals=ticks, ticktext=list(map(str, ticks)))
    return Chart(
        name=name,
        title=title,
        caption=caption + cut_note(len(drawn), len(lines), "lines"),
        height=420,
        figure=Figure(traces, {"xaxis": x_axis, "yaxis": axis(unit, rangemode="tozero")}),
    )


def ecdf(report: ReportInput) -> Chart | None:
    """Draw the share of the runs that were done within a time."""
    everything = [(place, sorted(values)) for place, values in _latencies(report).items() if values]
    lines = evenly(everything, MOST_ROWS)
    if not lines:
        return None
    # Each line has one dot more than runs: it begins at 0.
    most = max(MOST_DOTS // len(lines) - 1, 2)
    draft = report.benchmark.draft
    traces: list[Trace] = []
    drawn = 0
    for (model, prompt_index, concurrency), values in lines:
        ranked = evenly(list(enumerate(values, 1)), most)
        drawn += len(ranked)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": place_label(draft, model, prompt_index, concurrency),
                "x": [values[0], *(value for _, value in ranked)],
                "y": [0, *(rank / len(values) for rank, _ in ranked)],
                "line": {
                    "shape": "hv",
                    "color": model_colour(report, model),
                    "dash": DASHES[draft.concurrency.index(concurrency) % len(DASHES)],
                    "width": 2.5,
                },
                "hovertemplate": "%{y:.0%} within %{x:.4g} s<extra></extra>",
            }
        )
    return Chart(
        name="ecdf",
        title="Share of the runs that were done within a time",
        caption="The empirical distribution of the latency: the further left, the faster; the"
        " steeper, the more alike the runs."
        + cut_note(drawn, sum(len(values) for _, values in lines), "runs")
        + cut_note(len(lines), len(everything), "lines"),
        height=440,
        figure=Figure(
            traces,
            {
                "xaxis": axis("latency, s", range=[0, 1.03 * max(v[-1] for _, v in lines)]),
                "yaxis": axis("share of the runs", tickformat=".0%", range=[0, 1.02]),
            },
        ),
    )


def _latencies(report: ReportInput) -> dict[_Place, list[float]]:
    """Latencies that count, of each model, prompt and level in the order of the page."""
    found: dict[_Place, list[float]] = {
        (result.model, level.prompt_index, level.concurrency): []
        for result, level in report.levels()
    }
    for run in report.runs_in_order():
        value = _counted(run)
        if value is not None:
            found.setdefault((run.model, run.prompt_index, run.concurrency), []).append(value)
    return found


def _counted(run: BenchmarkRun) -> float | None:
    return run.latency_s if run.phase is Phase.MEASURED and is_steady(run) else None


def _label(report: ReportInput, model: str, level: LevelSummary) -> str:
    return place_label(report.benchmark.draft, model, level.prompt_index, level.concurrency)

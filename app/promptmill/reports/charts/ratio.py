"""Charts of ratios around 1, of a comparison with a baseline or between models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from promptmill.domain.benchmarks.comparison import COMPARED, ComparedMeasure
from promptmill.domain.benchmarks.significance import Verdict
from promptmill.reports.charts.drawing import (
    GREY,
    MOST_ROWS,
    Chart,
    axis,
    cut_note,
    evenly,
    model_colour,
    model_symbol,
    rows_height,
    rows_layout,
    shown,
    within_model,
)
from promptmill.reports.charts.svg import Figure, Trace
from promptmill.reports.comparisons import METRICS
from promptmill.reports.report_input import ReportInput
from promptmill.reports.wording import one_line

_WIDEST: Final = 16.0
"""Largest ratio to which the axis extends, because an interval may be very wide."""
_TICKS: Final = (0.0625, 0.125, 0.25, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 4, 8, 16)
_WIDE_TICKS: Final = (0.0625, 0.125, 0.25, 0.5, 1, 2, 4, 8, 16)
_FINE_TICKS: Final = tuple(hundredths / 100 for hundredths in range(80, 126, 5))
_READING: Final = (
    " The bar is the 95 % interval: where it crosses 1, chance may have made the difference. Full"
    " marks are differences, empty ones may be none. ↓ less is better, ↑ more is better."
)


def with_baseline(report: ReportInput) -> Chart | None:
    """Draw the ratios of this benchmark over its baseline."""
    return _ratios(
        report,
        report.comparison.measures if report.comparison else (),
        name="ratios-baseline",
        title="Ratio to the baseline",
        caption="This benchmark over the baseline." + _READING,
    )


def between_models(report: ReportInput) -> Chart | None:
    """Draw the ratios of each further model over the first."""
    return _ratios(
        report,
        report.model_comparison,
        name="ratios-models",
        title="Ratio to the first model",
        caption=f"Each model over {one_line(report.models[0], 120)}." + _READING,
    )


def _ratios(
    report: ReportInput, measures: Sequence[ComparedMeasure], *, name: str, title: str, caption: str
) -> Chart | None:
    known = [each for each in measures if each.comparison.ratio is not None]
    rows = evenly(known, MOST_ROWS)
    if not rows:
        return None
    models = dict.fromkeys(each.model for each in rows)
    traces = [
        _trace(report, model, [(row, each) for row, each in enumerate(rows) if each.model == model])
        for model in models
    ]
    low, high = _span(rows)
    ticks = [tick for tick in _ticks(high / low) if low <= tick <= high]
    x_axis = axis(
        "ratio (1 is no difference)",
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
        tickangle=0,
    )
    return Chart(
        name=name,
        title=title,
        caption=caption + cut_note(len(rows), len(known), "ratios"),
        height=rows_height(len(rows)),
        figure=Figure(
            traces,
            {
                **rows_layout(x_axis, [_label(report, each) for each in rows]),
                "shapes": [_line_at_one()],
            },
        ),
    )


def _trace(report: ReportInput, model: str, rows: Sequence[tuple[int, ComparedMeasure]]) -> Trace:
    ratios = [each.comparison.ratio or math.nan for _, each in rows]
    intervals = [each.comparison.ci95 for _, each in rows]
    # An interval without bounds would be too large for JSON's readers; the axis ends long before.
    above = [
        min(ci95.high, ratio * _WIDEST**2) - ratio if ci95 else 0
        for ratio, ci95 in zip(ratios, intervals, strict=True)
    ]
    below = [ratio - ci95.low if ci95 else 0 for ratio, ci95 in zip(ratios, intervals, strict=True)]
    symbol = model_symbol(report, model)
    certain = {Verdict.FASTER, Verdict.SLOWER}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": shown(model),
        "showlegend": True,
        "x": ratios,
        "y": [row for row, _ in rows],
        "text": [each.comparison.verdict.value.replace("_", " ") for _, each in rows],
        "marker": {
            "color": model_colour(report, model),
            "symbol": [
                symbol if each.comparison.verdict in certain else f"{symbol}-open"
                for _, each in rows
            ],
            "size": 11,
            "line": {"width": 2, "color": model_colour(report, model)},
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "color": model_colour(report, model),
            "thickness": 2,
        },
        "hovertemplate": "%{x:.4g}: %{text}<extra></extra>",
    }


def _span(rows: Sequence[ComparedMeasure]) -> tuple[float, float]:
    """Range of the axis: all that is drawn, and 1, with a margin."""
    ends = [1 / 1.1, 1.1]
    for each in rows:
        found = each.comparison
        ends += [value for value in (found.ratio,) if value is not None]
        if found.ci95 is not None:
            ends += [found.ci95.low, found.ci95.high]
    kept = [min(max(end, 1 / _WIDEST), _WIDEST) for end in ends]
    return min(kept) / 1.05, max(kept) * 1.05


def _ticks(spread: float) -> Sequence[float]:
    if spread > 8:  # noqa: PLR2004 - further out, tenths stand on top of each other
        return _WIDE_TICKS
    return _TICKS if spread > 1.6 else _FINE_TICKS  # noqa: PLR2004 - closer in, tenths are too few


def _label(report: ReportInput, each: ComparedMeasure) -> str:
    arrow = "↓" if COMPARED.get(each.metric) else "↑"
    metric = f"{METRICS.get(each.metric, each.metric)} {arrow}"
    where = within_model(report.benchmark.draft, each.prompt_index, each.concurrency)
    # On a narrow screen the end is cut off, and the colour says which model it is.
    return ", ".join([metric, *where, shown(each.model)])


def _line_at_one() -> dict[str, Any]:
    return {
        "type": "line",
        "x0": 1,
        "x1": 1,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": GREY, "width": 2},
    }

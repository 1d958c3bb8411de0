"""Chart of the latencies in the order of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from promptmill.domain.benchmarks.records import BenchmarkRun, Phase
from promptmill.reports.charts.drawing import (
    GREY,
    MOST_DOTS,
    Chart,
    axis,
    cut_note,
    evenly,
    model_colour,
    model_symbol,
    shown,
)
from promptmill.reports.charts.svg import Figure, Trace
from promptmill.reports.report_input import ReportInput

_Place = tuple[int, BenchmarkRun]
_BEFORE: Final = {
    Phase.WARMUP: ("warm-up", "circle-open"),
    Phase.COLD_LOAD: ("cold load", "x-open"),
}
_BEFORE_MARKER: Final = {"color": GREY, "size": 10, "line": {"width": 2}}
_FAILED: Final = "#d55e00"


def order_of_runs(report: ReportInput) -> Chart | None:
    """Draw every run in its order, which shows warming up, drift, and interruptions."""
    everything = list(enumerate(report.runs_in_order()))
    drawn = evenly(everything, MOST_DOTS)
    timed = [(place, run) for place, run in drawn if run.succeeded and run.latency_s is not None]
    if not timed:
        return None
    measured = [(place, run) for place, run in timed if run.phase is Phase.MEASURED]
    traces = [
        _measured(report, model, [each for each in measured if each[1].model == model])
        for model in dict.fromkeys(run.model for _, run in measured)
    ]
    for phase, (name, symbol) in _BEFORE.items():
        found = [each for each in timed if each[1].phase is phase]
        if found:
            traces.append(_dots(found, name, _BEFORE_MARKER | {"symbol": symbol}))
    failed = [(place, run) for place, run in drawn if not run.succeeded]
    if failed:
        traces.append(_failed(failed))
    bounds = [place for (_, before), (place, run) in pairwise(everything) if _new(before, run)]
    caption = "Runs from left to right as they were made; warm-ups and cold loads are grey."
    if failed:
        caption += " Crosses at the bottom edge are failed runs, which have no latency."
    if bounds:
        caption += " A dotted line is where the benchmark was taken up again."
    return Chart(
        name="order",
        title="Latency in the order of the runs",
        caption=caption + cut_note(len(drawn), len(everything), "runs"),
        height=440,
        figure=Figure(
            traces,
            {
                "xaxis": axis("order of the runs"),
                "yaxis": axis("latency, s", rangemode="tozero"),
                # Failed runs have a scale of their own: they have no latency to be placed by.
                "yaxis2": {"overlaying": "y", "range": [0, 1], "visible": False},
                "shapes": [_session_line(place) for place in bounds],
            },
        ),
    )


def _new(before: BenchmarkRun, run: BenchmarkRun) -> bool:
    return before.session != run.session


def _session_line(place: int) -> dict[str, Any]:
    return {
        "type": "line",
        "x0": place - 0.5,
        "x1": place - 0.5,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": {"color": GREY, "dash": "dot", "width": 2},
    }


def _measured(report: ReportInput, model: str, found: Sequence[_Place]) -> Trace:
    marker = {
        "color": model_colour(report, model),
        "symbol": model_symbol(report, model),
        "size": 8,
    }
    return _dots(found, shown(model), marker)


def _dots(found: Sequence[_Place], name: str, marker: dict[str, Any]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [place for place, _ in found],
        "y": [run.latency_s for _, run in found],
        "marker": marker,
        "hovertemplate": "run %{x}: %{y:.4g} s<extra></extra>",
    }


def _failed(found: Sequence[_Place]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "failed",
        "x": [place for place, _ in found],
        "y": [0.02] * len(found),
        "yaxis": "y2",
        "text": [str(run.error_code or "unknown") for _, run in found],
        "marker": {"color": _FAILED, "symbol": "x", "size": 10},
        "hovertemplate": "run %{x} failed: %{text}<extra></extra>",
    }

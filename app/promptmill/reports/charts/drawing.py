"""Common parts of a report's charts: layout, colours, shortening of texts.

A trace is a dict as Plotly's reference describes it; `svg` draws the part of that language that is
used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from promptmill.domain.benchmarks.records import BenchmarkDraft
from promptmill.domain.benchmarks.statistics import Distribution, Estimand
from promptmill.reports.charts.svg import Figure
from promptmill.reports.report_input import ReportInput
from promptmill.reports.wording import one_line

MOST_DOTS: Final = 5000
"""Most dots of a chart; of more, evenly spaced ones are drawn."""
MOST_ROWS: Final = 48
"""Most rows or lines of a chart; of more, evenly spaced ones are drawn."""
GREY: Final = "#8a8f98"
"""Colour of marks that belong to no model; visible on white and on black."""
PART_COLOURS: Final = ("#4c5c8a", "#8f8d86", "#c4b56c", "#fde737")
"""Colours ordered from dark to light, distinguishable by the colour-blind (after Cividis)."""
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""Palette of Okabe and Ito, without black and yellow, which a page's background may hide."""
_SYMBOLS: Final = ("circle", "diamond", "square", "triangle-up", "star", "hexagon")
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_LONGEST: Final = 30
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Chart with its title and caption."""

    name: str
    """Unique on the page, and valid as an HTML id."""
    title: str
    caption: str
    height: int
    """Height in pixels."""
    figure: Figure


def axis(title: str, **more: object) -> dict[str, Any]:
    """Build an axis with room for its labels."""
    return {"title": {"text": title}, "automargin": True, "zeroline": False, **more}


def rows_layout(x_axis: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """Build a layout with a row for each label, the first on top; marks in row n have y = n.

    Labels are above their rows, because beside them there would be no room on a telephone.
    """
    return {
        "xaxis": x_axis,
        "yaxis": {"range": [len(labels) - 0.5, -0.7], "visible": False},
        "annotations": [
            {
                "text": label,
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": row - 0.32,
                "yanchor": "bottom",
                "showarrow": False,
                "align": "left",
            }
            for row, label in enumerate(labels)
        ],
    }


def rows_height(rows: int) -> int:
    """Height in pixels of that many rows, the axis and the legend."""
    return 150 + 64 * rows


def evenly(items: Sequence[_T], most: int) -> Sequence[_T]:
    """Choose all items, or `most` evenly spaced ones."""
    if len(items) <= most:
        return items
    return [items[place * len(items) // most] for place in range(most)]


def cut_note(drawn: int, all_of_them: int, what: str) -> str:
    """Sentence for the caption if not everything is drawn."""
    if drawn >= all_of_them:
        return ""
    return f" Drawn are {drawn:,} of {all_of_them:,} {what}, evenly chosen."


def model_colour(report: ReportInput, model: str) -> str:
    """Colour of a model, the same in all charts."""
    return _COLOURS[report.models.index(model) % len(_COLOURS)]


def model_symbol(report: ReportInput, model: str) -> str:
    """Symbol of a model, which distinguishes models with similar colours."""
    index = report.models.index(model)
    return _SYMBOLS[(index + index // len(_COLOURS)) % len(_SYMBOLS)]


def shown(text: str) -> str:
    """Shorten a name for a chart.

    The middle is left out, because models differ in their beginnings, or in their tags.
    """
    line = one_line(text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]}…{line[-_LONGEST // 2 :]}"


def place_label(draft: BenchmarkDraft, model: str, prompt_index: int, concurrency: int) -> str:
    """Label of a model, prompt and level."""
    return ", ".join([shown(model), *within_model(draft, prompt_index, concurrency)])


def within_model(draft: BenchmarkDraft, prompt_index: int, concurrency: int) -> list[str]:
    """Prompt and level, as far as the benchmark has several."""
    words: list[str] = []
    if len(draft.prompts) > 1:
        words.append(f"prompt {prompt_index}")
    if len(draft.concurrency) > 1:
        words.append(f"{concurrency} in flight")
    return words


def centre(found: Distribution) -> float | None:
    """Centre of an interval: the median, or of few values the mean."""
    if found.ci95 is not None and found.ci95.of is Estimand.MEAN:
        return found.mean
    return found.p50


def error_bars(found: Sequence[Distribution]) -> dict[str, Any]:
    """Intervals as they are drawn: distances from the centre to either side."""
    above: list[float] = []
    below: list[float] = []
    for each in found:
        middle = centre(each)
        known = each.ci95 is not None and middle is not None
        above.append(each.ci95.high - middle if known and each.ci95 and middle is not None else 0)
        below.append(middle - each.ci95.low if known and each.ci95 and middle is not None else 0)
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below}

"""What all charts of a report share: their look, their colours, and how texts are shortened.

A trace is a dict as Plotly's reference describes it; `svg` draws what is used of that language.
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
"""So many dots a chart draws; of more, evenly chosen ones."""
MOST_ROWS: Final = 48
"""So many rows, or lines, a chart draws; of more, evenly chosen ones."""
GREY: Final = "#8a8f98"
"""For what is no model; to be seen on white and on black."""
PART_COLOURS: Final = ("#4c5c8a", "#8f8d86", "#c4b56c", "#fde737")
"""An order from dark to light that the colour-blind see too (after Cividis)."""
_COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
"""What Okabe and Ito proposed for all eyes, without black and yellow, which a page may hide."""
_SYMBOLS: Final = ("circle", "diamond", "square", "triangle-up", "star", "hexagon")
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_LONGEST: Final = 30
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart with its words."""

    name: str
    """Unique on the page, and fit for an HTML id."""
    title: str
    caption: str
    height: int
    """In pixels."""
    figure: Figure


def axis(title: str, **more: object) -> dict[str, Any]:
    """An axis that makes room for its labels."""
    return {"title": {"text": title}, "automargin": True, "zeroline": False, **more}


def rows_layout(x_axis: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """A layout with a row for each label, the first on top; what is drawn in row n has y = n.

    The labels stand above what they name, not beside it: on a telephone nothing else would fit.
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
    """Pixels for so many rows, the axis and the legend."""
    return 150 + 64 * rows


def evenly(items: Sequence[_T], most: int) -> Sequence[_T]:
    """All, or `most` of them from all over."""
    if len(items) <= most:
        return items
    return [items[place * len(items) // most] for place in range(most)]


def cut_note(drawn: int, all_of_them: int, what: str) -> str:
    """What a caption says when not everything is drawn."""
    if drawn >= all_of_them:
        return ""
    return f" Drawn are {drawn:,} of {all_of_them:,} {what}, evenly chosen."


def model_colour(report: ReportInput, model: str) -> str:
    """The same for a model in all charts."""
    return _COLOURS[report.models.index(model) % len(_COLOURS)]


def model_symbol(report: ReportInput, model: str) -> str:
    """Tells models apart whose colours are alike, or look so."""
    index = report.models.index(model)
    return _SYMBOLS[(index + index // len(_COLOURS)) % len(_SYMBOLS)]


def shown(text: str) -> str:
    """A name for a chart.

    Of a long one the middle is left out: models differ in their beginnings, or in their tags.
    """
    line = one_line(text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]}…{line[-_LONGEST // 2 :]}"


def place_label(draft: BenchmarkDraft, model: str, prompt_index: int, concurrency: int) -> str:
    """The model, and which prompt and level of it."""
    return ", ".join([shown(model), *within_model(draft, prompt_index, concurrency)])


def within_model(draft: BenchmarkDraft, prompt_index: int, concurrency: int) -> list[str]:
    """Of prompt and level what there is more than one of."""
    words: list[str] = []
    if len(draft.prompts) > 1:
        words.append(f"prompt {prompt_index}")
    if len(draft.concurrency) > 1:
        words.append(f"{concurrency} in flight")
    return words


def centre(found: Distribution) -> float | None:
    """What the interval is an interval of: the median, or of few values the mean."""
    if found.ci95 is not None and found.ci95.of is Estimand.MEAN:
        return found.mean
    return found.p50


def error_bars(found: Sequence[Distribution]) -> dict[str, Any]:
    """The intervals as they are drawn: how far from the centre to either side."""
    above: list[float] = []
    below: list[float] = []
    for each in found:
        middle = centre(each)
        known = each.ci95 is not None and middle is not None
        above.append(each.ci95.high - middle if known and each.ci95 and middle is not None else 0)
        below.append(middle - each.ci95.low if known and each.ci95 and middle is not None else 0)
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below}

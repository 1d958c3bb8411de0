"""Charts as SVG: bars, lines, intervals, waterfalls, and the numbers behind each as a table.

Colours are classes of the stylesheet, so that they follow the theme, and no style attribute is
needed, which the pages' policy forbids. All texts are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from markupsafe import Markup, escape

from promptmill.dashboard.wording import UNKNOWN

WIDTH: Final = 540
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 12, 28
_FEW: Final = 6
"""Most places of an axis with a label each; more are divided evenly."""
_STEPS: Final = (1, 2, 2.5, 5, 10)
Words = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture, and what it shows as a table."""

    title: str
    svg: Markup
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    """Note on the numbers, such as that they are of a sample."""
    keys: Sequence[tuple[str, str]] = ()
    """Legend of the colours: the class of each, and its words."""


@dataclass(slots=True)
class _Drawing:
    """Elements of one picture, written in the order in which they are drawn."""

    height: int
    title: str
    parts: list[str] = field(default_factory=list[str])

    def add(self, element: str, text: str | None = None, **attributes: object) -> None:
        # By `escape` alone: `Markup.format` takes most of the time of a page with charts.
        pairs = "".join(
            f' {name.rstrip("_").replace("_", "-")}="{value:.2f}"'
            if isinstance(value, float)
            else f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
            for name, value in attributes.items()
        )
        end = "/>" if text is None else f">{escape(text)}</{element}>"
        self.parts.append(f"<{element}{pairs}{end}")

    def titled(self, element: str, title: str, **attributes: object) -> None:
        """An element that says more when it is pointed at."""
        self.add(element, Markup(f"<title>{escape(title)}</title>"), **attributes)  # noqa: S704 - escaped

    def done(self, width: int = WIDTH) -> Markup:
        view = f'viewBox="0 0 {width} {self.height}" role="img" aria-label="{escape(self.title)}"'
        return Markup(f'<svg class="chart" {view}>{"".join(self.parts)}</svg>')  # noqa: S704 - escaped


def ticks(most: float, count: int = 4) -> list[float]:
    """Round numbers from 0 to `most` or a little beyond, about `count` of them apart."""
    if not math.isfinite(most) or most <= 0:
        return [0.0, 1.0]
    raw = most / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in _STEPS if step * power >= raw * (1 - 1e-9))
    return [step * place for place in range(math.ceil(most / step - 1e-9) + 1)]


def _frame(drawing: _Drawing, marks: Sequence[float], words: Words) -> Callable[[float], float]:
    """The horizontal lines with their words; answers what puts a value at its height."""
    high = drawing.height - _TOP - _BOTTOM

    def y(value: float) -> float:
        return _TOP + high * (1 - value / marks[-1])

    for mark in marks:
        drawing.add("line", class_="grid", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y(mark), y2=y(mark))
        drawing.add("text", words(mark), class_="tick end", x=_LEFT - 8, y=y(mark) + 4)
    return y


def _below(drawing: _Drawing, places: Sequence[tuple[float, str]]) -> None:
    for place, (x, text) in enumerate(places):
        where = "start" if place == 0 else "end" if place == len(places) - 1 else "middle"
        drawing.add("text", text, class_=f"tick {where}", x=x, y=drawing.height - 8)


def lines(
    title: str,
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    x_words: Words,
    y_words: Words,
    names: tuple[str, str],
    height: int = 220,
    note: str = "",
    filled: bool = False,
) -> Chart | None:
    """Lines over one axis; None without a point. Each series has its name."""
    points = [point for _, own in series for point in own]
    if not points:
        return None
    drawing = _Drawing(height, title)
    y = _frame(drawing, ticks(max(value for _, value in points)), y_words)
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    span = last - first or 1.0

    def x(value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value - first) / span

    for number, (_, own) in enumerate(series):
        path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in own)
        if filled and own:
            base = f"{y(0):.1f}"
            area = f"{x(own[0][0]):.1f},{base} {path} {x(own[-1][0]):.1f},{base}"
            drawing.add("polygon", class_=f"area s{number % 6}", points=area)
        drawing.add("polyline", class_=f"line s{number % 6}", points=path)
        if len(own) <= 12:  # noqa: PLR2004 - more dots would be a line of their own
            for at, value in own:
                about = f"{x_words(at)}: {y_words(value)}"
                drawing.titled(
                    "circle", about, class_=f"dot s{number % 6}", cx=x(at), cy=y(value), r=3.5
                )
    own = sorted({at for at, _ in points})
    places = own if len(own) <= _FEW else [first + span * part / 4 for part in range(5)]
    _below(drawing, [(x(at), x_words(at)) for at in places])
    return Chart(
        title=title,
        svg=drawing.done(),
        columns=("", *names) if len(series) > 1 else names,
        rows=[
            (*((name,) if len(series) > 1 else ()), x_words(at), y_words(value))
            for name, own in series
            for at, value in _some(own, 24)
        ],
        note=note,
        keys=[(f"s{number % 6}", name) for number, (name, _) in enumerate(series)]
        if len(series) > 1
        else (),
    )


def _some(values: Sequence[tuple[float, float]], most: int) -> Sequence[tuple[float, float]]:
    step = max(1, math.ceil(len(values) / most))
    return [*values[::step]]


def histogram(
    title: str, values: Sequence[float], *, words: Words, note: str = "", bins: int = 24
) -> Chart | None:
    """Histogram of values; the highest hundredth is in the last bar."""
    if not values:
        return None
    ordered = sorted(values)
    marks = ticks(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))] or 1.0, 6)
    most, width = marks[-1], marks[-1] / bins
    counts = [0] * bins
    for value in ordered:
        counts[min(int(value / width), bins - 1)] += 1
    drawing = _Drawing(180, title)
    y = _frame(drawing, ticks(max(counts), 3), lambda value: f"{value:.0f}")
    step = (WIDTH - _LEFT - _RIGHT) / bins
    rows: list[tuple[str, str]] = []
    for place, count in enumerate(counts):
        between = f"{words(place * width)} to {words((place + 1) * width)}"
        if place == bins - 1 and ordered[-1] > most:
            between = f"{words(place * width)} and more"
        if count:
            rows.append((between, str(count)))
            drawing.titled(
                "rect",
                f"{between}: {count}",
                class_="bar s0",
                x=_LEFT + place * step + 0.5,
                y=y(count),
                width=step - 1,
                height=y(0) - y(count),
            )
    span = WIDTH - _LEFT - _RIGHT
    _below(drawing, [(_LEFT + span * mark / most, words(mark)) for mark in marks])
    return Chart(
        title=title, svg=drawing.done(), columns=("between", "results"), rows=rows, note=note
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of `bars`, or one dot with its interval of `intervals`."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    kind: str = "s0"


def bars(
    title: str, given: Sequence[Bar], *, words: Words, column: str, note: str = ""
) -> Chart | None:
    """Horizontal bars, each with its name above it, and the interval of its value if it has one."""
    if not given:
        return None
    row = 40
    drawing = _Drawing(len(given) * row + _BOTTOM, title)
    marks = ticks(max(max(bar.value, bar.high or 0.0) for bar in given), 5)

    def x(value: float) -> float:
        return 4 + (WIDTH - 84) * max(value, 0.0) / marks[-1]

    for mark in marks:
        drawing.add("line", class_="grid", x1=x(mark), x2=x(mark), y1=4, y2=drawing.height - 22)
    for place, bar in enumerate(given):
        top = place * row
        drawing.add("text", bar.name, class_="label", x=4, y=top + 15)
        drawing.add(
            "rect", class_=f"bar {bar.kind}", x=4, y=top + 21, width=x(bar.value) - 4, height=10
        )
        end = x(bar.value)
        if bar.low is not None and bar.high is not None:
            middle, end = top + 26, max(end, x(bar.high))
            drawing.add(
                "line", class_="whisker", x1=x(bar.low), x2=x(bar.high), y1=middle, y2=middle
            )
            for edge in (bar.low, bar.high):
                drawing.add(
                    "line", class_="whisker", x1=x(edge), x2=x(edge), y1=middle - 4, y2=middle + 4
                )
        drawing.add("text", words(bar.value), class_="value", x=end + 8, y=top + 30)
    _below(drawing, [(x(mark), words(mark)) for mark in marks])
    has_intervals = any(bar.low is not None for bar in given)
    return Chart(
        title=title,
        svg=drawing.done(),
        columns=("", column, "95 % interval") if has_intervals else ("", column),
        rows=[
            (
                bar.name,
                words(bar.value),
                *((_between(bar, words),) if has_intervals else ()),
            )
            for bar in given
        ],
        note=note,
    )


def _between(bar: Bar, words: Words) -> str:
    if bar.low is None or bar.high is None:
        return UNKNOWN
    return f"{words(max(bar.low, 0.0))} to {words(bar.high)}"


def ratios(title: str, given: Sequence[Bar], *, note: str = "") -> Chart | None:
    """Ratios about 1 as dots with their intervals, on a scale of logarithms."""
    if not given:
        return None
    row = 34
    drawing = _Drawing(len(given) * row + _BOTTOM, title)
    far = max(
        abs(math.log(edge)) for bar in given for edge in (bar.value, bar.low, bar.high) if edge
    )
    far = max(far * 1.08, math.log(1.25))
    middle, half = WIDTH / 2 + 110, WIDTH / 2 - 130

    def x(value: float) -> float:
        return middle + half * math.log(value) / far

    marks = [round(math.exp(far * part), 2) for part in (-0.9, -0.45, 0, 0.45, 0.9)]
    for mark in marks:
        kind = "axis" if mark == 1 else "grid"
        drawing.add("line", class_=kind, x1=x(mark), x2=x(mark), y1=2, y2=drawing.height - 22)
    for place, bar in enumerate(given):
        y = place * row + 16
        drawing.add("text", bar.name, class_="label", x=0, y=y + 4)
        if bar.low and bar.high:
            drawing.add(
                "line", class_=f"whisker {bar.kind}", x1=x(bar.low), x2=x(bar.high), y1=y, y2=y
            )
        drawing.titled(
            "circle", f"{bar.value:.3f}", class_=f"dot {bar.kind}", cx=x(bar.value), cy=y, r=5
        )
    for mark in marks:
        drawing.add("text", f"{mark:g} x", class_="tick middle", x=x(mark), y=drawing.height - 8)
    return Chart(
        title=title,
        svg=drawing.done(),
        columns=("", "ratio", "95 % interval"),
        rows=[
            (
                bar.name,
                f"{bar.value:.3f}",
                f"{bar.low:.3f} to {bar.high:.3f}" if bar.low and bar.high else UNKNOWN,
            )
            for bar in given
        ],
        note=note,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of the time of one prompt."""

    name: str
    begin_s: float
    took_s: float
    kind: str
    """Class of the colour."""


def waterfall(
    title: str, spans: Sequence[Span], *, words: Words, ttft_s: float | None = None
) -> Chart | None:
    """Waterfall of one prompt's time, one bar below the other; no bar is negative."""
    if not spans:
        return None
    row = 26
    drawing = _Drawing(len(spans) * row + _BOTTOM, title)
    end = max(span.begin_s + span.took_s for span in spans) or 1.0
    left, wide = 136, WIDTH - 136 - 80

    def x(value: float) -> float:
        return left + wide * min(max(value, 0.0), end) / end

    for place, span in enumerate(spans):
        top = place * row
        drawing.add("line", class_="grid", x1=left, x2=left + wide, y1=top + 24, y2=top + 24)
        drawing.add("text", span.name, class_="label", x=0, y=top + 17)
        width = max(x(span.begin_s + span.took_s) - x(span.begin_s), 1.5)
        drawing.titled(
            "rect",
            f"{span.name}: {words(span.took_s)}",
            class_=f"bar {span.kind}",
            x=x(span.begin_s),
            y=top + 7,
            width=width,
            height=12,
            rx=1.5,
        )
        drawing.add(
            "text", words(span.took_s), class_="value", x=x(span.begin_s) + width + 8, y=top + 17
        )
    if ttft_s is not None:
        drawing.add("line", class_="mark", x1=x(ttft_s), x2=x(ttft_s), y1=2, y2=drawing.height - 22)
        drawing.add("text", "first token", class_="tick middle", x=x(ttft_s), y=drawing.height - 8)
    return Chart(
        title=title,
        svg=drawing.done(),
        columns=("part", "took"),
        rows=[(span.name, words(span.took_s)) for span in spans],
    )


def progress_bar(
    parts: Sequence[tuple[str, int]], total: int, *, words: str, thick: bool = False
) -> Markup:
    """A bar whose parts have the colours of their states."""
    drawn: list[str] = []
    begin = 0.0
    for kind, count in parts:
        if count <= 0 or total <= 0:
            continue
        width = 100 * count / total
        place = f'x="{begin:.3f}" width="{max(width, 0.4):.3f}" height="1"'
        drawn.append(f'<rect class="{escape(kind)}" {place}/>')
        begin += width
    name = "progress thick" if thick else "progress"
    return Markup(  # noqa: S704 - escaped
        f'<svg class="{name}" viewBox="0 0 100 1" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(words)}">{"".join(drawn)}</svg>'
    )

"""Figures as SVG: what a report's charts need of Plotly's language, drawn here without a script.

A figure is a list of traces (`scatter` or horizontal `bar`) and a layout with two axes, written as
Plotly's reference has it, so that its words can be looked up. Colours of texts and grids are
classes of the page's stylesheet and follow its theme. Nothing is drawn below 0 on an axis that
begins there: an interval of a time ends at 0 at the latest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from markupsafe import Markup

Trace = dict[str, Any]
_WIDTH: Final = 720
_RIGHT, _TOP, _BOTTOM = 18, 10, 46
_MOST_TITLED: Final = 400
"""Most marks of a figure that show their values on hover; with more, a trace is one path."""
_DASHES: Final = {
    "solid": "",
    "dash": "8 5",
    "dot": "2 4",
    "dashdot": "8 4 2 4",
    "longdash": "14 5",
    "longdashdot": "14 4 2 4",
}
_SHAPES: Final = {
    "circle": "m-{r} 0a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0",
    "square": "m-{r} -{r}h{d}v{d}h-{d}z",
    "diamond": "m0 -{d}l{d} {d}l-{d} {d}l-{d} -{d}z",
    "triangle-up": "m0 -{r}l{r} {d}h-{d}z",
    "star": "m0 -{d}l{r} {d}l-{d} -{r}h{d}l-{d} {r}z",
    "hexagon": "m-{r} 0l{h} -{r}h{r}l{h} {r}l-{h} {r}h-{r}z",
    "x": "m-{r} -{r}l{d} {d}m0 -{d}l-{d} {d}",
    "line-ns": "m0 -{r}v{d}",
}
_VALUE: Final = re.compile(r"%\{(x|y|text)(?::([^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Figure:
    """Content of a chart, before it is drawn."""

    traces: Sequence[Trace]
    layout: dict[str, Any]

    def keys(self) -> list[tuple[str, str, str]]:
        """Colour, dashes and name of each trace that has a name."""
        named = (each for each in self.traces if each.get("name") and each.get("showlegend", True))
        return [(_colour(each), _dashes(each), str(each["name"])) for each in named]


def draw(figure: Figure, *, height: int, title: str) -> Markup:
    """Draw the figure as one `<svg>`."""
    return _Drawing(figure, height).drawn(title)


def _dashes(trace: Trace) -> str:
    return _DASHES[trace.get("line", {}).get("dash", "solid")]


def _colour(trace: Trace) -> str:
    found = trace.get("marker", {}).get("color") or trace.get("line", {}).get("color")
    return str(found)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Axis of a figure, which maps values to pixels."""

    low: float
    high: float
    first: float
    last: float
    """Pixels of `low` and `high`."""
    log: bool

    def at(self, value: float) -> float:
        position = math.log10(value) if self.log else value
        share = (position - self.low) / (self.high - self.low)
        return self.first + (self.last - self.first) * min(max(share, 0.0), 1.0)


class _Drawing:
    """Drawing of one figure as SVG elements."""

    def __init__(self, figure: Figure, height: int) -> None:
        self._figure = figure
        self._height = height
        self._parts: list[Markup] = []
        layout = figure.layout
        self._has_rows = layout["yaxis"].get("visible") is False
        left = 6 if self._has_rows else 60
        self._x = self._axis("x", left, _WIDTH - _RIGHT)
        self._y = self._axis("y", height - _BOTTOM, _TOP)
        self._left = left

    def drawn(self, title: str) -> Markup:
        self._grid()
        for shape in self._figure.layout.get("shapes", ()):
            self._across(shape["x0"], "mark")
        for trace, base in self._with_bases():
            if trace["type"] == "bar":
                self._bars(trace, base)
            else:
                self._scatter(trace)
        for note in self._figure.layout.get("annotations", ()):
            self._text(note["text"], self._left, self._y.at(note["y"]), "label")
        return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            _WIDTH, self._height, title, Markup("").join(self._parts)
        )

    # --- axes ------------------------------------------------------------------------------------

    def _axis(self, name: str, first: float, last: float) -> _Axis:
        given = self._figure.layout[f"{name}axis"]
        log = given.get("type") == "log"
        if "range" in given:
            low, high = map(float, given["range"])
        else:
            values = [value for value in self._values(name) if not log or value > 0]
            low, high = min(values), max(values)
            if log:
                low, high = math.log10(low) - 0.06, math.log10(high) + 0.06
            elif given.get("rangemode") == "tozero":
                low, high = 0.0, high * 1.05
            else:
                low, high = low - 0.5, high + 0.5
        return _Axis(low, high if high != low else low + 1, first, last, log)

    def _values(self, name: str) -> Iterator[float]:
        ends: dict[Any, float] = {}
        for trace in self._figure.traces:
            if name == "y" and "yaxis" in trace:
                continue
            bars = trace.get(f"error_{name}", {}).get("array") or [0] * len(trace[name])
            for place, (value, above) in enumerate(zip(trace[name], bars, strict=True)):
                if value is None:
                    continue
                if trace["type"] == "bar" and name == "x":
                    ends[place] = ends.get(place, 0.0) + value
                else:
                    yield value + above
        yield from ends.values()

    def _ticks(self, name: str, axis: _Axis) -> Sequence[tuple[float, str]]:
        given = self._figure.layout[f"{name}axis"]
        if "tickvals" in given:
            return list(zip(given["tickvals"], given["ticktext"], strict=True))
        form = given.get("tickformat", "g")
        return [(value, format(value, form)) for value in round_values(axis.low, axis.high)]

    def _grid(self) -> None:
        for value, words in self._ticks("x", self._x):
            self._across(value, "grid")
            x, foot = self._x.at(value), self._height - _BOTTOM + 18
            self._text(words, min(max(x, 14), _WIDTH - 16), foot, "tick middle")
        if not self._has_rows:
            for value, words in self._ticks("y", self._y):
                y = self._y.at(value)
                self._line(self._left, _WIDTH - _RIGHT, y, y, "grid")
                self._text(words, self._left - 8, y + 4, "tick end")
        for name, x, y, kind in (
            ("x", (self._left + _WIDTH - _RIGHT) / 2, self._height - 8, "tick middle"),
            ("y", 0, 0, ""),
        ):
            title = self._figure.layout[f"{name}axis"].get("title", {}).get("text")
            if title and name == "x":
                self._text(title, x, y, kind)
            elif title:
                self._parts.append(
                    Markup(
                        '<text class="tick middle" transform="translate(13 {:.0f}) rotate(-90)">'
                        "{}</text>"
                    ).format((self._height - _BOTTOM + _TOP) / 2, title)
                )

    def _across(self, value: float, kind: str) -> None:
        x = self._x.at(value)
        self._line(x, x, _TOP, self._height - _BOTTOM, kind)

    # --- traces ----------------------------------------------------------------------------------

    def _with_bases(self) -> Iterator[tuple[Trace, list[float]]]:
        base: dict[int, float] = {}
        for trace in self._figure.traces:
            if trace["type"] != "bar":
                yield trace, []
                continue
            yield trace, [base.get(place, 0.0) for place in range(len(trace["x"]))]
            for place, value in enumerate(trace["x"]):
                base[place] = base.get(place, 0.0) + (value or 0.0)

    def _bars(self, trace: Trace, base: Sequence[float]) -> None:
        half = trace["width"] / 2
        for place, (value, row) in enumerate(zip(trace["x"], trace["y"], strict=True)):
            if value:
                left, right = self._x.at(base[place]), self._x.at(base[place] + value)
                top, foot = self._y.at(row - half * 0.7), self._y.at(row + half * 0.7)
                self._parts.append(
                    Markup(
                        '<path class="mark" d="M{:.1f} {:.1f}H{:.1f}V{:.1f}H{:.1f}z" fill="{}">'
                        "<title>{}</title></path>"
                    ).format(left, top, right, foot, left, _colour(trace), _told(trace, place))
                )

    def _scatter(self, trace: Trace) -> None:
        axis = self._y
        if "yaxis" in trace:
            axis = replace(axis, low=0.0, high=1.0, log=False)
        points = [
            (place, self._x.at(x), axis.at(y))
            for place, (x, y) in enumerate(zip(trace["x"], trace["y"], strict=True))
            if x is not None and y is not None
        ]
        colour = _colour(trace)
        if "lines" in trace["mode"] and points:
            stepped = trace["line"].get("shape") == "hv"
            steps = (
                f"H{x:.1f}V{y:.1f}" if stepped else f"L{x:.1f} {y:.1f}" for _, x, y in points[1:]
            )
            path = f"M{points[0][1]:.1f} {points[0][2]:.1f}" + "".join(steps)
            self._parts.append(
                Markup(
                    '<path class="mark" d="{}" fill="none" stroke="{}" stroke-width="2"'
                    ' stroke-dasharray="{}"/>'
                ).format(path, colour, _dashes(trace))
            )
        for direction in ("x", "y"):
            self._intervals(trace, direction, points, colour)
        if "markers" in trace["mode"]:
            self._marks(trace, points, colour)

    def _intervals(
        self, trace: Trace, direction: str, points: Sequence[tuple[int, float, float]], colour: str
    ) -> None:
        bars = trace.get(f"error_{direction}")
        if bars is None:
            return
        axis = self._x if direction == "x" else self._y
        stroke = bars.get("color", colour)
        for place, x, y in points:
            above, below = bars["array"][place], bars["arrayminus"][place]
            if not above and not below:
                continue
            value = trace[direction][place]
            least = value * 1e-9 if axis.log else 0.0
            low, high = axis.at(max(value - below, least)), axis.at(value + above)
            path = (
                f"M{low:.1f} {y:.1f}H{high:.1f}m0 -4v8M{low:.1f} {y - 4:.1f}v8"
                if direction == "x"
                else f"M{x:.1f} {low:.1f}V{high:.1f}m-4 0h8M{x - 4:.1f} {low:.1f}h8"
            )
            self._parts.append(
                Markup('<path d="{}" fill="none" stroke="{}" stroke-width="2"/>').format(
                    path, stroke
                )
            )

    def _marks(self, trace: Trace, points: Sequence[tuple[int, float, float]], colour: str) -> None:
        marker = trace["marker"]
        many = sum(len(each["x"]) for each in self._figure.traces) > _MOST_TITLED
        grouped: dict[str, list[tuple[int, float, float]]] = {}
        for point in points:
            symbol = marker.get("symbol", "circle")
            own = symbol if isinstance(symbol, str) else symbol[point[0]]
            grouped.setdefault(own, []).append(point)
        for symbol, own in grouped.items():
            name = symbol.removesuffix("-open")
            is_hollow = symbol != name or name == "x"
            shape = _shape(name, marker.get("size", 8))
            look = Markup(
                'class="mark" fill="{}" stroke="{}" stroke-width="{}" opacity="{}"'
            ).format(
                "none" if is_hollow else colour,
                colour,
                2 if is_hollow else 0,
                marker.get("opacity", 1),
            )
            if many:
                path = "".join(f"M{x:.1f} {y:.1f}{shape}" for _, x, y in own)
                self._parts.append(Markup('<path {} d="{}"/>').format(look, path))
                continue
            self._parts += [
                Markup('<path {} d="M{:.1f} {:.1f}{}"><title>{}</title></path>').format(
                    look, x, y, shape, _told(trace, place)
                )
                for place, x, y in own
            ]

    def _line(self, x1: float, x2: float, y1: float, y2: float, kind: str) -> None:
        self._parts.append(
            Markup('<line class="{}" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
                kind, x1, x2, y1, y2
            )
        )

    def _text(self, words: str, x: float, y: float, kind: str) -> None:
        self._parts.append(
            Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, words)
        )


def _shape(name: str, size: float) -> str:
    half = size / 2
    # Pointed shapes of the same width look smaller than round ones.
    d = half * 1.3 if name in {"diamond", "star"} else size
    return _SHAPES[name].format(r=f"{half:.2f}", d=f"{d:.2f}", h=f"{half / 2:.2f}")


def _told(trace: Trace, place: int) -> str:
    """Text that a mark shows on hover."""

    def value(found: re.Match[str]) -> str:
        one = trace[found[1]][place]
        return str(one) if isinstance(one, str) else format(one, found[2] or "g")

    template: str = trace.get("hovertemplate", "%{x:.4g}")
    return _VALUE.sub(value, template.replace("<extra></extra>", ""))


def round_values(low: float, high: float, count: int = 5) -> list[float]:
    """Choose round numbers from `low` to `high`, about `count` of them."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(step * place, 10) for place in range(first, last + 1)]

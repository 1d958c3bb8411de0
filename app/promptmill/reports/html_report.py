"""The report as one HTML file that needs no network: charts, tables, what the flags mean.

Its own policy (CSP) forbids every request, so that nothing could be fetched even by mistake. Plotly
is inside, from its package (5 MB, most of the file). All texts are escaped by Jinja; the figures
are JSON in which no `<` occurs.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from promptmill.reports.charts.runs import charts
from promptmill.reports.report_input import ReportInput
from promptmill.reports.sections import sections, title
from promptmill.reports.tables import is_given, is_missing
from promptmill.reports.wording import one_line


def write(report: ReportInput) -> str:
    """The page."""
    drawn = charts(report)
    return _template().render(
        title=title(report),
        sections=sections(report),
        charts=[(chart, in_script(chart.figure)) for chart in drawn],
        plotly=_plotly() if drawn else "",
        is_given=is_given,
        is_missing=is_missing,
        one_line=one_line,
    )


def in_script(json: str) -> str:
    """JSON that may stand within `<script>`: nothing in it can end or comment the element."""
    return json.replace("<", r"\u003c").replace("\u2028", r"\u2028").replace("\u2029", r"\u2029")


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("promptmill.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2")


def _plotly() -> str:
    offline: Any = import_module("plotly.offline")  # Heavy, and without types.
    return str(offline.get_plotlyjs())

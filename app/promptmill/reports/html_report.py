"""The report as one HTML file without network access and scripts: charts, tables, flags.

Its security policy (CSP) forbids every request. All texts are escaped by Jinja, those of the charts
by `markupsafe`.
"""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from promptmill.reports.charts.runs import charts
from promptmill.reports.charts.svg import draw
from promptmill.reports.report_input import ReportInput
from promptmill.reports.sections import sections, title
from promptmill.reports.tables import is_given, is_missing
from promptmill.reports.wording import one_line


def write(report: ReportInput) -> str:
    """Write the page."""
    return _template().render(
        title=title(report),
        sections=sections(report),
        charts=[
            (chart, draw(chart.figure, height=chart.height, title=chart.title))
            for chart in charts(report)
        ],
        is_given=is_given,
        is_missing=is_missing,
        one_line=one_line,
    )


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

"""Reports of a benchmark to hand on: HTML with charts, Markdown, CSV, and text for `benchstat`.

    report_input  what a report is made of
    sections      the tables of the readable reports, the same for Markdown and HTML
    wording       how numbers, moments and other people's texts are written; what flags mean

`render` is pure and blocks (a large HTML report for some tenths of a second): call it in a thread.
"""

from __future__ import annotations

from enum import StrEnum

from promptmill.reports import benchstat, csv_report, html_report, markdown
from promptmill.reports.report_input import ReportInput

__all__ = ["ReportFormat", "ReportInput", "render"]


class ReportFormat(StrEnum):
    """Formats of a report; the value is that of `?format=`."""

    HTML = "html"
    """A file that needs no network: charts, tables, explanations of flags."""
    MARKDOWN = "md"
    """Text for an issue or a README."""
    CSV = "csv"
    """A row for each model, prompt and level, for spreadsheets and data frames."""
    BENCHSTAT = "benchstat"
    """Go's benchmark format, with Ollama's own names, for the program `benchstat`."""

    @property
    def media_type(self) -> str:
        """Value of the header `Content-Type`."""
        return _MEDIA_TYPES[self]

    @property
    def extension(self) -> str:
        """Extension of a file in the format, without the dot."""
        return "bench" if self is ReportFormat.BENCHSTAT else self.value


_MEDIA_TYPES = {
    ReportFormat.HTML: "text/html; charset=utf-8",
    ReportFormat.MARKDOWN: "text/markdown; charset=utf-8",
    ReportFormat.CSV: "text/csv; charset=utf-8",
    ReportFormat.BENCHSTAT: "text/plain; charset=utf-8",
}
_WRITERS = {
    ReportFormat.HTML: html_report.write,
    ReportFormat.MARKDOWN: markdown.write,
    ReportFormat.CSV: csv_report.write,
    ReportFormat.BENCHSTAT: benchstat.write,
}


def render(report: ReportInput, form: ReportFormat) -> bytes:
    """Render the report as the bytes of a file, in UTF-8."""
    # A lone surrogate has no UTF-8; it may stand in what a host said of itself.
    return _WRITERS[form](report).encode(errors="replace")

"""The report as Markdown with tables (GitHub's kind), for an issue or a README.

Every untrusted text is in a code span, so that it cannot act as a table's border, a link, a
mention, HTML or other markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from promptmill.reports.report_input import ReportInput
from promptmill.reports.sections import sections, title
from promptmill.reports.tables import Cell, Given, Table
from promptmill.reports.wording import MISSING, one_line


def write(report: ReportInput) -> str:
    """Write the page."""
    lines = [f"# Benchmark {code_span(title(report))}"]
    for section in sections(report):
        lines += ["", f"## {section.title}"]
        for table in section.tables:
            lines += ["", *_table(table)]
    return "\n".join(lines) + "\n"


def code_span(text: str) -> str:
    """Format a text as a code span, valid everywhere except in a table's cell."""
    line = one_line(text)
    if not line:
        return MISSING
    runs = re.findall("`+", line)
    # A fence that does not occur inside; blanks keep it apart from backquotes at the ends.
    fence = "`" * next(n for n in range(1, len(line) + 2) if "`" * n not in runs)
    edge = " " if "`" in (line[0], line[-1]) else ""
    return f"{fence}{edge}{line}{edge}{fence}"


def _table(table: Table) -> Iterator[str]:
    if table.has_head:
        yield f"**{table.title}**" + (f" {code_span(table.of.text)}" if table.of else "")
        yield ""
    yield _row([column.title for column in table.columns])
    yield _row(["---:" if column.number else "---" for column in table.columns])
    for row in table.rows:
        yield _row([_cell(cell) for cell in row])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    if isinstance(cell, Given):
        text = cell.text if cell.text == MISSING else code_span(cell.text)
    else:
        text = cell
    # The table is cut into cells before anything else; inside of code spans too.
    return text.replace("|", r"\|")

"""The reports of the example as files; `python -m tests.reports.golden` writes them anew.

Look at the difference before it is committed: it is what users will see.
"""

from __future__ import annotations

from pathlib import Path

from promptmill.reports import ReportFormat, render
from tests.reports.example import report

FOLDER = Path(__file__).parents[1] / "data" / "reports"


def path_of(form: ReportFormat) -> Path:
    return FOLDER / f"example.{form.extension}"


def written(form: ReportFormat) -> bytes:
    """The report as it is sent."""
    return render(report(), form)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in ReportFormat:
        path_of(each).write_bytes(written(each))
        print(path_of(each))

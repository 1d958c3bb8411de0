"""Tables of a report, before they are Markdown or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptmill.domain.benchmarks.records import Flag
from promptmill.reports.wording import MISSING


@dataclass(frozen=True, slots=True)
class Given:
    """Text that is shown literally: a name, a flag, or a text of a user, a model or a host."""

    text: str


Cell = str | Given
"""Content of a cell: the report's own words, or a text that is never markup."""


@dataclass(frozen=True, slots=True)
class Column:
    """Heading of a column."""

    title: str
    number: bool = False
    """Whether the column holds numbers, which are aligned right."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. The first cell of a row identifies it."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    of: Given | None = None
    """Name that ends the title, if the table belongs to a named thing."""
    folded: bool = False
    """Whether the table is a detail that may be folded."""

    @property
    def has_head(self) -> bool:
        """Whether any column has a title; tables of facts have none."""
        return any(column.title for column in self.columns)


@dataclass(frozen=True, slots=True)
class Section:
    """Section of a report: tables under a title."""

    title: str
    tables: Sequence[Table]


def place(model: str, prompt_index: int, concurrency: int) -> list[Cell]:
    """First cells of a row about one model, prompt and level."""
    return [Given(model), str(prompt_index), str(concurrency)]


def flags_cell(flags: Sequence[Flag]) -> Cell:
    """Cell with flags, or with words for none."""
    return Given(" ".join(flags)) if flags else "none"


def is_given(cell: Cell) -> bool:
    """Whether the cell is a text to be shown literally."""
    return isinstance(cell, Given)


def is_missing(cell: Cell) -> bool:
    """Whether the cell stands for a missing value."""
    return MISSING in (cell, getattr(cell, "text", None))

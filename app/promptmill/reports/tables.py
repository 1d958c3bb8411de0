"""Tables before they are Markdown or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from promptmill.domain.benchmarks.records import Flag
from promptmill.reports.wording import MISSING


@dataclass(frozen=True, slots=True)
class Given:
    """A text that is shown as it is: a name, a flag, or what a user, a model or a host made."""

    text: str


Cell = str | Given
"""Words of ours, or a text that is never to be taken for markup."""


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column."""

    title: str
    number: bool = False
    """Whether it holds numbers, which stand to the right."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head. The first cell of a row says what the row is about."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    of: Given | None = None
    """Ends the title, where it is a table of something that has a name of its own."""
    folded: bool = False
    """Whether it is a detail that may be folded away."""

    @property
    def has_head(self) -> bool:
        """Whether any column has a title; tables of facts have none."""
        return any(column.title for column in self.columns)


@dataclass(frozen=True, slots=True)
class Section:
    """Tables under a heading."""

    title: str
    tables: Sequence[Table]


def place(model: str, prompt_index: int, concurrency: int) -> list[Cell]:
    """The first cells of a row that is about one model, prompt and level."""
    return [Given(model), str(prompt_index), str(concurrency)]


def flags_cell(flags: Sequence[Flag]) -> Cell:
    """The flags of something, or words that there are none."""
    return Given(" ".join(flags)) if flags else "none"


def is_given(cell: Cell) -> bool:
    """Whether the cell is a text to be shown as it is."""
    return isinstance(cell, Given)


def is_missing(cell: Cell) -> bool:
    """Whether the cell stands for a value that there is not."""
    return MISSING in (cell, getattr(cell, "text", None))

"""Prompts of a table in memory: a data frame, an Arrow table, or a list of dicts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from promptmill.prompts.columns import Columns, Prompt, Shape
from promptmill.rows.columnar import library, rows_of
from promptmill.rows.faults import Faults, UnreadableInput


def is_frame(value: object) -> bool:
    """Whether a value is a data frame or table of pandas, polars, Arrow or a similar library."""
    return hasattr(value, "__arrow_c_stream__") and hasattr(value, "columns")


class PromptTable:
    """Prompts of a table's rows, made anew at each iteration; no row is left out."""

    def __init__(self, table: object, columns: Columns) -> None:
        """Store the table: a data frame, or dicts in an iterable that can be iterated twice."""
        self._table = table
        self._columns = columns

    def __iter__(self) -> Iterator[Prompt]:
        """Yield the prompts.

        Raises:
            ValueError: Rows cannot be used, or the table is empty; the message names the rows by
                their indexes from 0.
        """
        try:
            yield from self._prompts()
        except UnreadableInput as error:
            told = str(error).replace("--column NAME", "column=…")  # As Python says it.
            raise ValueError(told) from None

    def _prompts(self) -> Iterator[Prompt]:
        faults = Faults()
        shapes: dict[tuple[str, ...], Shape] = {}
        index = -1
        for index, row in enumerate(self._rows()):
            header = tuple(row)
            if header not in shapes:
                shapes = {header: Shape(header, self._columns, folder=None)}
            try:
                prompt = shapes[header].prompt_of(row)
            except ValueError as error:
                faults.add(f"row {index}: {error}")
                continue
            if prompt is None:
                faults.add(f"row {index}: has no prompt; leave such rows out first")
            elif not faults:
                yield prompt
        faults.check()
        if index < 0:
            raise UnreadableInput("the table has no rows")

    def _rows(self) -> Iterator[Mapping[str, Any]]:
        if is_frame(self._table):
            yield from _rows_of_frame(self._table)
            return
        for index, row in enumerate(cast("Iterable[Any]", self._table)):
            if not isinstance(row, Mapping):
                raise UnreadableInput(f"row {index}: is a {type(row).__name__}, not a dict")
            yield cast("Mapping[str, Any]", row)


def _rows_of_frame(frame: object) -> Iterator[Mapping[str, Any]]:
    arrow = library("pyarrow", "reading a data frame")
    try:
        reader = arrow.RecordBatchReader.from_stream(_with_index(frame))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UnreadableInput(f"the data frame cannot be read by Arrow: {error}") from None
    return (row for _, row in rows_of(reader))


def _with_index(table: Any) -> Any:  # noqa: ANN401 - a data frame of any library
    """Move an index of pandas that Arrow would keep among the columns."""
    index = getattr(table, "index", None)
    is_default = getattr(index, "start", 0) == 0 and getattr(index, "step", 1) == 1
    return table if is_default else table.set_axis(list(cast("Iterable[Any]", index)))

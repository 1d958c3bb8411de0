"""Rows of tables in text: CSV with any delimiter. Each row has as many cells as the header."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from promptmill.rows.delimiters import SEPARATOR_LINE, Dialect
from promptmill.rows.faults import NO_PROMPT, Faults, Notes, UnreadableInput

_MOST_CHARACTERS: Final = 64 * 1024 * 1024
"""Of one cell; the module's own bound of 131072 is less than a long prompt."""


class Table:
    """A table that is read once, row by row."""

    def __init__(
        self, lines: Iterable[tuple[int, str]], dialect: Dialect, faults: Faults, notes: Notes
    ) -> None:
        """Read up to the header.

        Raises:
            UnreadableInput: There is no header.
        """
        csv.field_size_limit(_MOST_CHARACTERS)
        self._dialect = dialect
        self._faults = faults
        self._notes = notes
        self._reader = csv.reader(
            self._texts(lines),
            delimiter=dialect.delimiter,
            skipinitialspace=dialect.skip_space,
            strict=True,
        )
        self._start = 1
        """The line at which the next row begins."""
        _, header = next(self._filled(), (0, list[str]()))
        if not header:
            raise UnreadableInput(NO_PROMPT)
        self._cells = header
        self.header: Sequence[str] = [name.strip() for name in header]

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """The rows by their columns' names, with the lines at which they begin.

        A row of another width than the header's is a fault. The header again, as where files were
        joined, is left out.
        """
        width = len(self.header)
        for number, row in self._filled():
            if row == self._cells:
                self._notes.leave_out(f"line {number}", "is the header again")
            elif len(row) == width:
                yield number, dict(zip(self.header, row, strict=True))
            else:
                self._faults.add(f"line {number}: {self._other_width(row)}")

    def _other_width(self, row: Sequence[str]) -> str:
        told = f"has {len(row)} cell{'s' * (len(row) != 1)} and the header {len(self.header)}"
        if len(row) < len(self.header):
            return told
        shown = "tabs" if self._dialect.delimiter == "\t" else f"`{self._dialect.delimiter}`"
        return (
            f"{told}; put quotation marks around a text with {shown} in it, or name another"
            " --delimiter"
        )

    def _filled(self) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not blank lines."""
        while True:
            # A quoted cell may hold line ends: a row begins after the end of the one before.
            start = self._start
            try:
                row = next(self._reader, None)
            except csv.Error as error:
                raise UnreadableInput(f"line {start}: {_told(error)}") from None
            if row is None:
                return
            self._start = self._reader.line_num + 1
            if len(row) > 1 or (row and row[0].strip()):
                yield start, row

    def _texts(self, lines: Iterable[tuple[int, str]]) -> Iterator[str]:
        is_first = True
        for _, line in lines:
            if is_first and line.strip():
                is_first = False
                if SEPARATOR_LINE.fullmatch(line):
                    yield "\n"
                    continue
            yield line


def _told(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text or "field limit" in text:
        return "a quotation mark is opened in this row, and not closed"
    if "expected after" in text:
        return (
            "a text goes on behind its closing quotation mark; inside a text they are written"
            ' twice, ""'
        )
    if "new-line character" in text:
        return "has a carriage return inside; put quotation marks around that text"
    return text

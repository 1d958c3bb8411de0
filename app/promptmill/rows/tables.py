"""Tables in text: detection of the delimiter, and rows with as many cells as the header.

The header decides: a character that does not occur in the header is not the delimiter, however
often it occurs below. `csv.Sniffer` counts characters instead, and mistakes the commas of sentences
for delimiters.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from promptmill.rows.faults import Faults, Notes, UnreadableInput

CANDIDATES: Final = (",", ";", "\t", "|")
_NAMES: Final = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_MOST_ROWS: Final = 200
SEPARATOR_LINE: Final = re.compile(r'"?sep=(.)"?[,;\t]*\r?\n?', re.IGNORECASE)
"""First line by which Excel declares the delimiter."""
_RULER: Final = re.compile(r"[|\s]*(:?--+:?[|\s]*)+")
_MOST_CHARACTERS: Final = 64 * 1024 * 1024
"""Most characters of a cell; the default of `csv`, 131072, is shorter than a long prompt."""


class Dialect(NamedTuple):
    """Separation of a table's cells."""

    delimiter: str
    skip_space: bool = False
    """Whether spaces after a delimiter belong to it, as in `id, prompt`."""


def delimiter_named(text: str) -> str:
    r"""Parse the value of --delimiter: a character, `tab` or `\t`."""
    found = _NAMES.get(text.lower(), text)
    if len(found) != 1 or found in '\r\n"' or found.isalnum():
        raise UnreadableInput(f"--delimiter takes one character such as , ; | or tab, not {text!r}")
    return found


def dialect_of(head: str, *, is_whole: bool, wanted: Collection[str], default: str) -> Dialect:
    """Detect the dialect of a table; `wanted` are names that its header should have."""
    lines = head.splitlines(keepends=True) if "\n" not in head else head.split("\n")
    if "\n" in head:
        lines = [f"{line}\n" for line in lines]
    if not is_whole:
        lines.pop()
    begin = next((index for index, line in enumerate(lines) if line.strip()), len(lines))
    if begin < len(lines) and (told := SEPARATOR_LINE.fullmatch(lines[begin])):
        return Dialect(told[1])
    tried = {one: _rows(lines, one) for one in CANDIDATES}
    fitting = {one: rows for one, rows in tried.items() if rows and len(rows[0]) > 1}
    if not fitting:
        return Dialect(default)
    scores = {one: _score(rows, wanted) for one, rows in fitting.items()}
    best = max(scores.values())
    found = [one for one, score in scores.items() if score == best]
    if len(found) > 1:
        named = " or ".join("tab" if one == "\t" else one for one in found)
        raise UnreadableInput(f"the cells may be separated by {named}: say which with --delimiter")
    header = fitting[found[0]][0]
    return Dialect(found[0], skip_space=all(name.startswith(" ") for name in header[1:]))


def _score(rows: Sequence[Sequence[str]], wanted: Collection[str]) -> tuple[int, float]:
    """Number of wanted names in the header, and the share of rows of the header's width."""
    names = {name.strip().casefold() for name in rows[0]}
    below = rows[1:]
    same = sum(len(row) == len(rows[0]) for row in below)
    return len(names & {name.casefold() for name in wanted}), same / len(below) if below else 1.0


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Parse the first rows that are not blank, up to the first error."""
    found: list[list[str]] = []
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    # The last row may be cut, and a wrong delimiter leaves quotation marks open.
    with contextlib.suppress(csv.Error):
        found.extend(row for row in islice(reader, _MOST_ROWS) if any(map(str.strip, row)))
    return found


class Table:
    """Table that can be read once, row by row."""

    def __init__(
        self, lines: Iterable[tuple[int, str]], dialect: Dialect, faults: Faults, notes: Notes
    ) -> None:
        """Read the header."""
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
        """Line at which the next row begins."""
        _, header = next(self._filled(), (0, list[str]()))
        if not header:
            raise UnreadableInput("it has no prompts")
        self._cells = header
        self.header: Sequence[str] = [name.strip() for name in header]

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the rows by column names, with the lines at which they begin.

        A row that is not as wide as the header is a fault. A repeated header, as in joined files,
        is left out.
        """
        width = len(self.header)
        for number, row in self._filled():
            if row == self._cells:
                self._notes.leave_out(f"line {number}", "is the header again")
            elif self._dialect.delimiter == "|" and _RULER.fullmatch("|".join(row)):
                raise UnreadableInput(f"line {number}: belongs to a Markdown table: save it as CSV")
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
        """Yield the rows that are not blank lines."""
        while True:
            # A quoted cell may hold line ends, so a row begins where the previous row ended.
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
            "a text continues after its closing quotation mark; inside a text the mark is"
            ' doubled, ""'
        )
    if "new-line character" in text:
        return "has a carriage return inside; put quotation marks around that text"
    return text

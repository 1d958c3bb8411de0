"""Which character separates the cells of a table: found out by reading its beginning with each.

The header decides: a delimiter that does not occur there is none, however many of them stand in
the texts below. `csv.Sniffer` counts characters instead, and takes the commas of sentences for it.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from promptmill.rows.faults import UnreadableInput

CANDIDATES: Final = (",", ";", "\t", "|")
_NAMES: Final = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_MOST_ROWS: Final = 200
SEPARATOR_LINE: Final = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)
"""The first line by which Excel is told the delimiter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How the cells of a table are separated."""

    delimiter: str
    skip_space: bool = False
    """Whether the spaces after a delimiter are part of it, as in `id, prompt`."""


def delimiter_named(text: str) -> str:
    r"""The character that --delimiter says: itself, `tab` or `\t`.

    Raises:
        UnreadableInput: It is no single character, or one that cannot be a delimiter.
    """
    found = _NAMES.get(text.lower(), text)
    if len(found) != 1 or found in '\r\n"' or found.isalnum():
        raise UnreadableInput(f"--delimiter takes one character such as , ; | or tab, not {text!r}")
    return found


def dialect_of(head: str, *, is_whole: bool, wanted: Collection[str], default: str) -> Dialect:
    """The dialect of the table that begins so; `wanted` are names that its header should have.

    Raises:
        UnreadableInput: Two delimiters fit equally well.
    """
    lines = head.splitlines(keepends=True) if "\n" not in head else head.split("\n")
    if "\n" in head:
        lines = [f"{line}\n" for line in lines]
    if not is_whole:
        lines.pop()
    begin = next((index for index, line in enumerate(lines) if line.strip()), len(lines))
    if begin < len(lines) and (told := SEPARATOR_LINE.fullmatch(lines[begin])):
        return Dialect(delimiter=told[1])
    tried = {one: _rows(lines, one) for one in CANDIDATES}
    fitting = {one: rows for one, rows in tried.items() if rows and len(rows[0]) > 1}
    if not fitting:
        return Dialect(delimiter=default)
    scores = {one: _score(rows, wanted) for one, rows in fitting.items()}
    best = max(scores.values())
    found = [one for one, score in scores.items() if score == best]
    if len(found) > 1:
        named = " or ".join("tab" if one == "\t" else one for one in found)
        raise UnreadableInput(f"the cells may be separated by {named}: say which with --delimiter")
    header = fitting[found[0]][0]
    return Dialect(delimiter=found[0], skip_space=all(name.startswith(" ") for name in header[1:]))


def _score(rows: Sequence[Sequence[str]], wanted: Collection[str]) -> tuple[int, float]:
    """How many of the wanted names the header has, and the share of rows of its width."""
    names = {name.strip().casefold() for name in rows[0]}
    below = rows[1:]
    same = sum(len(row) == len(rows[0]) for row in below)
    return len(names & {name.casefold() for name in wanted}), same / len(below) if below else 1.0


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """The first rows that are not blank, up to the first that cannot be read so."""
    found: list[list[str]] = []
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    # The last row may be cut, and a delimiter that is none leaves quotation marks open.
    with contextlib.suppress(csv.Error):
        found.extend(row for row in islice(reader, _MOST_ROWS) if any(map(str.strip, row)))
    return found

"""Rows of a file, a pipe or a folder, read again at each iteration in constant memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from promptmill.rows.columnar import PARQUET_MAGIC, ZIP_MAGIC, excel_table, parquet_table
from promptmill.rows.detection import FileFormat, extension_of, format_of, json_look
from promptmill.rows.faults import Faults, Notes, UnreadableInput
from promptmill.rows.folders import HEADER, files_of, is_folder, texts_of
from promptmill.rows.json_values import JsonStream, batch_body, values_of_lines
from promptmill.rows.opening import (
    STDIN,
    Opened,
    broken_gzip,
    encoding_of,
    head_text,
    is_stream,
    lines_of,
    opened,
    pieces_of,
)
from promptmill.rows.tables import Dialect, Table, delimiter_named, dialect_of

_DEFAULT_DELIMITERS: Final = {".tsv": "\t", ".tab": "\t", ".psv": "|"}
_BINARY: Final = {PARQUET_MAGIC: FileFormat.PARQUET, ZIP_MAGIC: FileFormat.XLSX}

Rows = Iterable[tuple[int, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Options for reading an input; options that are None are detected."""

    format: FileFormat | None = None
    encoding: str | None = None
    delimiter: str | None = None
    wanted: frozenset[str] = frozenset({"prompt"})
    """Columns that are looked for; a table's delimiter is recognised by them."""
    are_named: bool = False
    """Whether a person named columns, so that the input must have columns."""


class RowFile:
    """Numbered rows of one input: texts, JSON values, or values by column names.

    An iteration fills `notes`, and raises `UnreadableInput` for the faults found, including those
    that the caller has added to `faults` meanwhile.
    """

    def __init__(self, name: str, reading: Reading) -> None:
        """Store how to read `name`: a file, a folder, a pattern, or `-` for stdin."""
        self.name = name
        self.is_read_once = is_stream(name)
        self.is_folder = False
        self.folder = Path()
        """Path of the input."""
        self.format: FileFormat | None = reading.format
        self.header: Sequence[str] | None = None
        """Names of a table's columns."""
        self.batch_fields: dict[str, Any] = {}
        """Fields beside `prompts`, if the input is a whole batch."""
        self.notes = Notes()
        self.faults = Faults()
        self._reading = reading
        self._label = "line"
        self._names: list[str] = []

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Yield the rows.

        Raises:
            OSError: The file cannot be read.
            UnreadableInput: A row cannot be used.
        """
        self.notes, self.faults = Notes(), Faults()
        with ExitStack() as stack, broken_gzip():
            yield from self._rows(stack)
        self.faults.check()

    def place_of(self, number: int) -> str:
        """Name the place of a row: `line 7`, or the name of a file in a folder."""
        return self._names[number] if self.is_folder else f"{self._label} {number}"

    def _rows(self, stack: ExitStack) -> Rows:
        name, sheet = _sheet_of(self.name)
        self.is_folder = name != STDIN and is_folder(name)
        if self.is_folder:
            files = files_of(name)
            self._names, self.header = [shown for shown, _ in files], HEADER
            return texts_of(files, self._reading.encoding, self.faults, self.notes)
        found = stack.enter_context(opened(name))
        self.folder = Path() if name == STDIN else Path(name).parent
        binary = next((one for magic, one in _BINARY.items() if found.head.startswith(magic)), None)
        if binary is None:
            return self._rows_of_text(found)
        self.format, self._label = binary, "row"
        if binary is FileFormat.PARQUET:
            self.header, rows = parquet_table(found.file, stack)
        else:
            self.header, rows = excel_table(found.file, sheet, stack, self.faults)
        return rows

    def _rows_of_text(self, found: Opened) -> Rows:
        reading = self._reading
        if reading.format in _BINARY.values():
            raise UnreadableInput(f"is not a {reading.format} file")
        encoding = encoding_of(found.head, reading.encoding)
        head = head_text(found, encoding)
        look = json_look(head, is_whole=found.is_whole)
        kind = reading.format or (FileFormat.CSV if reading.delimiter is not None else None)
        if kind is None:
            kind = format_of(
                head,
                self.name,
                look,
                wanted=reading.wanted if reading.are_named else None,
                is_whole=found.is_whole,
            )
        self.format = kind
        lines = partial(lines_of, found.file, encoding, head)
        if kind in {FileFormat.JSON, FileFormat.JSONL}:
            if look.form == "lines":
                return values_of_lines(lines(self.faults.add), self.faults)
            pieces = pieces_of(found.file, encoding)
            if look.form == "stream":
                return JsonStream(pieces)
            prompts, self.batch_fields = batch_body(pieces)
            self._label = "prompt"
            return enumerate(prompts, start=1)
        marks_are_text = reading.encoding is not None
        if kind is FileFormat.TEXT:
            return _filled(lines(self.faults.add, marks_are_text=marks_are_text), self.notes)
        # Reading cannot continue after an undecodable line: it may have opened a quotation.
        rows = lines(_raise, marks_are_text=marks_are_text)
        table = Table(rows, self._dialect(head, is_whole=found.is_whole), self.faults, self.notes)
        self.header = table.header
        return table.rows()

    def _dialect(self, head: str, *, is_whole: bool) -> Dialect:
        if self._reading.delimiter is not None:
            return Dialect(delimiter_named(self._reading.delimiter))
        default = _DEFAULT_DELIMITERS.get(extension_of(self.name), ",")
        return dialect_of(head, is_whole=is_whole, wanted=self._reading.wanted, default=default)


def _filled(lines: Iterable[tuple[int, str]], notes: Notes) -> Rows:
    """Yield the lines of a text that are not blank, and count the blank lines between them."""
    blank: int | None = None
    for number, line in lines:
        text = line.removesuffix("\n").removesuffix("\r")
        if text.strip():
            notes.blank_lines += blank or 0
            blank = 0
            yield number, text
        elif blank is not None:
            blank += 1


def _sheet_of(name: str) -> tuple[str, str | None]:
    """Split `book.xlsx#Sheet` into file and sheet, unless a file has the whole name."""
    file, mark, sheet = name.rpartition("#")
    is_sheet = mark and extension_of(file).startswith(".xls") and not Path(name).exists()
    return (file, sheet) if is_sheet else (name, None)


def _raise(fault: str) -> None:
    raise UnreadableInput(fault)

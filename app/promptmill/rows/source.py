"""The prompts of a file, a pipe or a folder, read again at each iteration, in constant memory."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from promptmill.rows.columnar import PARQUET_MAGIC, ZIP_MAGIC, excel_table, parquet_table
from promptmill.rows.columns import Columns, Prompt, Shape
from promptmill.rows.delimiters import Dialect, delimiter_named, dialect_of
from promptmill.rows.detection import (
    FileFormat,
    JsonForm,
    extension_of,
    format_of,
    json_look,
)
from promptmill.rows.faults import NO_PROMPT, Faults, Notes, UnreadableInput
from promptmill.rows.folders import HEADER, files_of, is_folder, texts_of
from promptmill.rows.json_prompts import PromptMaker, batch_body, text_prompts, values_of_lines
from promptmill.rows.json_values import JsonStream
from promptmill.rows.opening import (
    STDIN,
    Opened,
    broken_gzip,
    encoding_of,
    head_text,
    lines_of,
    opened,
    pieces_of,
    refuse_inner_mark,
    refuse_no_text,
)
from promptmill.rows.tables import Table

_DEFAULT_DELIMITERS: Final = {".tsv": "\t", ".tab": "\t", ".psv": "|"}
_MOST_BATCH_BYTES: Final = 32 * 1024 * 1024
_BINARY: Final = {PARQUET_MAGIC: FileFormat.PARQUET, ZIP_MAGIC: FileFormat.XLSX}

Placed = tuple[int, Prompt]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How an input is to be read; what is not said is found out."""

    format: FileFormat | None = None
    encoding: str | None = None
    delimiter: str | None = None
    columns: Columns = field(default_factory=Columns)
    limit: int | None = None
    """Only so many prompts."""
    shuffle: int | None = None
    """The seed of a random order; with a limit, of a random choice."""


class PromptFile:
    """The prompts of one input; what is left out of it is in `notes` after an iteration."""

    def __init__(self, name: str, reading: Reading) -> None:
        """`name` is a file's, a folder's or a pattern; `-` is stdin, which can be read once."""
        self.name = name
        self.is_read_once = name == STDIN
        self.notes = Notes()
        self.batch_fields: dict[str, Any] = {}
        """Of an input that is a whole batch: what it says beside its prompts."""
        self.format: FileFormat | None = reading.format
        """What the input turned out to be, once it has been read."""
        self._reading = reading
        self._places = array("Q")
        """Of the prompts, in order: eight bytes each."""
        self._label = "line"
        self._names: list[str] | None = None

    def __iter__(self) -> Iterator[Prompt]:
        """The prompts.

        Raises:
            OSError: The file cannot be read.
            UnreadableInput: Something in it cannot be used, or there is no prompt at all.
        """
        self.notes = Notes()
        del self._places[:]
        with ExitStack() as stack:
            stack.enter_context(broken_gzip())
            for place, prompt in self._sampled(self._prompts(stack)):
                self._places.append(place)
                yield prompt
        if not self._places:
            for remark in self.notes.remarks:
                raise UnreadableInput(NO_PROMPT, remark)
            raise UnreadableInput(NO_PROMPT)

    def place_of(self, index: int) -> str | None:
        """Where that prompt stands, in the user's words; None if it has not been read."""
        if index >= len(self._places):
            return None
        place = self._places[index]
        return f"{self._label} {place}" if self._names is None else self._names[place]

    def _sampled(self, prompts: Iterator[Placed]) -> Iterable[Placed]:
        limit, seed = self._reading.limit, self._reading.shuffle
        if seed is None:
            return islice(prompts, limit)
        chance = random.Random(seed)  # noqa: S311 - a sample that can be drawn again
        chosen = list(islice(prompts, limit))
        for number, prompt in enumerate(prompts, start=len(chosen) + 1):
            place = chance.randrange(number)
            if place < len(chosen):
                chosen[place] = prompt
        chance.shuffle(chosen)
        return chosen

    def _prompts(self, stack: ExitStack) -> Iterator[Placed]:
        faults = Faults()
        name, sheet = _sheet_of(self.name)
        if name != STDIN and is_folder(name):
            files = files_of(name)
            self._names = [shown for shown, _ in files]
            texts = texts_of(files, self._reading.encoding, faults, self.notes)
            columns = self._reading.columns
            shape = Shape(HEADER, _of_folder(columns), folder=None)
            return self._of_rows(texts, shape, faults)
        found = stack.enter_context(opened(name))
        folder = Path() if name == STDIN else Path(name).parent
        binary = next(
            (kind for magic, kind in _BINARY.items() if found.head.startswith(magic)), None
        )
        if binary is not None:
            self.format, self._label = binary, "row"
            if binary is FileFormat.PARQUET:
                table = parquet_table(found.file, stack)
            else:
                table = excel_table(found.file, sheet, stack, faults)
            shape = Shape(table.header, self._reading.columns, folder=folder)
            return self._of_rows(table.rows(), shape, faults)
        if self._reading.format in _BINARY.values():
            raise UnreadableInput(f"is no {self._reading.format} file")
        return self._of_text(found, folder, faults)

    def _of_text(self, found: Opened, folder: Path, faults: Faults) -> Iterator[Placed]:
        reading = self._reading
        refuse_no_text(found.head)
        encoding = encoding_of(found.head, reading.encoding)
        head = head_text(found, encoding)
        look = json_look(head, is_whole=found.is_whole)
        kind = reading.format
        if kind is None and reading.delimiter is not None:
            kind = FileFormat.CSV
        if kind is None:
            kind = format_of(head, self.name, reading.columns, look, is_whole=found.is_whole)
        self.format = kind
        self._label = "line"
        maker = PromptMaker(reading.columns, faults, self.notes, folder=folder)
        if kind in {FileFormat.JSON, FileFormat.JSONL}:
            if look.form is JsonForm.BATCH:
                return self._of_batch(pieces_of(found.file, encoding), folder, faults)
            if look.form is JsonForm.STREAM:
                return maker.prompts(JsonStream(pieces_of(found.file, encoding)))
            lines = lines_of(found.file, encoding, head, faults.add)
            return maker.prompts(values_of_lines(lines, faults))

        def check(number: int, line: str) -> None:
            refuse_inner_mark(number, line, is_named=reading.encoding is not None)

        if kind is FileFormat.TEXT:
            lines = lines_of(found.file, encoding, head, faults.add)
            return text_prompts(lines, maker, self.notes, check)
        lines = lines_of(found.file, encoding, head, _raise)
        dialect = self._dialect(head, is_whole=found.is_whole)
        table = Table(_checked(lines, check), dialect, faults, self.notes)
        shape = Shape(table.header, reading.columns, folder=folder)
        return self._of_rows(table.rows(), shape, faults)

    def _of_rows(
        self, rows: Iterable[tuple[int, dict[str, Any]]], shape: Shape, faults: Faults
    ) -> Iterator[Placed]:
        for number, values in rows:
            place = f"{self._label} {number}" if self._names is None else self._names[number]
            try:
                prompt = shape.prompt_of(values)
            except ValueError as error:
                faults.add(f"{place}: {error}")
                continue
            if prompt is None:
                self.notes.leave_out(place, "has no prompt")
            elif not faults:
                yield number, prompt
        faults.check()

    def _of_batch(self, pieces: Iterator[str], folder: Path, faults: Faults) -> Iterator[Placed]:
        body = batch_body(_bounded(pieces))
        prompts = body.pop("prompts")
        self.batch_fields = body
        self._label = "prompt"
        maker = PromptMaker(
            self._reading.columns, faults, self.notes, label="prompt", folder=folder
        )
        return maker.prompts(enumerate(prompts, start=1))

    def _dialect(self, head: str, *, is_whole: bool) -> Dialect:
        if self._reading.delimiter is not None:
            return Dialect(delimiter=delimiter_named(self._reading.delimiter))
        default = _DEFAULT_DELIMITERS.get(extension_of(self.name), ",")
        wanted = self._reading.columns.wanted()
        return dialect_of(head, is_whole=is_whole, wanted=wanted, default=default)


def _sheet_of(name: str) -> tuple[str, str | None]:
    """`book.xlsx#Sheet` as the file and its sheet, unless a file is called so."""
    file, mark, sheet = name.rpartition("#")
    if mark and extension_of(file).startswith(".xls") and not Path(name).exists():
        return file, sheet
    return name, None


def _of_folder(columns: Columns) -> Columns:
    """A file's text is the prompt and its name the id, unless something else was said."""
    if columns.prompt is None and columns.template is None:
        columns = replace(columns, prompt="text")
    return replace(columns, id="name") if columns.id is None else columns


def _checked(
    lines: Iterable[tuple[int, str]], check: Callable[[int, str], None]
) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        check(number, line)
        yield number, line


def _bounded(pieces: Iterable[str]) -> Iterator[str]:
    read = 0
    for piece in pieces:
        read += len(piece)
        if read > _MOST_BATCH_BYTES:
            raise UnreadableInput(
                "is a whole batch of more than 32 MiB: write its prompts as lines, one JSON object"
                " each"
            )
        yield piece


def _raise(fault: str) -> None:
    raise UnreadableInput(fault)

"""Results as tables: the kept columns of each row first, then what came of its prompt."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import islice
from pathlib import PurePath
from typing import IO, Any, Final, cast

from promptmill.rows.columnar import library
from promptmill.rows.faults import UnreadableInput
from promptmill.rows.opening import MARK

_DATA: Final = "data"
_ANSWER: Final = "response"
_ROWS_AT_ONCE: Final = 1_000
_MOST_CELL: Final = 32_767
_MOST_SHEET_ROWS: Final = 1_048_576
_ESCAPED: Final = re.compile(r"_(?=x[0-9a-fA-F]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""What XML cannot hold, and what would be read as its escape."""
_MOST_INTEGER: Final = 2**63


class TableFormat(StrEnum):
    """The forms of a table of results."""

    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"


class _Layout:
    """The columns of a table, found by reading all records once."""

    def __init__(self, lines: Iterable[bytes], *, expand: bool) -> None:
        self._expand = expand
        self._kept: dict[str, set[type]] = {}
        self._fields: dict[str, set[type]] = {}
        for line in lines:
            record = json.loads(line)
            for name, value in self._of_row(record).items():
                self._kept.setdefault(name, set()).add(_kind(value))
            for name, value in record.items():
                if name != _DATA:
                    self._fields.setdefault(name, set()).add(_kind(value, name))

    @property
    def header(self) -> list[str]:
        """The names: a field of the result is `result_…` where a kept column has its name."""
        own = [f"result_{name}" if name in self._kept else name for name in self._fields]
        return [*self._kept, *own]

    @property
    def kinds(self) -> list[set[type]]:
        """The types that each column holds."""
        return [*self._kept.values(), *self._fields.values()]

    def cells(self, line: bytes) -> list[Any]:
        """The cells of a record."""
        record = json.loads(line)
        row = self._of_row(record)
        return [
            *(row.get(name) for name in self._kept),
            *(record.get(name) for name in self._fields),
        ]

    def _of_row(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        kept: dict[str, Any] = record.get(_DATA) or {}
        return {**kept, **_answered(record.get(_ANSWER))} if self._expand else kept


def format_of_output(name: str) -> str:
    """What the extension of a file to write says: `csv`, `jsonl`, `parquet` or `xlsx`."""
    extension = PurePath(name).suffix.lower().removeprefix(".")
    known = {"ndjson": "jsonl", "jsonl": "jsonl"} | {one.value: one.value for one in TableFormat}
    if extension not in known:
        raise UnreadableInput(f"ends in none of {', '.join(f'.{one}' for one in known)}")
    return known[extension]


def write_table(
    pieces: Iterable[bytes],
    target: IO[bytes],
    table_format: TableFormat,
    *,
    mark: bool = False,
    expand: bool = False,
) -> int:
    """Write records of NDJSON as a table, in constant memory, and return how many there are.

    `mark` begins CSV with a byte order mark, by which spreadsheets know UTF-8; `expand` makes
    columns of the fields of answers that are JSON objects.
    """
    with tempfile.TemporaryFile() as file:
        file.writelines(pieces)
        file.seek(0)
        layout = _Layout(file, expand=expand)
        file.seek(0)
        rows = map(layout.cells, file)
        if table_format is TableFormat.CSV:
            return _write_csv(rows, target, layout, mark=mark)
        write = _write_parquet if table_format is TableFormat.PARQUET else _write_excel
        return write(rows, target, layout)


def _write_csv(rows: Iterator[list[Any]], target: IO[bytes], layout: _Layout, *, mark: bool) -> int:
    text = io.TextIOWrapper(target, encoding="utf-8", newline="")
    text.write(MARK if mark else "")
    writer = csv.writer(text)  # RFC 4180: quotes doubled, lines end in CR LF.
    writer.writerow(layout.header)
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - told at the end
        writer.writerow([_plain(cell) for cell in row])
    text.detach()
    return count


def _write_parquet(rows: Iterator[list[Any]], target: IO[bytes], layout: _Layout) -> int:
    arrow = library("pyarrow", "writing Parquet")
    parquet = library("pyarrow.parquet", "writing Parquet")
    numbers = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}
    numbers[list] = arrow.list_(arrow.float32())
    types = [_single(kinds) for kinds in layout.kinds]
    schema = arrow.schema(
        [
            (name, numbers.get(kind, arrow.string()))
            for name, kind in zip(layout.header, types, strict=True)
        ]
    )
    count = 0
    with parquet.ParquetWriter(target, schema) as writer:
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            columns = [
                [_text(cell) if kind is str else cell for cell in column]
                for kind, column in zip(types, zip(*some, strict=True), strict=True)
            ]
            writer.write_table(arrow.table(columns, schema=schema))
            count += len(some)
    return count


def _write_excel(rows: Iterator[list[Any]], target: IO[bytes], layout: _Layout) -> int:
    openpyxl = library("openpyxl", "writing Excel")
    cell_class = library("openpyxl.cell", "writing Excel").WriteOnlyCell
    book = openpyxl.Workbook(write_only=True)
    page = book.create_sheet("results")

    def cell_of(value: Any, column: str, row: int) -> Any:  # noqa: ANN401 - of the library
        if row > _MOST_SHEET_ROWS:
            raise UnreadableInput("has more rows than a sheet of Excel takes; write .csv")
        plain = _plain(value)
        if not isinstance(plain, str):
            return plain
        escaped = _ESCAPED.sub(lambda found: f"_x{ord(found[0]):04X}_", plain)
        if len(escaped) > _MOST_CELL:
            raise UnreadableInput(
                f"row {row}: {column} has {len(escaped)} characters, and a cell of Excel takes"
                f" {_MOST_CELL}; write .csv or .parquet"
            )
        cell = cell_class(page, escaped)
        cell.data_type = "s"  # A text that begins with = is no formula.
        return cell

    header, count = layout.header, 0
    try:
        page.append([cell_of(name, name, 1) for name in header])
        for count, row in enumerate(rows, start=1):
            page.append(
                [cell_of(value, name, count + 1) for value, name in zip(row, header, strict=True)]
            )
    except UnreadableInput:
        page.close()
        raise
    book.save(target)
    return count


def _answered(answer: object) -> Mapping[str, Any]:
    """The fields of an answer that is a JSON object."""
    try:
        value = json.loads(answer) if isinstance(answer, str) else None
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A cell as texts and numbers: the rest stands as JSON, as the service writes it."""
    return _json(cast("object", value)) if isinstance(value, bool | list | dict) else value


def _text(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return value if value is None or isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _kind(value: object, name: str = "") -> type:
    if name == "embedding" and isinstance(value, list):
        return list
    is_large = isinstance(value, int) and abs(value) >= _MOST_INTEGER
    return str if is_large or isinstance(value, list | dict) else type(value)


def _single(kinds: set[type]) -> type:
    """The type that holds all values of a column; whole numbers and others are numbers."""
    found = kinds - {type(None)}
    if found == {int, float}:
        return float
    return found.pop() if len(found) == 1 else str

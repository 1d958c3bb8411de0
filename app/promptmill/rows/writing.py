"""Tables written to files: CSV, Parquet and Excel, row by row."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import IO, Any, Final, cast

from promptmill.rows.columnar import library
from promptmill.rows.faults import UnreadableInput
from promptmill.rows.opening import MARK

_ROWS_AT_ONCE: Final = 1_000
_GROUP_BYTES: Final = 4 * 1024 * 1024
"""Bytes of a row group of Parquet; each group's metadata stays in memory to the end."""
_MOST_CELL: Final = 32_767
_MOST_SHEET_ROWS: Final = 1_048_576
_ESCAPED: Final = re.compile(r"_(?=x[0-9a-fA-F]{4}_)|[\x00-\x08\x0b-\x1f\ufffe\uffff]")
"""Characters that XML cannot hold, and texts that look like their escapes."""


class TableFormat(StrEnum):
    """Formats of a table of results."""

    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"


Header = tuple[Sequence[str], Sequence[set[type]]]
"""Column names, each with the types of its values."""


def write_table(
    rows: Iterator[list[Any]],
    target: IO[bytes],
    table_format: TableFormat,
    header: Header,
    *,
    mark: bool = False,
) -> None:
    """Write rows as a table, in constant memory.

    `mark` begins CSV with a byte order mark, by which spreadsheets recognise UTF-8.
    """
    if table_format is TableFormat.CSV:
        _write_csv(rows, target, header, mark=mark)
    else:
        write = _write_parquet if table_format is TableFormat.PARQUET else _write_excel
        write(rows, target, header)


def _write_csv(rows: Iterator[list[Any]], target: IO[bytes], header: Header, *, mark: bool) -> None:
    text = io.TextIOWrapper(target, encoding="utf-8", newline="")
    text.write(MARK if mark else "")
    writer = csv.writer(text)  # RFC 4180: quotation marks are doubled, lines end in CR LF.
    writer.writerow(header[0])
    writer.writerows([_plain(cell) for cell in row] for row in rows)
    text.detach()


def _write_parquet(rows: Iterator[list[Any]], target: IO[bytes], header: Header) -> None:
    arrow = library("pyarrow", "writing Parquet")
    parquet = library("pyarrow.parquet", "writing Parquet")
    numbers: dict[Any, Any] = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}
    # Lists are vectors of 32-bit numbers; any other list was encoded as a JSON text.
    numbers[list] = arrow.list_(arrow.float32())
    types = [_single(kinds) for kinds in header[1]]
    named = zip(header[0], types, strict=True)
    schema = arrow.schema([(name, numbers.get(kind, arrow.string())) for name, kind in named])
    group = schema.empty_table()
    with parquet.ParquetWriter(target, schema) as writer:
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            columns = [
                [_text(cell) if kind is str else cell for cell in column]
                for kind, column in zip(types, zip(*some, strict=True), strict=True)
            ]
            group = arrow.concat_tables([group, arrow.table(columns, schema=schema)])
            if group.nbytes >= _GROUP_BYTES:
                writer.write_table(group)
                group = schema.empty_table()
        writer.write_table(group)


def _write_excel(rows: Iterator[list[Any]], target: IO[bytes], header: Header) -> None:
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
        cell.data_type = "s"  # A text that begins with = must not become a formula.
        return cell

    names, _ = header
    try:
        page.append([cell_of(name, name, 1) for name in names])
        for number, row in enumerate(rows, start=2):
            named = zip(row, names, strict=True)
            page.append([cell_of(value, name, number) for value, name in named])
    except UnreadableInput:
        page.close()
        raise
    book.save(target)


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Convert a cell to text or a number; other values become JSON, as the service writes it."""
    return _json(cast("object", value)) if isinstance(value, bool | list | dict) else value


def _text(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return value if value is None or isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _single(kinds: set[type]) -> type:
    """The one type that holds all values of a column; mixed numbers become floats."""
    found = kinds - {type(None)}
    if found == {int, float}:
        return float
    return found.pop() if len(found) == 1 else str

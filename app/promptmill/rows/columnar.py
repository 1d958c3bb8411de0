"""Rows of Parquet files and Excel workbooks, by the libraries of the extra `promptmill[data]`."""

from __future__ import annotations

import importlib
import io
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import ModuleType
from typing import IO, Any, Final

from promptmill.rows.faults import Faults, UnreadableInput

PARQUET_MAGIC: Final = b"PAR1"
ZIP_MAGIC: Final = b"PK\x03\x04"
_ROWS_AT_ONCE: Final = 256
_ERRORS: Final = frozenset(
    {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"}
)
_FORMULA: Final = re.compile(rb"<f[ />]")
_ESCAPE: Final = re.compile(r"_x([0-9a-fA-F]{4})_")


class NoValue:
    """A cell that shows something in Excel and has no value in the file; `why` says so."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __str__(self) -> str:
        """Refuse to become a part of a text."""
        raise ValueError(self.why)


ColumnarTable = tuple[Sequence[str], Iterator[tuple[int, dict[str, Any]]]]
"""The names of the columns, and rows that are read once, numbered as a person counts them."""


def library(name: str, what: str) -> ModuleType:
    """A library of the extra."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UnreadableInput(
            f'{what} needs {package}, which is not installed: pip install "promptmill[data]"'
        ) from None


def parquet_table(file: IO[bytes], stack: ExitStack) -> ColumnarTable:
    """The table of a Parquet file, read some hundred rows at a time."""
    parquet = library("pyarrow.parquet", "reading Parquet")
    try:
        table = parquet.ParquetFile(_seekable(file, stack), pre_buffer=False)
        header: list[str] = table.schema_arrow.names
        schema = _in_microseconds(table.schema_arrow)
    except (OSError, ValueError) as error:
        raise UnreadableInput(f"is no readable Parquet file: {error}") from None

    def rows() -> Iterator[tuple[int, dict[str, Any]]]:
        number = 0
        try:
            for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, use_threads=False):
                for row in batch.cast(schema, safe=False).to_pylist():
                    number += 1
                    yield number, row
        except (OSError, ValueError) as error:
            raise UnreadableInput(f"row {number + 1}: cannot be read: {error}") from None

    return header, rows()


def _in_microseconds(schema: Any) -> Any:  # noqa: ANN401 - of the library
    """The schema with times as Python has them, which knows no nanoseconds."""
    arrow = library("pyarrow", "reading Parquet")
    for index, field in enumerate(schema):
        if arrow.types.is_timestamp(field.type) and field.type.unit == "ns":
            schema = schema.set(index, field.with_type(arrow.timestamp("us", field.type.tz)))
        elif arrow.types.is_duration(field.type) and field.type.unit == "ns":
            schema = schema.set(index, field.with_type(arrow.duration("us")))
    return schema


def excel_table(
    file: IO[bytes], sheet: str | None, stack: ExitStack, faults: Faults
) -> ColumnarTable:
    """The table of a sheet, the first one if none is named; its first filled row is the header."""
    openpyxl = library("openpyxl", "reading Excel")
    seekable = _seekable(file, stack)
    try:
        with zipfile.ZipFile(seekable) as packed:
            if not any(name.startswith("xl/") for name in packed.namelist()):
                raise UnreadableInput("is a ZIP archive, and no Excel workbook")
            has_formulas = any(map(_finds_formula, map(packed.open, _sheets_in(packed))))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Styles and extensions that have no part in it.
            books = [
                openpyxl.load_workbook(seekable, read_only=True, data_only=data_only)
                for data_only in ((True, False) if has_formulas else (True,))
            ]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UnreadableInput(f"is no readable Excel workbook: {error}") from None
    for book in books:
        stack.callback(book.close)
    name = _sheet_named(books[0], sheet)
    filled = _filled(*(book[name] for book in books))
    _, titles = next(filled, (0, ()))
    header = ["" if title is None else str(title).strip() for title in titles]
    while header and not header[-1]:
        header.pop()
    if not header:
        raise UnreadableInput("there is no prompt in it")
    return header, _excel_rows(filled, header, faults)


def _sheets_in(packed: zipfile.ZipFile) -> Iterator[str]:
    return (name for name in packed.namelist() if name.startswith("xl/worksheets/"))


def _finds_formula(part: IO[bytes]) -> bool:
    with part:
        last = b""
        while piece := part.read(io.DEFAULT_BUFFER_SIZE * 16):
            if _FORMULA.search(last + piece):
                return True
            last = piece[-2:]
    return False


def _sheet_named(book: Any, sheet: str | None) -> str:  # noqa: ANN401 - of the library
    """The sheet of that name; without one the only sheet that has a filled cell."""
    names: list[str] = [one.title for one in book.worksheets]
    if sheet is not None:
        if sheet not in names:
            raise UnreadableInput(f'has no sheet "{sheet}"; it has {", ".join(names)}')
        return sheet
    found = [name for name in names if next(_filled(book[name]), None) is not None]
    if len(found) > 1:
        raise UnreadableInput(
            f"has {len(found)} sheets: name one, as in FILE.xlsx#{found[0]}; it has"
            f" {', '.join(found)}"
        )
    if not found:
        raise UnreadableInput("there is no prompt in it")
    return found[0]


def _filled(page: Any, formulas: Any = None) -> Iterator[tuple[int, Sequence[Any]]]:  # noqa: ANN401 - of the library
    """The rows of a sheet that have a value or a formula, numbered."""
    page.reset_dimensions()
    rows = page.iter_rows(values_only=True)
    if formulas is not None:
        formulas.reset_dimensions()
        rows = map(_with_formulas, rows, formulas.iter_rows(values_only=True))
    for number, cells in enumerate(rows, start=1):
        if any(cell is not None for cell in cells):
            yield number, [_shown(cell) for cell in cells]


def _with_formulas(values: Sequence[Any], formulas: Sequence[Any]) -> Sequence[Any]:
    return [
        NoValue("has a formula without its value: open the workbook in Excel and save it")
        if value is None and formula is not None
        else value
        for value, formula in zip(values, formulas, strict=True)
    ]


def _shown(cell: Any) -> Any:  # noqa: ANN401 - any cell
    return NoValue(f"has Excel's error {cell}") if cell in _ERRORS else cell


def _excel_rows(
    filled: Iterator[tuple[int, Sequence[Any]]], header: Sequence[str], faults: Faults
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, cells in filled:
        beyond = [cell for cell in cells[len(header) :] if cell is not None]
        if beyond:
            faults.add(f"row {number}: has a cell beyond the header's {len(header)} columns")
            continue
        padded = (*map(_unescaped, cells), *(None,) * (len(header) - len(cells)))
        yield number, dict(zip(header, padded, strict=False))


def _unescaped(cell: Any) -> Any:  # noqa: ANN401 - any cell
    """A text as Excel shows it, which writes what XML cannot hold as `_x000D_`."""
    if isinstance(cell, str) and "_x" in cell:
        return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), cell)
    return cell


def _seekable(file: IO[bytes], stack: ExitStack) -> IO[bytes]:
    """The bytes in a file that can be read from its end, as both forms want it."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
    stack.callback(copy.close)
    shutil.copyfileobj(file, copy, io.DEFAULT_BUFFER_SIZE * 16)
    copy.seek(0)
    return copy

"""Rows of Parquet files and Excel workbooks, by the libraries of the extra `promptmill[data]`."""

from __future__ import annotations

import importlib
import io
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from types import ModuleType
from typing import IO, Any, Final

from promptmill.rows.faults import Faults, UnreadableInput

PARQUET_MAGIC: Final = b"PAR1"
ZIP_MAGIC: Final = b"PK\x03\x04"
_ROWS_AT_ONCE: Final = 256
_FORMULA: Final = re.compile(
    rb'<c r="([A-Z]+[0-9]+)"[^>]*><f(?:[^>]*/>|[^>]*>[^<]*</f>)(?:<v ?/>|<v></v>)?</c>'
)
"""Formula cell without a cached value, in a sheet's XML."""
_ESCAPE: Final = re.compile(r"_x([0-9a-fA-F]{4})_")
ColumnarTable = tuple[Sequence[str], Iterator[tuple[int, dict[str, Any]]]]
"""Column names, and rows that can be read once, numbered from 1."""


def library(name: str, what: str, install: str = '"promptmill[data]"') -> ModuleType:
    """Import a library of the extra `promptmill[data]`, or name the command that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UnreadableInput(
            f"{what} needs {package}, which is not installed: pip install {install}"
        ) from None


def parquet_table(file: IO[bytes], stack: ExitStack) -> ColumnarTable:
    """Read the table of a Parquet file, some hundred rows at a time."""
    parquet = library("pyarrow.parquet", "reading Parquet")
    try:
        table = parquet.ParquetFile(_seekable(file, stack), pre_buffer=False)
        header: list[str] = table.schema_arrow.names
    except (OSError, ValueError) as error:
        raise UnreadableInput(f"is not a readable Parquet file: {error}") from None

    return header, rows_of(table.iter_batches(_ROWS_AT_ONCE, use_threads=False))


def rows_of(batches: Iterable[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of Arrow's batches, numbered from 1, a few at a time."""
    number = 0
    try:
        for batch in map(_in_microseconds, batches):
            for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                for row in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                    number += 1
                    yield number, row
    except (OSError, ValueError) as error:
        raise UnreadableInput(f"row {number + 1}: cannot be read: {error}") from None


def _in_microseconds(batch: Any) -> Any:  # noqa: ANN401 - of the library
    """Convert a batch's times from nanoseconds, which Python's types lack, to microseconds."""
    arrow, schema = library("pyarrow", "reading Parquet"), batch.schema
    for index, field in enumerate(schema):
        if str(field.type).startswith("timestamp[ns"):
            schema = schema.set(index, field.with_type(arrow.timestamp("us", field.type.tz)))
    return batch.cast(schema, safe=False)


def excel_table(
    file: IO[bytes], sheet: str | None, stack: ExitStack, faults: Faults
) -> ColumnarTable:
    """Read the table of a sheet, by default the first; the first filled row is the header."""
    openpyxl = library("openpyxl", "reading Excel")
    seekable = _seekable(file, stack)
    try:
        with zipfile.ZipFile(seekable) as packed:
            if not any(name.startswith("xl/") for name in packed.namelist()):
                raise UnreadableInput("is a ZIP archive, but not an Excel workbook")
            _check_formulas(packed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Styles and extensions do not affect values.
            book = openpyxl.load_workbook(seekable, read_only=True, data_only=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UnreadableInput(f"is not a readable Excel workbook: {error}") from None
    stack.callback(book.close)
    filled = _filled(book[_sheet_named(book, sheet)])
    _, titles = next(filled, (0, ()))
    header = ["" if title is None else str(title).strip() for title in titles]
    while header and not header[-1]:
        header.pop()
    if not header:
        raise UnreadableInput("it has no prompts")
    return header, _excel_rows(filled, header, faults)


def _check_formulas(packed: zipfile.ZipFile) -> None:
    for name in packed.namelist():
        last = b""
        with packed.open(name) as part:
            while name.startswith("xl/worksheets/") and (piece := part.read(2**15)):
                if found := _FORMULA.search(last + piece):
                    raise UnreadableInput(
                        f"the formula in {found[1].decode()} has no value in the file: open the"
                        " workbook in a spreadsheet program and save it"
                    )
                last = piece


def _sheet_named(book: Any, sheet: str | None) -> str:  # noqa: ANN401 - of the library
    """Find a sheet by name; without a name, the only sheet with a filled cell."""
    names: list[str] = [one.title for one in book.worksheets]
    if sheet in names:
        return sheet
    if sheet is not None:
        raise UnreadableInput(f'has no sheet "{sheet}"; it has {", ".join(names)}')
    found = [name for name in names if next(_filled(book[name]), None) is not None]
    if len(found) > 1:
        told = f"has {len(found)} sheets: name one, as in FILE.xlsx#{found[0]}: {', '.join(found)}"
        raise UnreadableInput(told)
    return (found or names)[0]


def _filled(page: Any) -> Iterator[tuple[int, Sequence[Any]]]:  # noqa: ANN401 - of the library
    """Yield the rows of a sheet that are not blank, with their numbers."""
    page.reset_dimensions()
    for number, cells in enumerate(page.iter_rows(values_only=True), start=1):
        if any(cell is not None for cell in cells):
            yield number, cells


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
    """Decode the escapes, such as `_x000D_`, of characters that XML cannot hold."""
    if isinstance(cell, str) and "_x" in cell:
        return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), cell)
    return cell


def _seekable(file: IO[bytes], stack: ExitStack) -> IO[bytes]:
    """Copy a stream to a file that can be read from its end, as both formats require."""
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
    stack.callback(copy.close)
    shutil.copyfileobj(file, copy, io.DEFAULT_BUFFER_SIZE * 16)
    copy.seek(0)
    return copy

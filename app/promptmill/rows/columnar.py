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
_ESCAPE: Final = re.compile(r"_x([0-9a-fA-F]{4})_")

ColumnarTable = tuple[Sequence[str], Iterator[tuple[int, dict[str, Any]]]]
"""The names of the columns, and rows that are read once, numbered as a person counts them."""


def library(name: str, what: str, install: str = '"promptmill[data]"') -> ModuleType:
    """A library that is not installed with the package itself."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise UnreadableInput(
            f"{what} needs {package}, which is not installed: pip install {install}"
        ) from None


def parquet_table(file: IO[bytes], stack: ExitStack) -> ColumnarTable:
    """The table of a Parquet file, read some hundred rows at a time."""
    parquet = library("pyarrow.parquet", "reading Parquet")
    try:
        table = parquet.ParquetFile(_seekable(file, stack), pre_buffer=False)
        header: list[str] = table.schema_arrow.names
    except (OSError, ValueError) as error:
        raise UnreadableInput(f"is no readable Parquet file: {error}") from None

    return header, rows_of(table.iter_batches(_ROWS_AT_ONCE, use_threads=False))


def rows_of(batches: Iterable[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of Arrow's batches, numbered from 1; not all of a batch are made at once."""
    number = 0
    try:
        for batch in batches:
            for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
                for row in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                    number += 1
                    yield number, row
    except (OSError, ValueError) as error:
        raise UnreadableInput(f"row {number + 1}: cannot be read: {error}") from None


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Styles and extensions that have no part in it.
            book = openpyxl.load_workbook(seekable, read_only=True, data_only=True)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UnreadableInput(f"is no readable Excel workbook: {error}") from None
    stack.callback(book.close)
    names: list[str] = [one.title for one in book.worksheets]
    if sheet is not None and sheet not in names:
        raise UnreadableInput(f'has no sheet "{sheet}"; it has {", ".join(names)}')
    if sheet is None and len(names) > 1:
        raise UnreadableInput(
            f"has {len(names)} sheets: name one, as in FILE.xlsx#{names[0]}; it has"
            f" {', '.join(names)}"
        )
    page = book[sheet if sheet is not None else names[0]]
    page.reset_dimensions()
    filled = (
        (number, cells)
        for number, cells in enumerate(page.iter_rows(values_only=True), start=1)
        if any(cell is not None for cell in cells)
    )
    _, titles = next(filled, (0, ()))
    header = ["" if title is None else str(title).strip() for title in titles]
    while header and not header[-1]:
        header.pop()
    if not header:
        raise UnreadableInput("there is no prompt in it")
    return header, _excel_rows(filled, header, faults)


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

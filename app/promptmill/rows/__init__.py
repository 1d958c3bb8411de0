"""Rows of files: read from texts, JSON, tables, Parquet, Excel and folders, and written back.

`RowFile` reads and `write_table` writes, both row by row. docs/files.md describes how a format is
recognised and what is refused. Functions raise `UnreadableInput` with a fault for each place. The
package knows neither HTTP nor the terminal, and imports nothing of promptmill.
"""

from __future__ import annotations

from promptmill.rows.detection import FileFormat
from promptmill.rows.faults import Notes, UnreadableInput
from promptmill.rows.json_values import NotJsonError, parse_json
from promptmill.rows.reading import Reading, RowFile
from promptmill.rows.writing import Header, TableFormat, write_table

__all__ = [
    "FileFormat",
    "Header",
    "NotJsonError",
    "Notes",
    "Reading",
    "RowFile",
    "TableFormat",
    "UnreadableInput",
    "parse_json",
    "write_table",
]

"""Rows in files: read out of texts, JSON, tables, Parquet, Excel and folders, and written back.

`RowFile` reads, `write_table` writes, both row by row. docs/files.md tells how a format is found
out and what is refused. Functions raise `UnreadableInput` with a fault for each place. This package
knows nothing of HTTP and of the terminal, and imports nothing of promptmill.
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

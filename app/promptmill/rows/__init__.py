"""Rows in files: prompts are read out of them, and results are written back.

`PromptFile` reads text, JSON in all its forms, tables with any delimiter, Parquet, Excel and
folders of texts, streamed row by row. docs/files.md tells how a format is found out and what is
refused. This package knows nothing of HTTP and of the terminal, and imports nothing of promptmill.
"""

from __future__ import annotations

from promptmill.rows.columns import Columns
from promptmill.rows.detection import FileFormat
from promptmill.rows.faults import Notes, UnreadableInput
from promptmill.rows.json_values import NotJsonError, parse_json
from promptmill.rows.source import PromptFile, Reading
from promptmill.rows.templates import Template
from promptmill.rows.writing import TableFormat, format_of_output, write_table

__all__ = [
    "Columns",
    "FileFormat",
    "NotJsonError",
    "Notes",
    "PromptFile",
    "Reading",
    "TableFormat",
    "Template",
    "UnreadableInput",
    "format_of_output",
    "parse_json",
    "write_table",
]

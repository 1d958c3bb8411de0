"""Results as table rows: first the kept columns, then the fields of the result."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import IO, Any, Final, cast

from promptmill.rows import Header, TableFormat, UnreadableInput, write_table

_DATA: Final = "data"
_ANSWER: Final = "response"
_VECTOR: Final = "embedding"
_MOST_INTEGER: Final = 2**63


def format_of_output(name: str) -> str:
    """Determine a table's format from a file's extension: `csv`, `jsonl`, `parquet` or `xlsx`."""
    extension = PurePath(name).suffix.lower().removeprefix(".")
    known = {"ndjson": "jsonl", "jsonl": "jsonl"} | {one.value: one.value for one in TableFormat}
    if extension not in known:
        raise UnreadableInput(f"ends in none of {', '.join(f'.{one}' for one in known)}")
    return known[extension]


def write_results(
    pieces: Iterable[bytes],
    target: IO[bytes],
    table_format: TableFormat,
    *,
    mark: bool = False,
    expand: bool = False,
) -> int:
    """Write NDJSON records as a table in constant memory, and return the number of records.

    `mark` begins CSV with a byte order mark, by which spreadsheets recognise UTF-8; `expand` makes
    columns of the fields of answers that are JSON objects.
    """
    with tempfile.TemporaryFile() as file:
        file.writelines(pieces)
        file.seek(0)
        layout = _Layout(file, expand=expand)
        file.seek(0)
        rows = map(layout.cells, file)
        write_table(rows, target, table_format, layout.header, mark=mark)
        return layout.records


class _Layout:
    """Columns of a table, found by reading all records once."""

    def __init__(self, lines: Iterable[bytes], *, expand: bool) -> None:
        self._expand = expand
        self.records = 0
        self._kept: dict[str, set[type]] = {}
        self._fields: dict[str, set[type]] = {}
        for self.records, line in enumerate(lines, start=1):
            record = json.loads(line)
            for name, value in self._of_row(record).items():
                self._kept.setdefault(name, set()).add(_kind(value))
            for name, value in record.items():
                if name != _DATA:
                    kind = list if name == _VECTOR and isinstance(value, list) else _kind(value)
                    self._fields.setdefault(name, set()).add(kind)

    @property
    def header(self) -> Header:
        """Header of the table; a result's field with the name of a kept column gets `result_`."""
        own = [f"result_{name}" if name in self._kept else name for name in self._fields]
        return [*self._kept, *own], [*self._kept.values(), *self._fields.values()]

    def cells(self, line: bytes) -> list[Any]:
        """Cells of a record, in the header's order."""
        record = json.loads(line)
        row = self._of_row(record)
        return [
            *(row.get(name) for name in self._kept),
            *(record.get(name) for name in self._fields),
        ]

    def _of_row(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        kept: dict[str, Any] = record.get(_DATA) or {}
        return {**kept, **_answered(record.get(_ANSWER))} if self._expand else kept


def _answered(answer: object) -> Mapping[str, Any]:
    """Fields of an answer that is a JSON object; none for other answers."""
    try:
        value = json.loads(answer) if isinstance(answer, str) else None
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _kind(value: object) -> type:
    is_large = isinstance(value, int) and abs(value) >= _MOST_INTEGER
    return str if is_large or isinstance(value, list | dict) else type(value)

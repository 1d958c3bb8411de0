"""Rows in, rows out: a table goes through a real service and comes back beside its answers."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptmill.simulator import answer_text
from tests.cli.pretended import Invoke

pytestmark = pytest.mark.proof

TEXTS = (
    "plain",
    'quotes "inside", and; commas|pipes',
    "two\nlines and\r\nanother",
    "Où, à 5 €?",
    "=1+1",
    "tab\there",
    "  spaces around  ",
)
ROWS = [
    {"id": f"r{number}", "text": f"{TEXTS[number % len(TEXTS)]} {number}", "lang": "xy"[number % 2]}
    for number in range(70)
]
OPTIONS = ("--template", "Say: {{ text }}", "--keep", "text,lang", "--rate-limit-delay", "0")


def table(delimiter: str, encoding: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([["id", "text", "lang"], *(row.values() for row in ROWS)])
    return text.getvalue().encode(encoding)


def workbook() -> bytes:
    book = openpyxl.Workbook(write_only=True)
    page = book.create_sheet()
    page.append(["id", "text", "lang"])
    for row in ROWS:
        cells = [
            openpyxl.cell.WriteOnlyCell(page, value.replace("\r", "_x000D_"))
            for value in row.values()
        ]
        for cell in cells:
            cell.data_type = "s"
        page.append(cells)
    target = io.BytesIO()
    book.save(target)
    return target.getvalue()


def parquet() -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), target)
    return target.getvalue()


FILES: dict[str, tuple[bytes, list[str]]] = {
    "a.csv": (table(",", "utf-8-sig"), []),
    "b.csv": (table(";", "cp1252"), ["--encoding", "cp1252"]),
    "c.tsv": (table("\t", "utf-8"), []),
    "d.jsonl": ("".join(json.dumps(row) + "\n" for row in ROWS).encode(), []),
    "e.parquet": (parquet(), []),
    "f.xlsx": (workbook(), []),
}


def test_six_kinds_of_files_give_six_times_the_same_results_beside_the_same_rows(
    invoke: Invoke, service_url: str, tmp_path: Path
) -> None:
    def results(name: str) -> list[dict[str, Any]]:
        content, options = FILES[name]
        (tmp_path / name).write_bytes(content)
        wait = ("--wait", "--url", service_url)
        submitted = invoke("submit", "-f", tmp_path / name, *OPTIONS, *options, *wait)
        assert submitted.exit_code == 0, submitted.stderr
        batch_id = submitted.stdout.strip()
        for extension in ("parquet", "csv", "xlsx"):
            path = tmp_path / f"{name}.{extension}"
            assert invoke("results", batch_id, "-o", path, "--url", service_url).exit_code == 0
        rows = pq.read_table(tmp_path / f"{name}.parquet").to_pylist()
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            assert [row["text"] for row in csv.DictReader(file)] == [row["text"] for row in rows]
        page = openpyxl.load_workbook(tmp_path / f"{name}.xlsx").active
        assert page is not None
        assert [cell.value.replace("_x000D_", "\r") for cell in page["A"][1:]] == [
            row["text"] for row in rows
        ]
        assert list(rows[0])[:2] == ["text", "lang"]
        return [{key: row[key] for key in ("text", "lang", "id", "response")} for row in rows]

    expected = [{**row, "response": answer_text("tiny", f"Say: {row['text']}")} for row in ROWS]
    for name in FILES:
        found = results(name)
        assert [(one["id"], one["text"], one["lang"]) for one in found] == [
            (row["id"], row["text"], row["lang"]) for row in ROWS
        ], name
        assert [one["response"] for one in found] == [one["response"] for one in expected], name

"""Rows in, rows out: a table goes through a real service and comes back beside its answers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
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
OPTIONS = (
    *("--template", "Say: {{ text }}", "--keep", "text,lang"),
    *("--rate-limit-delay", "0", "--max-concurrent", "32"),
)
Rows = list[dict[str, str]]
FEW = 70


def rows_of(count: int) -> Rows:
    return [
        {"id": f"r{index}", "text": f"{TEXTS[index % len(TEXTS)]} {index}", "lang": "xy"[index % 2]}
        for index in range(count)
    ]


def table(rows: Rows, delimiter: str, encoding: str) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerows([["id", "text", "lang"], *(row.values() for row in rows)])
    return text.getvalue().encode(encoding)


def workbook(rows: Rows) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    page = book.create_sheet()
    page.append(["id", "text", "lang"])
    for row in rows:
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


def parquet(rows: Rows) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target.getvalue()


FILES: dict[str, tuple[Callable[[Rows], bytes], list[str]]] = {
    "a.csv": (lambda rows: table(rows, ",", "utf-8-sig"), []),
    "b.csv": (lambda rows: table(rows, ";", "cp1252"), ["--encoding", "cp1252"]),
    "c.tsv": (lambda rows: table(rows, "\t", "utf-8"), []),
    "d.jsonl": (lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode(), []),
    "e.parquet": (parquet, []),
    "f.xlsx": (workbook, []),
}


@pytest.mark.parametrize("count", [FEW, pytest.param(10_000, marks=pytest.mark.long)])
def test_six_kinds_of_files_give_six_times_the_same_results_beside_the_same_rows(
    invoke: Invoke, service_url: str, tmp_path: Path, count: int
) -> None:
    given = rows_of(count)

    def written(batch_id: str, name: str, extension: str) -> Path:
        path = tmp_path / f"{name}.{extension}"
        assert invoke("results", batch_id, "-o", path, "--url", service_url).exit_code == 0
        return path

    def results(name: str) -> list[dict[str, Any]]:
        make, options = FILES[name]
        (tmp_path / name).write_bytes(make(given))
        wait = ("--wait", "--url", service_url)
        submitted = invoke("submit", "-f", tmp_path / name, *OPTIONS, *options, *wait)
        assert submitted.exit_code == 0, submitted.stderr
        batch_id = submitted.stdout.strip()
        rows = pq.read_table(written(batch_id, name, "parquet")).to_pylist()
        if count == FEW:  # What is written in other forms is a matter of few rows.
            with written(batch_id, name, "csv").open(newline="") as file:
                assert [one["text"] for one in csv.DictReader(file)] == [
                    one["text"] for one in rows
                ]
            page = openpyxl.load_workbook(written(batch_id, name, "xlsx")).active
            assert page is not None
            assert [cell.value.replace("_x000D_", "\r") for cell in page["A"][1:]] == [
                one["text"] for one in rows
            ]
        assert list(rows[0])[:2] == ["text", "lang"]
        return [{key: row[key] for key in ("text", "lang", "id", "response")} for row in rows]

    expected = [{**row, "response": answer_text("tiny", f"Say: {row['text']}")} for row in given]
    for name in FILES:
        found = results(name)
        assert [(one["id"], one["text"], one["lang"]) for one in found] == [
            (row["id"], row["text"], row["lang"]) for row in given
        ], name
        assert [one["response"] for one in found] == [one["response"] for one in expected], name

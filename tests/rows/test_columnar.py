"""Parquet and Excel, read and written, beside the same rows in text."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import io
import json
import re
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptmill.prompts import Columns, PromptFile, Template, write_results
from promptmill.rows import TableFormat, UnreadableInput

ROWS = [
    {"id": f"r{number}", "text": text, "lang": lang}
    for number, (text, lang) in enumerate(
        [
            ("plain", "en"),
            ('quotes "inside", and; commas|pipes', "en"),
            ("two\nlines and\r\nanother", "de"),
            ("Où ? 日本 👩\u200d👧", "fr"),
            ("=1+1", "xl"),
            ("tab\there", "en"),
            ("  spaces around  ", ""),
        ]
        * 3
    )
]
COLUMNS = Columns(template=Template("Say: {{ text }}"), keep=("text", "lang"))


def prompts(path: Path, columns: Columns = COLUMNS) -> list[Any]:
    return list(PromptFile(str(path), columns=columns))


def write_xlsx(path: Path, rows: list[list[Any]], title: str = "Sheet") -> None:
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    page.title = title
    for row in rows:
        page.append(row)
    for cells in page.iter_rows():
        for cell in cells:
            if isinstance(cell.value, str):
                cell.data_type = "s"
    book.save(path)


def test_the_same_rows_come_out_of_six_kinds_of_files(tmp_path: Path) -> None:
    table = [["id", "text", "lang"], *(list(row.values()) for row in ROWS)]
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "p.parquet")
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, delimiter, encoding in (
        ("a.csv", ",", "utf-8-sig"),
        ("b.csv", ";", "utf-8"),
        ("p.tsv", "\t", "utf-16"),
    ):
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=delimiter).writerows(table)
        (tmp_path / name).write_bytes(text.getvalue().encode(encoding))

    expected = [
        {
            "prompt": f"Say: {row['text']}",
            "id": row["id"],
            "data": {"text": row["text"], "lang": row["lang"]},
        }
        for row in ROWS
    ]
    for name in ("p.parquet", "p.jsonl", "a.csv", "b.csv", "p.tsv"):
        assert prompts(tmp_path / name) == expected, name


def test_a_sheet_of_excel_is_read_with_its_numbers_dates_and_gaps(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    write_xlsx(
        path,
        [
            [None, None],
            ["id", "prompt", "when", "n"],
            [1, "one", dt.datetime(2026, 1, 2, 3, 4), 1.5],  # noqa: DTZ001 - Excel has no zones
            [2.0, None, None, None],
            [None] * 4,
            [3, 42, None, True],
        ],
    )

    source = PromptFile(str(path), columns=Columns(keep=("when", "n")))

    assert list(source) == [
        {"prompt": "one", "id": "1", "data": {"when": "2026-01-02T03:04:00", "n": 1.5}},
        {"prompt": "42", "id": "3", "data": {"when": None, "n": True}},
    ]
    assert source.notes.remarks == ["row 4 has no prompt and is left out"]
    assert source.place_of(1) == "row 6"


def test_a_workbook_of_several_sheets_wants_one_named(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    write_xlsx(path, [["prompt"], ["a"]], "First")
    book = openpyxl.load_workbook(path)
    other = book.create_sheet("Other one")
    other.append(["prompt"])
    other.append(["b"])
    book.save(path)

    with pytest.raises(UnreadableInput, match=r"has 2 sheets: name one, as in FILE\.xlsx#First"):
        prompts(path, Columns())
    assert list(PromptFile(f"{path}#Other one")) == ["b"]
    with pytest.raises(UnreadableInput, match='has no sheet "x"; it has First, Other one'):
        list(PromptFile(f"{path}#x"))


def test_sheets_without_a_cell_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    book = openpyxl.Workbook()
    book.create_sheet("Full")
    book.create_sheet("Sheet3")
    book["Full"].append(["prompt"])
    book["Full"].append(["a"])
    book.save(path)

    assert prompts(path, Columns()) == ["a"]


def test_a_formula_without_its_value_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    book = openpyxl.Workbook()
    page = book.active
    assert page is not None
    for row in (["prompt"], ["a"], ["=A2"]):
        page.append(row)
    book.save(path)

    with pytest.raises(UnreadableInput, match="the formula in A3 has no value in the file"):
        prompts(path, Columns())


@pytest.mark.parametrize("error", ["#N/A", "#DIV/0!", "#REF!"])
@pytest.mark.parametrize("name", ["book.xlsx", "p.csv"])
def test_an_error_of_a_spreadsheet_is_refused_where_it_is_wanted(
    tmp_path: Path, error: str, name: str
) -> None:
    path = tmp_path / name
    rows = [["prompt", "n"], [error, "1"], ["b", "2"]]
    if name == "book.xlsx":
        write_xlsx(path, rows)
    else:
        path.write_text("".join(",".join(row) + "\n" for row in rows))
    said = re.escape(f'2: the column "prompt" has the error {error} of a spreadsheet')

    for columns in (Columns(), Columns(template=Template("{{ prompt }}{{ n }}"))):
        with pytest.raises(UnreadableInput, match=said):
            prompts(path, columns)
    assert prompts(path, Columns(prompt="n")) == ["1", "2"]


def test_a_sheet_whose_first_row_may_be_a_prompt_is_refused(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "book.xlsx", [["Name a lake."], ["Name a sea."]])

    with pytest.raises(UnreadableInput, match="would be the name of the only column"):
        prompts(tmp_path / "book.xlsx", Columns())


def test_chats_and_nanoseconds_come_out_of_parquet(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": None}]
    table = pa.table(
        {
            "id": ["a", "b"],
            "messages": [chat, None],
            "at": pa.array([2**60 + 1, None], pa.timestamp("ns")),
        }
    )
    pq.write_table(table, tmp_path / "p.parquet")

    source = PromptFile(str(tmp_path / "p.parquet"), columns=Columns(keep=("at",)))

    assert list(source) == [
        {
            "id": "a",
            "messages": chat,
            "data": {"at": "2006-07-14T23:58:24.606846"},
        }
    ]
    assert source.notes.remarks == ["row 2 has no prompt and is left out"]


def test_a_cell_beyond_the_header_is_refused_with_its_row(tmp_path: Path) -> None:
    write_xlsx(tmp_path / "book.xlsx", [["prompt"], ["a"], ["b", "lost"]])

    with pytest.raises(UnreadableInput, match="row 3: has a cell beyond the header's 1 columns"):
        prompts(tmp_path / "book.xlsx", Columns())


def test_parquet_keeps_types_that_json_has_and_writes_others_as_text(tmp_path: Path) -> None:
    row = {
        "prompt": "a",
        "id": 7,
        "day": dt.date(2026, 1, 2),
        "price": decimal.Decimal("1.50"),
        "gap": float("nan"),
        "tags": ["x", "y"],
        "inner": {"z": 1},
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "p.parquet")

    assert prompts(tmp_path / "p.parquet", Columns(keep=("*",))) == [
        {
            "prompt": "a",
            "id": "7",
            "data": {
                "prompt": "a",
                "id": 7,
                "day": "2026-01-02",
                "price": "1.50",
                "gap": None,
                "tags": ["x", "y"],
                "inner": {"z": 1},
            },
        }
    ]


def test_images_of_a_data_set_are_taken_from_its_cells(tmp_path: Path) -> None:
    rows = [{"prompt": "What?", "image": {"bytes": b"\x89PNG", "path": "a.png"}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")

    assert prompts(tmp_path / "p.parquet", Columns(image="image")) == [
        {"prompt": "What?", "images": ["iVBORw=="]}
    ]
    with pytest.raises(UnreadableInput, match='row 1: the column "image" is binary'):
        prompts(tmp_path / "p.parquet", Columns(keep=("image",)))


def test_parquet_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.parquet"
    schema = pa.schema([("id", pa.int64()), ("prompt", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, 30_000, 10_000):
            numbers = list(range(first, first + 10_000))
            texts = [f"{number} {'x' * 200}" for number in numbers]
            writer.write_table(pa.table([numbers, texts], schema=schema))

    before = pa.total_allocated_bytes()
    tracemalloc.start()
    most_arrow = 0
    count = 0
    for _ in PromptFile(str(path)):
        count += 1
        most_arrow = max(most_arrow, pa.total_allocated_bytes() - before)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 30_000
    assert most < 10_000_000
    assert most_arrow < 20_000_000


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.parquet", b"PAR1 and nothing else", "is not a readable Parquet file"),
        ("p.xlsx", b"PK\x03\x04 and nothing else", "is not a readable Excel workbook"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(UnreadableInput, match=said):
        prompts(tmp_path / name, Columns())


@pytest.mark.parametrize("name", ["pyarrow.parquet", "openpyxl"])
def test_without_the_extra_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / ("p.xlsx" if name == "openpyxl" else "p.parquet")
    if name == "openpyxl":
        write_xlsx(path, [["prompt"], ["a"]])
    else:
        pq.write_table(pa.table({"prompt": ["a"]}), path)
    monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(UnreadableInput, match=r'pip install "promptmill\[data\]"'):
        prompts(path, Columns())


RECORDS = [
    {
        "prompt": f"Say: {row['text']}",
        "response": json.dumps({"label": "x" * index, "score": index}),
        "success": True,
        "id": row["id"],
        "index": index,
        "latency_s": 0.25 if index % 2 else None,
        "error": None,
        "tool_calls": [{"a": 1}] if index == 0 else None,
        "data": {"text": row["text"], "lang": row["lang"], "id": index},
    }
    for index, row in enumerate(ROWS)
]
PIECES = [json.dumps(record).encode() + b"\n" for record in RECORDS]


def written(table_format: TableFormat, **options: bool) -> io.BytesIO:
    target = io.BytesIO()
    assert write_results(iter(PIECES), target, table_format, **options) == len(RECORDS)
    target.seek(0)
    return target


HEADER = [
    *("text", "lang", "id"),
    *("prompt", "response", "success", "result_id", "index", "latency_s", "error", "tool_calls"),
]


def test_csv_has_the_kept_columns_first_and_each_text_unchanged() -> None:
    content = written(TableFormat.CSV).read().decode()

    rows = list(csv.reader(io.StringIO(content, newline="")))
    assert rows[0] == HEADER
    assert [row[0] for row in rows[1:]] == [row["text"] for row in ROWS]
    assert rows[1][3:] == ["Say: plain", RECORDS[0]["response"], "true", "r0", "0", "", "", '[{"a":1}]']  # fmt: skip


def test_csv_for_spreadsheets_begins_with_a_byte_order_mark() -> None:
    plain, marked = written(TableFormat.CSV).read(), written(TableFormat.CSV, mark=True).read()

    assert marked == b"\xef\xbb\xbf" + plain


def test_parquet_has_the_same_rows_with_types() -> None:
    table = pq.read_table(written(TableFormat.PARQUET))

    assert table.column_names == HEADER
    assert table.column("text").to_pylist() == [row["text"] for row in ROWS]
    assert table.column("index").to_pylist() == list(range(len(ROWS)))
    assert table.schema.field("latency_s").type == pa.float64()
    assert table.schema.field("success").type == pa.bool_()
    assert table.column("tool_calls").to_pylist()[0] == '[{"a":1}]'


def test_a_row_group_of_parquet_has_many_rows() -> None:
    lines = [b'{"index": %d, "response": "yes"}\n' % number for number in range(3_000)]
    file = io.BytesIO()
    write_results(lines, file, TableFormat.PARQUET)

    found = pq.ParquetFile(file)

    assert (found.metadata.num_rows, found.metadata.num_row_groups) == (3_000, 1)
    assert found.read()["index"].to_pylist() == list(range(3_000))


def test_parquet_has_vectors_as_lists_of_32_bit_numbers() -> None:
    vectors = [None, [0.5, 0.1], [2.5, -1.0]]
    lines = [
        json.dumps({"index": n, "embedding": one}).encode() + b"\n" for n, one in enumerate(vectors)
    ]
    file = io.BytesIO()
    write_results(lines, file, TableFormat.PARQUET)

    table = pq.read_table(file)

    assert str(table.schema.field("embedding").type) == "list<element: float>"
    assert table["embedding"].to_pylist() == [None, [0.5, pytest.approx(0.1)], [2.5, -1.0]]


def test_excel_has_the_same_rows_and_no_formula(tmp_path: Path) -> None:
    path = tmp_path / "out.xlsx"
    path.write_bytes(written(TableFormat.XLSX).read())

    page = openpyxl.load_workbook(path).active
    assert page is not None
    assert [cell.value for cell in page[1]] == HEADER
    assert page["A6"].value == "=1+1"
    assert page["A6"].data_type == "s"
    kept = list(PromptFile(str(path), columns=Columns(prompt="prompt", keep=("text", "lang"))))  # fmt: skip
    assert [one["data"]["text"] for one in kept] == [row["text"] for row in ROWS]


def test_what_a_cell_of_excel_cannot_hold_is_refused() -> None:
    record = json.dumps({"response": "x" * 40_000}).encode() + b"\n"

    with pytest.raises(UnreadableInput, match="row 2: response has 40000 characters"):
        write_results([record], io.BytesIO(), TableFormat.XLSX)


def test_control_characters_survive_excel(tmp_path: Path) -> None:
    odd = "bell \x07, return \r\n, escape _x0007_, \ufffe"
    record = json.dumps({"prompt": odd}).encode() + b"\n"
    with (tmp_path / "o.xlsx").open("wb") as file:
        write_results([record], file, TableFormat.XLSX)

    assert prompts(tmp_path / "o.xlsx", Columns()) == [odd]


def test_fields_of_json_answers_become_columns() -> None:
    content = written(TableFormat.CSV, expand=True).read().decode()

    rows = list(csv.DictReader(io.StringIO(content, newline="")))
    assert [row["score"] for row in rows] == [str(index) for index in range(len(ROWS))]


def test_columns_that_only_some_rows_have_are_there_for_all() -> None:
    lines = [b'{"index":0,"data":{"a":1}}\n', b'{"index":1,"data":null}\n', b'{"index":2,"data":{"b":"x","a":"y"}}\n']  # fmt: skip
    target = io.BytesIO()

    write_results(lines, target, TableFormat.CSV)

    assert target.getvalue().decode().split() == ["a,b,index", "1,,0", ",,1", "y,x,2"]

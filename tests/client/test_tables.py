"""Tables in, tables out: data frames become prompts, and results data frames."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from promptmill.client import Promptmill, ResultPage
from tests.cli.pretended import result_document
from tests.client.test_clients import batch
from tests.client.test_uploads import Service
from tests.documents import whole

Clients = Callable[..., Any]

ROWS = [
    {"id": "a", "text": 'Où?\n"quoted"', "stars": 5, "when": dt.date(2026, 11, 29)},
    {"id": "b", "text": "=1+1", "stars": None, "when": None},
]
SENT = [
    {
        "prompt": f"Classify: {row['text']}",
        "id": row["id"],
        "data": {**row, "when": "2026-11-29" if row["when"] else None},
    }
    for row in ROWS
]
TABLES: dict[str, Callable[[], Any]] = {
    "dicts": lambda: ROWS,
    "pandas": lambda: pd.DataFrame(ROWS).astype({"stars": "Int64"}),
    "polars": lambda: pl.DataFrame(ROWS),
    "arrow": lambda: pa.Table.from_pylist(ROWS),
}


def sent_by(request: httpx.Request) -> list[Any]:
    assert request.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in request.content.splitlines()]


def accepting() -> Service:
    return Service(httpx.Response(202, json=batch("queued")))


@pytest.mark.parametrize("kind", TABLES)
async def test_every_kind_of_table_becomes_the_same_prompts(client_of: Clients, kind: str) -> None:
    service = accepting()

    await client_of(service).submit(
        TABLES[kind](), template="Classify: {{ text }}", keep=True, model="tiny"
    )

    (request,) = service.requests
    assert sent_by(request) == SENT
    assert dict(request.url.params) == {"model": "tiny"}


async def test_columns_are_chosen_by_name(client_of: Clients) -> None:
    service = accepting()
    table = pd.DataFrame({"q": ["Why?"], "nr": [7], "role": ["Be short."], "id": ["x"]})

    await client_of(service).submit(
        table, column="q", id_column="nr", system_column="role", keep="nr"
    )

    assert sent_by(service.requests[0]) == [
        {"prompt": "Why?", "id": "7", "system": "Be short.", "data": {"nr": 7}}
    ]


async def test_prompt_objects_stay_prompts_unless_something_is_said_about_columns(
    client_of: Clients,
) -> None:
    objects = [{"prompt": "a", "model": "other"}]
    service = Service(*(httpx.Response(202, json=batch("queued")) for _ in range(2)))
    client = client_of(service)

    await client.submit(objects, template="{{ .Prompt }}")
    await client.submit(objects, template="{{ prompt }}!", keep=["model"])

    whole, rows = service.requests
    assert json.loads(whole.content) == {"prompts": objects, "template": "{{ .Prompt }}"}
    assert sent_by(rows) == [{"prompt": "a!", "data": {"model": "other"}}]


async def test_numbers_of_numpy_and_missing_values_are_json(client_of: Clients) -> None:
    service = accepting()
    rows = [{"text": "a", "n": np.int64(3), "share": np.float64("nan"), "at": pd.NaT}]

    await client_of(service).submit(rows, column="text", keep=["n", "share"])

    assert sent_by(service.requests[0])[0]["data"] == {"n": 3, "share": None}


@pytest.mark.parametrize(
    ("table", "fields", "said"),
    [
        (TABLES["pandas"], {"template": "{{ txet }}"}, 'no column "txet"; it has id, text, stars'),
        (TABLES["polars"], {"column": "text", "template": "{{ text }}"}, "either template or column"),
        (TABLES["arrow"], {"template": "{{ text + 1 }}"}, "row 0: the template fails"),
        (lambda: pl.DataFrame({"text": ["a", " ", None]}), {}, "row 1: has no prompt.*row 2: has no"),
        (lambda: [{"q": "a"}, "b"], {"column": "q"}, "row 1: is a str, not a dict"),
        (lambda: [{"q": "a"}, {}], {"column": "q"}, 'no column "q"; it has none at all'),
        (lambda: [{"q": "a", "x": {1}}], {"column": "q", "keep": True}, '"x" has a set'),
        (lambda: pl.DataFrame({"q": ["a"], "x": [b"1"]}), {"column": "q", "keep": True}, "binary"),
        (lambda: pd.DataFrame({"q": ["a", 1]}, dtype=object), {}, "cannot be read by Arrow"),
        (lambda: pl.DataFrame({"q": []}), {"column": "q"}, "no row"),
        (lambda: ["a text"], {"keep": True}, "keep: only for rows"),
        (lambda: iter(ROWS), {"keep": True}, "keep: only for rows"),
    ],
)  # fmt: skip
async def test_what_cannot_be_sent_is_named_with_its_row(
    client_of: Clients, table: Callable[[], Any], fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s){said}"):
        await client_of(accepting()).submit(table(), **fields)


async def test_a_column_of_texts_is_no_table(client_of: Clients) -> None:
    for series in (pd.Series(["a", "b"]), pl.Series(["a", "b"])):
        service = accepting()
        await client_of(service).submit(series)
        assert json.loads(service.requests[0].content) == {"prompts": ["a", "b"]}


# --- results ------------------------------------------------------------------------------------


def results_of(*data: dict[str, Any], **fields: Any) -> Service:
    documents = [
        result_document(index, data=one, attempts=1, error=None, **fields)
        for index, one in enumerate(data)
    ]
    lines = "".join(json.dumps(one) + "\n" for one in documents)
    return Service(*(httpx.Response(200, text=lines) for _ in range(3)))


async def test_results_come_as_frames_with_the_kept_columns_first(client_of: Clients) -> None:
    service = results_of(
        {"text": "Où?", "stars": 5, "model": "mine"}, {"text": "b", "stars": None, "model": "x"}
    )
    results = client_of(service).results("batch_1")

    arrow, pandas = await results.to_arrow(), await results.to_pandas()
    polars = await results.to_polars()

    assert arrow.column_names[:3] == ["text", "stars", "model"]
    assert "result_model" in arrow.column_names
    assert arrow.to_pylist() == polars.to_dicts()
    assert pandas["stars"].tolist() == [5, pd.NA]
    assert list(pandas["response"]) == ["answer 0", "answer 1"]
    assert [one.url.path for one in service.requests] == ["/batches/batch_1/results"] * 3


async def test_the_index_of_a_data_frame_comes_back(client_of: Clients) -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"]}).iloc[[2, 0]]
    sent = accepting()
    await client_of(sent).submit(frame, keep=True, column="text")
    kept = [one["data"] for one in sent_by(sent.requests[0])]

    found = await client_of(results_of(*kept)).results("batch_1").to_pandas()

    joined = frame.join(found[["response"]])
    assert joined.to_dict("index") == {
        2: {"text": "c", "response": "answer 0"},
        0: {"text": "a", "response": "answer 1"},
    }


async def test_the_fields_of_json_answers_become_columns(client_of: Clients) -> None:
    service = results_of({"text": "a"}, response='{"name": "Ann", "age": 7}')

    found = await client_of(service).results("batch_1").to_polars(expand=True)

    assert found.select("text", "name", "age").to_dicts() == [
        {"text": "a", "name": "Ann", "age": 7}
    ]


async def test_a_batch_without_results_is_an_empty_frame(client_of: Clients) -> None:
    found = await client_of(results_of()).results("batch_1").to_pandas()

    assert len(found) == 0


def test_results_can_be_gone_through_twice() -> None:
    page = whole(ResultPage, {"data": [result_document(0)]})
    service = Service(*(httpx.Response(200, json=page) for _ in range(2)))
    results = Promptmill(transport=httpx.MockTransport(service)).results("batch_1")

    assert [one.response for one in results] == [one.response for one in results] == ["answer 0"]


WITHOUT = """
import sys
for name in ("pyarrow", "pandas", "polars"):
    sys.modules[name] = None
import httpx
from promptmill import Promptmill
client = Promptmill(transport=httpx.MockTransport(lambda request: httpx.Response(200, text="")))
class Frame:
    columns = ()
    def __arrow_c_stream__(self): ...
for call in (
    lambda: client.submit(Frame(), template="{{ text }}"),
    lambda: client.results("b").to_pandas(),
    lambda: client.results("b").to_polars(),
):
    try:
        call()
    except ValueError as error:
        print(error)
"""


def test_without_the_extra_the_error_says_what_to_install() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )

    needs = 'needs pyarrow, which is not installed: pip install "promptmill[data]"'
    assert ran.stdout.splitlines() == [
        f"reading a data frame {needs}",
        *[f"a data frame of results {needs}"] * 2,
    ]


LIGHT = """
import sys, promptmill
print([name for name in ("httpx", "pydantic", "rich", "asyncio") if name in sys.modules])
from promptmill import Promptmill
heavy = ("pyarrow", "pandas", "polars", "jinja2", "IPython", "openpyxl", "numpy", "tqdm")
print([name for name in heavy if name in sys.modules])
"""


def test_importing_the_package_and_the_client_loads_no_data_library() -> None:
    ran = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)

    assert ran.stdout == "[]\n[]\n"

"""Results over HTTP: pages of JSON, streams of NDJSON and CSV."""

from __future__ import annotations

import csv
import io
import json

import httpx
import pytest

from promptmill.api.documents.batches import RESULT_FIELDS
from promptmill.api.documents.result_formats import RESULTS, wanted_format

AWKWARD = 'say "hi", then\r\nbreak the line; =1+1 ✓'


@pytest.fixture
async def batch(service) -> dict[str, object]:
    return await service.finished(
        {
            "prompts": [
                "a",
                {"prompt": AWKWARD, "id": "x,y"},
                {"prompt": "c", "model": "missing"},
                "d",
            ],
            "rate_limit_delay": 0,
        }
    )


async def test_a_result_has_the_fields_of_the_contract_in_their_order(batch) -> None:
    first, _, failed, _ = batch["results"]

    assert tuple(first) == tuple(failed) == RESULT_FIELDS
    assert {**first, **dict.fromkeys(["started_at", "finished_at", "latency_s", "ttft_s"])} == {
        "prompt": "a",
        "response": "A",
        "model": "qwen3:8b",
        "success": True,
        "error": None,
        "index": 0,
        "id": None,
        "status": "succeeded",
        "error_code": None,
        "defect": None,
        "attempts": 1,
        "done_reason": "stop",
        "thinking": None,
        "tool_calls": None,
        "logprobs": None,
        "host": "http://127.0.0.1:11434",
        "total_duration": 5_000_000,
        "load_duration": None,
        "prompt_eval_count": 11,
        "prompt_eval_duration": None,
        "eval_count": 20,
        "eval_duration": None,
        "latency_s": None,
        "ttft_s": None,
        "started_at": None,
        "finished_at": None,
        "embedding": None,
        "data": None,
    }
    assert first["latency_s"] >= 0
    assert (failed["success"], failed["status"], failed["error_code"], failed["response"]) == (
        False,
        "failed",
        "model_not_found",
        None,
    )
    assert "missing" in failed["error"]


async def test_pages_follow_one_another_in_prompt_order(service, batch) -> None:
    path = f"/batches/{batch['id']}/results"

    first = (await service.client.get(path, params={"limit": 3})).json()
    second = (
        await service.client.get(path, params={"limit": 3, "cursor": first["next_cursor"]})
    ).json()

    assert first["data"] == batch["results"][:3]
    assert second["data"] == batch["results"][3:]
    assert second["next_cursor"] is None


async def test_results_are_filtered_by_how_they_ended(service, batch) -> None:
    path = f"/batches/{batch['id']}/results"

    failed = (await service.client.get(f"{path}?status=failed")).json()["data"]
    succeeded = await service.client.get(f"{path}?status=succeeded&format=ndjson")
    cancelled = (await service.client.get(f"{path}?status=cancelled")).json()["data"]

    assert [one["index"] for one in failed] == [2]
    assert [json.loads(line)["index"] for line in succeeded.text.splitlines()] == [0, 1, 3]
    assert cancelled == []


async def test_prompts_that_have_not_finished_are_not_among_the_results(service) -> None:
    batch = (await service.post({"prompts": ["a"]})).json()
    path = f"/batches/{batch['id']}/results"

    page = (await service.client.get(path)).json()
    assert page == {"data": [], "next_cursor": None, "scanned": 0, "complete": True}
    assert (await service.client.get(f"{path}?format=ndjson")).content == b""
    assert (await service.client.get(f"{path}?format=csv")).text == ",".join(RESULT_FIELDS) + "\r\n"


async def test_all_results_come_as_ndjson_a_line_each(service, batch) -> None:
    response = await service.client.get(
        f"/batches/{batch['id']}/results", headers={"Accept": "application/x-ndjson"}
    )

    assert response.headers["content-type"] == "application/x-ndjson"
    lines = response.content.split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line) for line in lines] == batch["results"]


async def test_all_results_come_as_csv_that_reads_back_to_the_same_texts(service, batch) -> None:
    response = await service.client.get(
        f"/batches/{batch['id']}/results", headers={"Accept": "text/csv"}
    )

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == f'attachment; filename="{batch["id"]}.csv"'
    header, *rows = csv.reader(io.StringIO(response.text, newline=""))
    assert tuple(header) == RESULT_FIELDS
    assert rows == [[_cell(value) for value in result.values()] for result in batch["results"]]
    assert rows[1][0] == AWKWARD


def _cell(value: object) -> str:
    return (
        {None: "", True: "true", False: "false"}.get(value)
        if value is None or isinstance(value, bool)
        else str(value)
    )


async def test_more_results_than_a_chunk_are_all_streamed(service) -> None:
    batch = await service.finished(
        {"prompts": [f"p{i}" for i in range(1203)], "rate_limit_delay": 0, "max_concurrent": 64}
    )

    response = await service.client.get(f"/batches/{batch['id']}/results?format=ndjson")

    assert [json.loads(line)["index"] for line in response.text.splitlines()] == list(range(1203))


ACCEPTS = [
    ("", None),
    ("*/*", None),
    ("application/json", None),
    ("text/html", None),
    ("text/csv", RESULTS.csv),
    ("TEXT/CSV ; q=0.5", RESULTS.csv),
    ("application/x-ndjson", RESULTS.ndjson),
    ("application/jsonl", RESULTS.ndjson),
    ("text/html,application/xml;q=0.9,*/*;q=0.8", None),
    ("text/csv;q=0.5, application/x-ndjson", RESULTS.ndjson),
    ("application/json;q=0.1, text/csv;q=0.2", RESULTS.csv),
    ("text/csv;q=0", None),
    ("text/csv;q=nonsense", None),
    ("text/csv;q=nan", None),
    (",;,;q", None),
]


def test_the_accept_header_chooses_the_form(subtests: pytest.Subtests) -> None:
    for accept, form in ACCEPTS:
        with subtests.test(accept=accept):
            assert wanted_format(None, accept, RESULTS) is form


def test_the_query_parameter_goes_before_the_accept_header() -> None:
    assert wanted_format("json", "text/csv", RESULTS) is None
    assert wanted_format("csv", "application/json", RESULTS) is RESULTS.csv


async def test_tool_calls_and_log_probabilities_are_kept_as_ollama_sent_them(open_service) -> None:
    call = {"function": {"name": "weather", "arguments": {"city": "Oslo\x00"}}}
    token = {"token": "a", "logprob": -0.5, "bytes": [97]}
    lines = [
        {"message": {"content": "", "tool_calls": [call]}, "done": False},
        {"message": {"content": "a"}, "logprobs": [token], "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "stop"},
    ]

    def ollama(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="".join(f"{json.dumps(line)}\n" for line in lines))

    service = await open_service(ollama)
    batch = await service.finished({"prompts": [{"messages": [{"role": "user", "content": "x"}]}]})
    (result,) = batch["results"]
    table = await service.client.get(f"/batches/{batch['id']}/results?format=csv")

    kept = {"function": {"name": "weather", "arguments": {"city": "Oslo\ufffd"}}}
    assert (result["tool_calls"], result["logprobs"]) == ([kept], [token])
    (row,) = csv.DictReader(io.StringIO(table.text))
    assert json.loads(row["tool_calls"]) == [kept]
    assert json.loads(row["logprobs"]) == [token]

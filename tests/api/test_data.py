"""The object of a prompt's own that comes back with its result."""

from __future__ import annotations

import csv
import io
import json

import httpx
import pytest

from promptmill.worker.runner import working
from tests.api.conftest import answer_as_ollama

ROW = {"product": "kettle \u2028 ☕", "stars": 4, "tags": ["a", None], "inner": {"x": 1.5}}


@pytest.mark.parametrize("form", ["json", "ndjson"])
async def test_data_comes_back_in_every_form_of_results(service, form: str) -> None:
    prompts = [{"prompt": "a", "data": ROW}, {"prompt": "b", "data": {}}, "c"]
    if form == "json":
        batch = await service.finished({"prompts": prompts, "rate_limit_delay": 0})
    else:
        lines = "".join(json.dumps(one) + "\n" for one in prompts).encode()
        created = (await service.post(lines, Content_Type="application/x-ndjson")).json()
        async with working(service.resources):
            path = f"/batches/{created['id']}?wait_s=30&limit=10"
            batch = (await service.client.get(path)).json()

    kept = [ROW, {}, None]
    assert [one["data"] for one in batch["results"]] == kept
    path = f"/batches/{batch['id']}/results"
    lines = (await service.client.get(f"{path}?format=ndjson")).text.split("\n")
    assert [json.loads(line)["data"] for line in lines if line] == kept
    table = (await service.client.get(f"{path}?format=csv")).text
    cells = [row["data"] for row in csv.DictReader(io.StringIO(table, newline=""))]
    assert [json.loads(cell) if cell else None for cell in cells] == kept


async def test_data_is_not_sent_to_the_model(open_service) -> None:
    asked: list[dict[str, object]] = []

    def ollama(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/generate":
            asked.append(json.loads(request.content))
        return answer_as_ollama(request)

    service = await open_service(ollama)
    await service.finished({"prompts": [{"prompt": "a", "data": ROW}]})

    assert [one["prompt"] for one in asked] == ["a"]
    assert "data" not in asked[0]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"text": "x" * 16_374}, "has 16385 bytes as JSON; at most 16384 are kept"),
        ("text", "must be an object"),
        (["a"], "must be an object"),
    ],
)
async def test_data_that_cannot_be_kept_is_refused(service, data: object, told: str) -> None:
    answer = await service.client.post(
        "/batches", json={"prompts": [{"prompt": "a", "data": data}]}
    )

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "/prompts/0/data", "detail": told}]


async def test_data_of_sixteen_kibibytes_is_kept(service) -> None:
    data = {"text": "x" * 16_373}

    batch = await service.finished({"prompts": [{"prompt": "a", "data": data}]})

    assert batch["results"][0]["data"] == data

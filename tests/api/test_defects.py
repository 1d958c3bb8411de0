"""Defects of answers as clients see them: chosen with `fail_on`, told with `defect`."""

from __future__ import annotations

import csv
import io
import json
from typing import get_args

import httpx
import pytest

from promptmill.api.schemas.requests import Defect
from promptmill.domain.outcomes import DEFECTS

SCHEMA = {"type": "object", "required": ["age"]}


def repeat_the_prompt(request: httpx.Request) -> httpx.Response:
    """A model that says what it was told, and is cut after `cut`."""
    if request.method == "GET":
        return httpx.Response(404)
    asked = json.loads(request.content)
    text = asked["prompt"]
    line = {
        "model": asked["model"],
        "response": text.strip("."),
        "done": True,
        "done_reason": "length" if text.startswith("cut") else "stop",
    }
    return httpx.Response(200, content=json.dumps(line).encode() + b"\n")


@pytest.fixture
async def service(open_service):
    return await open_service(repeat_the_prompt)


def test_the_names_of_defects_are_those_of_the_domain() -> None:
    assert get_args(Defect) == tuple(code.value for code in DEFECTS)


async def test_a_result_names_the_defect_of_its_answer(service) -> None:
    batch = await service.finished(
        {
            "prompts": ["fine", "cut", "...", {"prompt": "{}", "format": SCHEMA}],
            "max_attempts": 1,
            "rate_limit_delay": 0,
        }
    )

    assert [(one["status"], one["error_code"], one["defect"]) for one in batch["results"]] == [
        ("succeeded", None, None),
        ("succeeded", None, "truncated"),
        ("failed", "empty", "empty"),
        ("failed", "schema_mismatch", "schema_mismatch"),
    ]
    assert batch["results"][3]["response"] == "{}"
    assert "`$` has no `age`" in batch["results"][3]["error"]
    response = await service.client.get(f"/batches/{batch['id']}/results?format=csv")
    rows = csv.DictReader(io.StringIO(response.text, newline=""))
    assert [row["defect"] for row in rows] == ["", "truncated", "empty", "schema_mismatch"]


@pytest.mark.parametrize(
    ("fail_on", "statuses"),
    [
        ([], ["succeeded", "succeeded", "succeeded"]),
        (["truncated"], ["failed", "succeeded", "succeeded"]),
        (["schema_mismatch", "invalid_json"], ["succeeded", "failed", "failed"]),
    ],
)
async def test_the_batch_chooses_what_counts_as_a_failure(service, fail_on, statuses) -> None:
    batch = await service.finished(
        {
            "prompts": [
                "cut",
                {"prompt": "...", "format": "json"},
                {"prompt": "[]", "format": SCHEMA},
            ],
            "fail_on": fail_on,
            "max_attempts": 1,
            "rate_limit_delay": 0,
        }
    )

    assert batch["fail_on"] == fail_on
    assert [one["status"] for one in batch["results"]] == statuses
    assert [one["defect"] for one in batch["results"]] == ["truncated", "empty", "schema_mismatch"]


async def test_a_schema_is_sent_on_and_given_back_as_it_was_sent(open_service) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            asked.append(json.loads(request.content))
        return repeat_the_prompt(request)

    service = await open_service(answer)
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "z": 1, **SCHEMA, "a": [None]}
    batch = await service.finished({"prompts": ['{"age": 1}'], "format": schema})

    assert list(asked[0]["format"].items()) == list(schema.items())
    assert batch["parameters"] == {"format": schema}
    assert batch["status"] == "completed"

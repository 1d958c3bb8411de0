"""A batch of kind `embed`: vectors in the results, in each of their forms."""

from __future__ import annotations

import base64
import csv
import io
import json

import httpx
import pytest

from promptmill.domain.vectors import packed
from promptmill.worker.runner import working
from tests.api.conftest import answer_as_ollama

TEXTS = ["apple", "pear", "a cherry"]


def embed_as_ollama(request: httpx.Request) -> httpx.Response:
    """A vector of each text: its length, and a number that 32 bits do not hold exactly."""
    if request.url.path != "/api/embed":
        return answer_as_ollama(request)
    texts = json.loads(request.content)["input"]
    vectors = [[float(len(text)), 0.1] for text in texts]
    answer = {"model": "m", "embeddings": vectors, "prompt_eval_count": 3 * len(texts)}
    return httpx.Response(200, json=answer)


async def embedded(open_service, **fields: object):
    service = await open_service(embed_as_ollama)
    body = {"kind": "embed", "prompts": TEXTS, "model": "qwen3:8b", **fields}
    return service, await service.finished(body)


async def test_results_carry_a_vector_of_each_text(open_service) -> None:
    _, batch = await embedded(open_service)
    assert (batch["kind"], batch["status"], batch["parameters"]) == (
        "embed",
        "completed",
        {"truncate": False},
    )
    assert [(one["prompt"], one["embedding"]) for one in batch["results"]] == [
        ("apple", [5.0, 0.1]),
        ("pear", [4.0, 0.1]),
        ("a cherry", [8.0, 0.1]),
    ]
    assert batch["results"][0]["success"] is True
    assert batch["usage"] == {"prompt_tokens": 9, "completion_tokens": 0}


async def test_other_results_have_no_vector(service) -> None:
    batch = await service.finished({"prompts": ["Why?"]})
    assert (batch["kind"], batch["results"][0]["embedding"]) == ("generate", None)


@pytest.mark.parametrize("form", ["json", "ndjson", "csv"])
@pytest.mark.parametrize("written", ["float", "base64"])
async def test_vectors_are_numbers_or_base64_in_every_form(open_service, form, written) -> None:
    service, batch = await embedded(open_service)
    answer = await service.client.get(
        f"/batches/{batch['id']}/results", params={"format": form, "encoding_format": written}
    )
    if form == "json":
        first = answer.json()["data"][0]["embedding"]
    elif form == "ndjson":
        first = json.loads(answer.text.splitlines()[0])["embedding"]
    else:
        first = next(csv.DictReader(io.StringIO(answer.text)))["embedding"]
        first = json.loads(first) if written == "float" else first
    if written == "float":
        assert first == [5.0, 0.1]
    else:
        assert base64.b64decode(first) == packed([5.0, 0.1])


async def test_lines_are_texts_with_ids_of_their_own(open_service) -> None:
    service = await open_service(embed_as_ollama)
    lines = b'"apple"\n{"prompt": "pear", "id": "p", "dimensions": 2, "data": {"row": 1}}\n'
    made = await service.client.post(
        "/batches?kind=embed&model=qwen3:8b",
        content=lines,
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert made.status_code == 202, made.text
    async with working(service.resources):
        read = await service.client.get(f"/batches/{made.json()['id']}", params={"wait_s": 30})
    results = read.json()["results"]
    assert [(one["id"], one["embedding"], one["data"]) for one in results] == [
        (None, [5.0, 0.1], None),
        ("p", [4.0, 0.1], {"row": 1}),
    ]


REFUSED = {
    "a system message": ({"system": "Be brief."}, "/system"),
    "a format": ({"format": "json"}, "/format"),
    "defects of answers": ({"fail_on": ["empty"]}, "/fail_on"),
    "a chat": (
        {"prompts": [{"messages": [{"role": "user", "content": "x"}]}]},
        "/prompts/0/messages",
    ),
    "a prompt that thinks": (
        {"prompts": ["x", {"prompt": "y", "think": True}]},
        "/prompts/1/think",
    ),
    "a kind that there is not": ({"kind": "vector"}, "/kind"),
    "no dimensions at all": ({"dimensions": 0}, "/dimensions"),
    "dimensions of an answer": ({"kind": "generate", "dimensions": 8}, "/dimensions"),
    "dimensions of one answer": (
        {"kind": "generate", "prompts": [{"prompt": "x", "dimensions": 8}]},
        "/prompts/0/dimensions",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_has_no_meaning_for_the_kind_is_refused_by_name(open_service, name) -> None:
    fields, pointer = REFUSED[name]
    service = await open_service(embed_as_ollama)
    answer = await service.post({"kind": "embed", "prompts": TEXTS, **fields})
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]
    assert await service.stored() == []


async def test_a_model_that_only_embeds_is_welcome(open_service) -> None:
    def ollama(request: httpx.Request) -> httpx.Response:
        answer = embed_as_ollama(request)
        if request.url.path == "/api/tags":
            (found,) = answer.json()["models"]
            return httpx.Response(200, json={"models": [{**found, "capabilities": ["embedding"]}]})
        return answer

    service = await open_service(ollama)
    assert (await service.post({"prompts": TEXTS})).status_code == 422
    assert (await service.post({"kind": "embed", "prompts": TEXTS})).status_code == 202


async def test_a_dry_run_counts_the_starts_of_calls(open_service) -> None:
    service = await open_service(embed_as_ollama, texts_per_call=2)
    told = await service.client.post(
        "/batches?dry_run=true",
        json={"kind": "embed", "prompts": ["x"] * 9, "rate_limit_delay": 1},
    )
    assert (told.json()["kind"], told.json()["at_least_s"]) == ("embed", 4.0)

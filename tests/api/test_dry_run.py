"""`?dry_run=true` checks everything, stores nothing, and tells what the batch would be."""

from __future__ import annotations

import json

import jsonschema
import pytest

from promptmill.api import build_api
from tests.api.conftest import refuse_connections
from tests.api.refused_bodies import NOT_VALID

ALL_KINDS = ["json", "ndjson"]


async def dry_run(service, kind: str, prompts: list, headers=None, **fields):
    """Ask in either form; fields are JSON values."""
    if kind == "json":
        query, body = {}, json.dumps({"prompts": prompts, **fields})
        media_type = "application/json"
    else:
        query = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in fields.items()
        }
        body = "\n".join(json.dumps(prompt) for prompt in prompts)
        media_type = "application/x-ndjson"
    return await service.client.post(
        "/batches",
        params={"dry_run": "true", **query},
        content=body.encode(),
        headers={"Content-Type": media_type, **(headers or {})},
    )


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_valid_batch_is_told_with_its_effective_values_and_not_stored(
    service, kind
) -> None:
    response = await dry_run(
        service,
        kind,
        ["a", {"prompt": "b", "model": "QWEN3:8b"}, "c"],
        rate_limit_delay=0.5,
        options={"seed": 1},
        metadata={"run": "7"},
        expires_in_s=3600.0,
        max_failures="20%",
        fail_on=["truncated"],
    )

    assert response.status_code == 200
    told = response.json()
    assert told == {
        "object": "batch.dry_run",
        "valid": True,
        "prompts": 3,
        "models": ["qwen3:8b"],
        "model": "qwen3:8b",
        "kind": "generate",
        "max_concurrent": 5,
        "auto_concurrency": False,
        "rate_limit_delay": 0.5,
        "at_least_s": 1.0,
        "timeout_s": 300.0,
        "max_attempts": 3,
        "priority": 0,
        "expires_in_s": 3600.0,
        "max_failures": "20%",
        "fail_on": ["truncated"],
        "auto_pull": False,
        "label": None,
        "metadata": {"run": "7"},
        "parameters": {"options": {"seed": 1}},
        "queued_prompts": 0,
        "unchecked": [],
    }
    document = build_api().openapi()
    schema = {**document["components"]["schemas"]["DryRun"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(told)
    assert list(told) == list(schema["properties"])
    assert await service.stored() == []


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_every_model_that_is_not_installed_is_named_with_the_fix(service, kind) -> None:
    response = await dry_run(
        service,
        kind,
        [{"prompt": "a", "model": "llama"}, "b", {"prompt": "c", "model": "qwen3"}],
        model="mistral",
    )

    assert response.status_code == 422
    errors = {one["pointer"]: one["detail"] for one in response.json()["errors"]}
    place = "/model" if kind == "json" else "/query/model"
    assert set(errors) == {"/prompts/0/model", "/prompts/2/model", place}
    assert errors[place] == (
        "`mistral` is not installed on the host; run `ollama pull mistral` there, or name one that"
        " is: `qwen3:8b`"
    )


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_the_batchs_model_matters_only_where_a_prompt_takes_it(service, kind) -> None:
    own = [{"prompt": "a", "model": "qwen3:8b"}]

    assert (await dry_run(service, kind, own, model="mistral")).status_code == 200


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_what_is_wrong_is_told_as_on_submitting_and_the_host_does_not_matter_then(
    open_service, kind
) -> None:
    service = await open_service(refuse_connections)

    response = await dry_run(service, kind, ["", "a", 7], max_concurrent=0)

    assert response.status_code == 422
    place = "/max_concurrent" if kind == "json" else "/query/max_concurrent"
    pointers = {one["pointer"] for one in response.json()["errors"]}
    assert pointers == {"/prompts/0", "/prompts/2", place}


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_model_that_is_no_name_is_told_and_not_the_default_in_its_place(
    open_service, kind
) -> None:
    service = await open_service(default_model="mistral")

    response = await dry_run(service, kind, ["a"], model="two words")

    (error,) = response.json()["errors"]
    assert error["detail"].startswith("must be a model name")


async def test_each_refused_body_is_refused_alike(service, subtests: pytest.Subtests) -> None:
    for case, (body, errors) in NOT_VALID.items():
        with subtests.test(case):
            content = body if isinstance(body, bytes) else json.dumps(body).encode()

            response = await service.client.post(
                "/batches?dry_run=true",
                content=content,
                headers={"Content-Type": "application/json"},
            )

            assert response.status_code == 422
            told = {(one["pointer"], one["detail"]) for one in response.json()["errors"]}
            assert set(errors) <= told
            # The host of these tests has one model, and some of the bodies name others.
            assert all("not installed" in detail for _, detail in told - set(errors))


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_without_a_host_nobody_knows(open_service, kind) -> None:
    service = await open_service(refuse_connections)

    response = await dry_run(service, kind, ["a"])

    assert response.status_code == 503
    assert response.headers["retry-after"]


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_with_auto_pull_no_model_has_to_be_there_yet(service, kind) -> None:
    prompts = [{"prompt": "a", "model": "llama"}, "b", {"prompt": "c", "model": "qwen3:8b"}]

    response = await dry_run(service, kind, prompts, model="Mistral", auto_pull=True)

    assert response.status_code == 200
    assert response.json()["auto_pull"] is True
    assert response.json()["models"] == ["Mistral", "llama", "qwen3:8b"]


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_with_auto_pull_no_host_has_to_be_there_yet(open_service, kind) -> None:
    service = await open_service(refuse_connections)

    response = await dry_run(service, kind, ["a"], auto_pull=True)

    assert (response.status_code, response.json()["models"]) == (200, ["qwen3:8b"])


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_many_missing_models_are_counted_beside_what_else_is_wrong(service, kind) -> None:
    prompts = [{"prompt": "a", "model": f"absent-{number}"} for number in range(150)]

    response = await dry_run(service, kind, ["", *prompts], max_attempts=0)

    assert response.json()["detail"] == "152 entries are wrong; the first 100 are listed."
    assert len(response.json()["errors"]) == 100


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_a_queue_without_room_is_told(open_service, kind) -> None:
    service = await open_service(max_queued_prompts=3)
    await service.post({"prompts": ["a", "b"]})

    assert (await dry_run(service, kind, ["a"])).json()["queued_prompts"] == 2
    assert (await dry_run(service, kind, ["a", "b"])).status_code == 429


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_an_idempotency_key_has_no_effect_and_is_still_free_afterwards(service, kind) -> None:
    key = {"Idempotency-Key": "k1"}
    await service.post({"prompts": ["other"]}, Idempotency_Key="k2")

    assert (await dry_run(service, kind, ["a"], key)).status_code == 200
    assert (await dry_run(service, kind, ["a"], {"Idempotency-Key": "k2"})).status_code == 200
    assert (await service.post({"prompts": ["a"]}, Idempotency_Key="k1")).status_code == 202


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_what_a_schema_has_that_is_not_checked_is_told(service, kind) -> None:
    look_around = {"type": "string", "pattern": "^(?!x).*$"}
    prompts = ["a", {"prompt": "b", "format": {"properties": {"b": {"pattern": "(?<=y)z"}}}}]

    told = (await dry_run(service, kind, prompts, format=look_around)).json()

    assert [sentence.split("`")[1] for sentence in told["unchecked"]] == ["^(?!x).*$", "(?<=y)z"]


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_false_submits(service, kind) -> None:
    media_type = "application/json" if kind == "json" else "application/x-ndjson"
    body = b'{"prompts": ["a"]}' if kind == "json" else b'"a"'

    response = await service.client.post(
        "/batches?dry_run=false", content=body, headers={"Content-Type": media_type}
    )

    assert response.status_code == 202
    assert len(await service.stored()) == 1

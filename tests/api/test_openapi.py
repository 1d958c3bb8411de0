"""The OpenAPI document says everything, and what it says holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import get_args

import jsonschema
import pytest

from promptmill.api import build_api
from promptmill.api.documents.batches import (
    RESULT_FIELDS,
    batch_document,
    batch_summary,
    result_document,
)
from promptmill.api.errors.problems import KINDS
from promptmill.api.errors.unstorable import MAX_DEPTH
from promptmill.api.schemas.requests import BatchRequest
from promptmill.contract import examples
from promptmill.contract.batches import Batch, BatchStatus, BatchSummary
from promptmill.contract.results import Outcome, Result
from promptmill.domain.batches import Batch as StoredBatch
from promptmill.domain.batches import Counts, TaskResult, Usage
from promptmill.domain.lifecycle import TERMINAL_TASK_STATES, JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import CallMetrics

DOCUMENT = build_api().openapi()
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
FIELDS = {
    f"{name}.{field}": schema
    for name, model in SCHEMAS.items()
    for field, schema in model.get("properties", {}).items()
}


def validator(schema: dict) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]})


def contents() -> Iterator[tuple[str, dict]]:
    for name, operation in OPERATIONS.items():
        if "requestBody" in operation:
            for media_type, content in operation["requestBody"]["content"].items():
                yield f"{name} {media_type}", content
        for status, response in operation["responses"].items():
            for media_type, content in response.get("content", {}).items():
                yield f"{name} {status} {media_type}", content


CONTENTS = dict(contents())


def test_the_document_has_the_operations_of_the_contract() -> None:
    assert set(OPERATIONS) == {
        "POST /batches",
        "GET /batches",
        "GET /batches/{batch_id}",
        "PATCH /batches/{batch_id}",
        "DELETE /batches/{batch_id}",
        "POST /batches/{batch_id}/pause",
        "POST /batches/{batch_id}/resume",
        "POST /batches/{batch_id}/retry",
        "POST /batches/{batch_id}/cancel",
        "GET /batches/{batch_id}/results",
        "GET /batches/{batch_id}/events",
        "GET /batches/{batch_id}/prompts",
        "GET /batches/{batch_id}/prompts/{index}",
        "GET /batches/{batch_id}/history",
        "GET /batches/{batch_id}/summary",
        "GET /stats",
        "GET /stats/series",
        "POST /benchmarks",
        "GET /benchmarks",
        "GET /benchmarks/{benchmark_id}",
        "DELETE /benchmarks/{benchmark_id}",
        "POST /benchmarks/{benchmark_id}/cancel",
        "GET /benchmarks/{benchmark_id}/runs",
        "GET /benchmarks/{benchmark_id}/compare",
        "GET /benchmarks/{benchmark_id}/report",
        "GET /models",
        "GET /hosts",
        "PATCH /hosts/{host_id}",
        "GET /workers",
        "GET /settings",
        "GET /health",
        "GET /metrics",
        "GET /ready",
    }


def schemas_in(node: object) -> Iterator[dict]:
    """Every schema of the document, and what is inside of it."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "schema":
                yield value
            yield from schemas_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from schemas_in(value)


def test_a_schema_has_only_words_that_json_schema_knows() -> None:
    known = {
        *("$ref", "title", "description", "default", "examples", "deprecated", "format"),
        *("type", "enum", "const", "anyOf", "allOf", "oneOf", "not", "discriminator"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "contentEncoding", "contentMediaType"),
        *("items", "prefixItems", "minItems", "maxItems", "uniqueItems"),
        *("properties", "required", "additionalProperties", "propertyNames"),
        *("minProperties", "maxProperties", "patternProperties"),
    }
    unknown = set[str]()

    def walk(schema: object) -> None:
        if not isinstance(schema, dict):
            return
        unknown.update(schema.keys() - known)
        for name in ("items", "not", "additionalProperties", "propertyNames"):
            walk(schema.get(name))
        for name in ("anyOf", "allOf", "oneOf", "prefixItems"):
            for one in schema.get(name, ()):
                walk(one)
        for one in schema.get("properties", {}).values():
            walk(one)

    for schema in (*SCHEMAS.values(), *schemas_in(DOCUMENT["paths"])):
        walk(schema)
    assert not unknown


def test_an_operation_tells_of_keys_unless_it_needs_none(subtests: pytest.Subtests) -> None:
    for name, operation in OPERATIONS.items():
        with subtests.test(name=name):
            is_open = name == "GET /health"

            assert operation.get("security", DOCUMENT["security"]) == (
                [] if is_open else [{}, {"key": []}]
            )
            assert (set(operation["responses"]) >= {"401", "403", "421", "429"}) is not is_open


def test_every_field_has_a_description_and_an_example_that_fits(subtests: pytest.Subtests) -> None:
    for field, schema in FIELDS.items():
        with subtests.test(field=field):
            assert schema.get("description", "").endswith("."), "a sentence"
            assert schema.get("examples"), "an example"
            for example in schema["examples"]:
                validator(schema).validate(example)


def test_every_operation_describes_itself_its_parameters_and_its_errors(
    subtests: pytest.Subtests,
) -> None:
    for name, operation in OPERATIONS.items():
        with subtests.test(name=name):
            assert operation["summary"]
            assert operation["description"]
            assert operation["tags"]
            for parameter in operation.get("parameters", []):
                assert parameter["description"], parameter["name"]
                # What is JSON text in a query is described as a body is.
                content = parameter.get("content", {}).get("application/json", parameter)
                assert content["schema"].get("examples"), parameter["name"]
                for example in content["schema"]["examples"]:
                    validator(content["schema"]).validate(example)
            statuses = set(operation["responses"])
            assert {"422", "500", "503"} <= statuses
            if "_id}" in name:
                assert "404" in statuses
            if "requestBody" in operation:
                assert {"400", "413", "415"} <= statuses
            if name == "POST /batches":
                assert "429" in statuses
            if name.startswith("POST ") and "_id}/" in name:
                assert "409" in statuses
            for status, response in operation["responses"].items():
                assert "X-Request-ID" in response["headers"]
                if status >= "400":
                    assert set(response["content"]) == {"application/problem+json"}
                    assert response["content"]["application/problem+json"]["examples"]


def test_every_body_has_worked_examples_that_fit_its_schema(subtests: pytest.Subtests) -> None:
    for name, content in CONTENTS.items():
        with subtests.test(name=name):
            assert content["examples"]
            for example in content["examples"].values():
                validator(content["schema"]).validate(example["value"])


LINKS = {
    f"{name} {link_name}": (operation, link)
    for name, operation in OPERATIONS.items()
    for response in operation["responses"].values()
    for link_name, link in response.get("links", {}).items()
}


def test_every_link_leads_to_an_operation_that_takes_its_parameters(
    subtests: pytest.Subtests,
) -> None:
    for name, (operation, link) in LINKS.items():
        with subtests.test(name=name):
            (target,) = [
                one for one in OPERATIONS.values() if one["operationId"] == link["operationId"]
            ]
            taken = {one["name"] for one in target["parameters"] if one["in"] == "path"}

            assert set(link["parameters"]) == taken
            assert set(link["parameters"].values()) == {"$response.body#/id"}
            schema = operation["responses"]["202"]["content"]["application/json"]["schema"]
            made = SCHEMAS[schema["$ref"].rpartition("/")[2]]
            assert "id" in made["required"]


def test_what_makes_a_batch_or_a_benchmark_has_a_link_to_each_operation_on_it() -> None:
    for made_by, parameter in (("/batches", "{batch_id}"), ("/benchmarks", "{benchmark_id}")):
        links = DOCUMENT["paths"][made_by]["post"]["responses"]["202"]["links"].values()
        wanted = {
            operation["operationId"]
            for name, operation in OPERATIONS.items()
            if parameter in name and name.count("{") == 1
        }

        assert {link["operationId"] for link in links} == wanted
        assert len(wanted) > 3


async def test_the_links_of_a_batch_that_was_posted_are_found(service) -> None:
    batch = (await service.post({"prompts": ["a"]})).json()
    links = DOCUMENT["paths"]["/batches"]["post"]["responses"]["202"]["links"]
    for name, operation in OPERATIONS.items():
        if operation["operationId"] in links and name.startswith("GET ") and "events" not in name:
            path = name.removeprefix("GET ").format(batch_id=batch["id"])
            assert (await service.client.get(path)).status_code == 200


def test_no_schema_of_fastapis_own_errors_is_left() -> None:
    assert not {"HTTPValidationError", "ValidationError"} & set(SCHEMAS)


def test_every_reference_leads_somewhere() -> None:
    references = set(re.findall(r"#/components/schemas/(\w+)", str(DOCUMENT)))

    assert references <= set(SCHEMAS)


def test_a_state_of_the_inside_is_nowhere_in_the_document() -> None:
    visible = set(JobState) - {JobState.RECEIVING}

    assert set(get_args(BatchStatus)) == visible
    assert set(SCHEMAS["BatchSummary"]["properties"]["status"]["enum"]) == visible
    assert set(get_args(Outcome)) == TERMINAL_TASK_STATES
    assert "receiving" not in str(DOCUMENT)


async def test_the_worked_changes_and_retries_are_accepted(service) -> None:
    path = f"/batches/{(await service.post({'prompts': ['a'] * 6})).json()['id']}"
    changes = CONTENTS["PATCH /batches/{batch_id} application/json"]["examples"].values()
    retries = CONTENTS["POST /batches/{batch_id}/retry application/json"]["examples"].values()
    for example in changes:
        assert (await service.client.patch(path, json=example["value"])).status_code == 200
    for field, schema in SCHEMAS["BatchUpdate"]["properties"].items():
        for value in schema["examples"]:
            assert (await service.client.patch(path, json={field: value})).status_code == 200
    for body in [
        *(example["value"] for example in retries),
        *(
            {field: value}
            for field, schema in SCHEMAS["RetryRequest"]["properties"].items()
            for value in schema["examples"]
        ),
    ]:
        response = await service.client.post(f"{path}/retry", json=body)
        # Nothing has failed here: the body is understood, and only the batch says no.
        assert response.status_code == 409 or "has not failed" in response.text


REQUESTS = ("BatchRequest", "PromptObject", "BenchmarkRequest", "BatchUpdate", "RetryRequest")


@pytest.mark.parametrize("name", [*REQUESTS, "OllamaOptions", "Message", "ToolCall"])
def test_a_field_may_be_null_exactly_where_it_may_be_left_out(name) -> None:
    required = SCHEMAS[name].get("required", [])

    for field, schema in SCHEMAS[name]["properties"].items():
        assert validator(schema).is_valid(None) == (field not in required), field


def test_an_empty_change_and_an_index_twice_do_not_fit_their_schemas() -> None:
    assert not validator(SCHEMAS["BatchUpdate"]).is_valid({})
    assert not validator(SCHEMAS["RetryRequest"]).is_valid({"indexes": [1, 1]})


async def test_the_worked_request_is_accepted(service) -> None:
    for example in CONTENTS["POST /batches application/json"]["examples"].values():
        assert (await service.post(example["value"])).status_code == 202


async def test_the_example_of_each_field_of_a_request_is_accepted(
    service, subtests: pytest.Subtests
) -> None:
    for field in BatchRequest.model_fields:
        with subtests.test(field=field):
            for example in SCHEMAS["BatchRequest"]["properties"][field]["examples"]:
                kind = {"kind": "embed"} if field == "dimensions" else {}
                response = await service.post({"prompts": ["a"], **kind, field: example})

                assert response.status_code == 202, response.text


def test_what_is_written_has_exactly_the_fields_that_are_documented() -> None:
    batch = StoredBatch(
        key=1,
        id=examples.BATCH_ID,
        state=JobState.RUNNING,
        model="m",
        limits=Limits(),
        parameters={},
        timeout_s=1.0,
        max_attempts=1,
        priority=0,
        metadata={},
        counts=Counts(total=1),
        usage=Usage(),
        created_at_ms=0,
        started_at_ms=None,
        finished_at_ms=None,
        error=None,
        read_at_ms=0,
    )
    result = TaskResult(
        index=0,
        custom_id=None,
        prompt="p",
        model="m",
        status=TaskState.CANCELLED,
        response=None,
        error=None,
        error_code=None,
        attempts=0,
        done_reason=None,
        thinking=None,
        host=None,
        metrics=CallMetrics(),
        started_at_ms=None,
        finished_at_ms=1_795_415_400_007,
    )

    summary, whole, written = batch_summary(batch), batch_document(batch), result_document(result)

    assert list(summary) == list(BatchSummary.model_fields) == list(examples.SUMMARY)
    assert list(whole) == list(Batch.model_fields) == list(examples.BATCH)
    assert tuple(written) == tuple(Result.model_fields) == tuple(examples.RESULT) == RESULT_FIELDS
    assert written["finished_at"] == "2026-11-23T06:30:00.007Z"
    validator(SCHEMAS["Batch"]).validate(whole)
    validator(SCHEMAS["Result"]).validate(written)


def test_progress_is_never_rounded_up_to_the_whole() -> None:
    counts = Counts(total=1_000_000, succeeded=999_999, running=1)
    batch = StoredBatch(
        key=1,
        id="batch_0",
        state=JobState.RUNNING,
        model="m",
        limits=Limits(),
        parameters={},
        timeout_s=1.0,
        max_attempts=1,
        priority=0,
        metadata={},
        counts=counts,
        usage=Usage(),
        created_at_ms=0,
        started_at_ms=0,
        finished_at_ms=None,
        error=None,
        read_at_ms=1000,
    )

    assert batch_summary(batch)["progress"] == 0.9999


def test_the_guide_to_errors_lists_every_problem_and_the_depth_that_it_names() -> None:
    from pathlib import Path

    guide = (Path(__file__).parents[2] / "docs" / "http-errors.md").read_text()

    for kind in KINDS:
        assert f"`{kind.type}`" in guide
        assert f"| {kind.status} |" in guide
    assert f"{MAX_DEPTH} levels" in guide

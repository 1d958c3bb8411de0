"""What cannot be accepted is refused with its place and its fix, and nothing is stored."""

from __future__ import annotations

import json

import pytest

from tests.api.refused_bodies import MALFORMED, NOT_VALID

PROBLEM = "application/problem+json"


async def test_an_invalid_batch_names_every_wrong_entry_and_is_not_stored(
    service, subtests: pytest.Subtests
) -> None:
    for case, (body, errors) in NOT_VALID.items():
        with subtests.test(case):
            response = await service.post(body)

            assert response.status_code == 422, response.text
            assert response.headers["content-type"] == PROBLEM
            problem = response.json()
            assert problem["type"] == "/problems/invalid-request"
            assert problem["status"] == 422
            assert {(one["pointer"], one["detail"]) for one in problem["errors"]} == set(errors)
            assert await service.stored() == []


async def test_a_body_that_is_no_json_is_refused_with_the_reason_and_not_stored(
    service, subtests: pytest.Subtests
) -> None:
    for case, (body, reason) in MALFORMED.items():
        with subtests.test(case):
            response = await service.post(body)

            assert response.status_code == 400
            assert response.headers["content-type"] == PROBLEM
            assert response.json()["type"] == "/problems/malformed-json"
            assert reason in response.json()["detail"]
            assert await service.stored() == []


async def test_a_body_of_another_type_is_refused_and_not_stored(
    service, subtests: pytest.Subtests
) -> None:
    for content_type in [
        "text/plain",
        "application/x-ndjson; charset=latin-1",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "",
    ]:
        with subtests.test(content_type=content_type):
            response = await service.post({"prompts": ["a"]}, Content_Type=content_type)

            assert response.status_code == 415
            assert response.headers["content-type"] == PROBLEM
            assert await service.stored() == []


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON; Charset=UTF-8", 'application/json;charset="utf-8"'],
)
async def test_json_in_utf8_is_accepted_however_its_type_is_written(service, content_type) -> None:
    response = await service.post({"prompts": ["a"]}, Content_Type=content_type)

    assert response.status_code == 202


async def test_a_compressed_body_is_refused(service) -> None:
    response = await service.post(b"\x1f\x8b", Content_Encoding="gzip")

    assert response.status_code == 415
    assert "uncompressed" in response.json()["detail"]


async def test_a_body_over_the_limit_is_refused_by_its_declared_length(open_service) -> None:
    service = await open_service(max_body_bytes=2000)

    async def body():
        raise AssertionError("the body is not even read")
        yield b""

    response = await service.client.post(
        "/batches",
        content=body(),
        headers={"Content-Type": "application/json", "Content-Length": "2001"},
    )

    assert response.status_code == 413
    assert response.headers["content-type"] == PROBLEM
    assert response.headers["connection"] == "close"
    assert await service.stored() == []


async def test_a_body_of_unknown_length_is_read_up_to_the_limit_and_no_further(
    open_service,
) -> None:
    service = await open_service(max_body_bytes=2000)
    sent = 0

    async def body():
        nonlocal sent
        for _ in range(100):
            sent += 1
            yield b" " * 500

    response = await service.client.post(
        "/batches", content=body(), headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 413
    assert sent <= 6
    assert await service.stored() == []


async def test_a_body_of_exactly_the_limit_is_accepted(open_service) -> None:
    service = await open_service(max_body_bytes=2000)
    body = json.dumps({"prompts": ["a"]}).encode().ljust(2000)

    assert (await service.post(body)).status_code == 202
    assert (await service.post(body + b" ")).status_code == 413


async def test_a_prompt_of_ten_megabytes_is_refused_and_not_stored(service) -> None:
    response = await service.post({"prompts": ["short", "x" * 10_000_000]})

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {
            "pointer": "/prompts/1",
            "detail": "is 10000000 bytes long; at most 1048576 are accepted",
        }
    ]
    assert await service.stored() == []


async def test_the_length_of_a_prompt_counts_in_bytes(open_service) -> None:
    service = await open_service(max_prompt_bytes=8)

    assert (await service.post({"prompts": ["12345678"]})).status_code == 202
    assert (await service.post({"prompts": ["éééé"]})).status_code == 202
    assert (await service.post({"prompts": ["ééééé"]})).status_code == 422
    assert (await service.post({"prompts": [{"prompt": "123456789"}]})).status_code == 422
    assert (await service.post({"prompts": ["1"], "system": "123456789"})).status_code == 422


async def test_a_list_of_prompts_over_the_limit_is_refused_and_not_stored(open_service) -> None:
    service = await open_service(max_prompts=3)

    response = await service.post({"prompts": ["a"] * 4})

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"pointer": "/prompts", "detail": "has 4 prompts; at most 3 are accepted in one batch"}
    ]
    assert await service.stored() == []
    assert (await service.post({"prompts": ["a"] * 3})).status_code == 202


async def test_of_very_many_faults_the_first_hundred_are_listed_and_all_are_counted(
    service,
) -> None:
    response = await service.post({"prompts": [""] * 250})

    problem = response.json()
    assert problem["detail"] == "250 entries are wrong; the first 100 are listed."
    assert [one["pointer"] for one in problem["errors"]] == [f"/prompts/{i}" for i in range(100)]


async def test_a_refused_body_is_received_to_its_end_so_that_the_client_sees_the_answer(
    service,
) -> None:
    sent = 0

    async def body():
        nonlocal sent
        yield b'{"prompts": [oops, "'
        for _ in range(20):
            sent += 1
            yield b"x" * 100_000

    response = await service.client.post(
        "/batches", content=body(), headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 400
    assert sent == 20


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "caf\xe9"])
async def test_an_idempotency_key_that_is_none_is_refused_and_nothing_is_stored(
    service, key
) -> None:
    response = await service.client.post(
        "/batches",
        content=b'{"prompts": ["a"]}',
        headers=[
            (b"Content-Type", b"application/json"),
            (b"Idempotency-Key", key.encode("latin-1")),
        ],
    )

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/header/Idempotency-Key"
    assert await service.stored() == []


WRONG_QUERIES = [
    ("/batches?limitt=5", "/query/limitt", "unknown query parameter; did you mean `limit`?"),
    ("/batches?limit=5&limit=6", "/query/limit", "is given twice; give it once"),
    ("/batches?limit=0", "/query/limit", "must be at least 1"),
    ("/batches?limit=1001", "/query/limit", "must be at most 1000"),
    ("/batches?limit=ten", "/query/limit", "must be a whole number"),
    ("/batches?status=done", "/query/status", None),
    ("/batches?model=%00", "/query/model", None),
    ("/batches?metadata.=x", "/query/metadata.", "must name a pair of `metadata`"),
    ("/batches?metadata.a=%00", "/query/metadata.a", None),
    ("/batches?cursor=nonsense", "/query/cursor", None),
    ("/batches?cursor=YWZ0ZXI6OTk", "/query/cursor", None),
    ("/batches/batch_0?wait_s=301", "/query/wait_s", "must be at most 300"),
    ("/batches/batch_0?wait_s=nan", "/query/wait_s", None),
    ("/batches/batch_0?wait_s=-1", "/query/wait_s", "must be at least 0"),
    ("/batches/batch_0?limit=-1", "/query/limit", "must be at least 0"),
    ("/batches/batch_0?a~b/c=1", "/query/a~0b~1c", "unknown query parameter; leave it out"),
    ("/batches/batch_0/results?status=running", "/query/status", None),
    ("/batches/batch_0/results?format=xml", "/query/format", None),
    ("/batches/batch_0/results?format=csv&limit=5", "/query/limit", None),
    ("/batches/batch_0/results?cursor=YWZ0ZXI6LTE", "/query/cursor", None),
    ("/models?x=1", "/query/x", "unknown query parameter; leave it out"),
    ("/health?x=1", "/query/x", "unknown query parameter; leave it out"),
]


async def test_a_wrong_query_parameter_is_named(service, subtests: pytest.Subtests) -> None:
    for path, pointer, detail in WRONG_QUERIES:
        with subtests.test(path=path):
            response = await service.client.get(path)

            assert response.status_code == 422, response.text
            (error,) = response.json()["errors"]
            assert error["pointer"] == pointer
            assert detail is None or error["detail"] == detail


@pytest.mark.parametrize("query", ["dry_run=yes", "model=x"])
async def test_a_query_parameter_of_a_submission_is_refused_and_nothing_is_stored(
    service, query
) -> None:
    response = await service.client.post(f"/batches?{query}", json={"prompts": ["a"]})

    assert response.status_code == 422
    assert await service.stored() == []

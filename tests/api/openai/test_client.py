"""OpenAI's own library, unmodified, against the service: files and batches from end to end."""

from __future__ import annotations

import io
import json

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion

from tests.api.openai.cases import expect, until
from tests.api.openai.conftest import CHAT, jsonl, line


async def test_a_batch_of_chats_comes_back_as_openais_library_wants_it(dialect, tmp_path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(jsonl(*(line(f"request-{n}", f"Question {n}?") for n in range(50))))

    uploaded = await dialect.openai.files.create(file=path, purpose="batch")
    await dialect.openai.files.wait_for_processing(uploaded.id, max_wait_seconds=1)
    batch = await dialect.openai.batches.create(
        input_file_id=uploaded.id,
        endpoint=CHAT,
        completion_window="24h",
        metadata={"run": "7"},
    )
    assert batch.status == "validating"
    batch = await dialect.ended(batch)

    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 50, "completed": 50, "failed": 0}
    assert (batch.metadata, batch.model, batch.errors) == ({"run": "7"}, "tiny", None)
    assert batch.error_file_id is None
    lines = await dialect.lines(batch.output_file_id)
    assert [one["custom_id"] for one in lines] == [f"request-{n}" for n in range(50)]
    for one in lines:
        answer = ChatCompletion.model_validate(one["response"]["body"], strict=True)
        assert answer.choices[0].message.content
        assert answer.usage.total_tokens > 0
        assert one["error"] is None
    assert batch.usage.total_tokens == sum(
        one["response"]["body"]["usage"]["total_tokens"] for one in lines
    )


@pytest.mark.parametrize("content", [jsonl(line("a")), io.BytesIO(jsonl(line("a")))])
async def test_a_file_may_be_bytes_or_a_stream(dialect, content) -> None:
    uploaded = await dialect.openai.files.create(file=content, purpose="batch")

    batch = await dialect.ended(
        await dialect.openai.batches.create(
            input_file_id=uploaded.id, endpoint=CHAT, completion_window="24h"
        )
    )

    assert batch.request_counts.completed == 1


async def test_completions_come_back_as_the_library_wants_them(dialect) -> None:
    url = "/v1/completions"
    _, output, errors = await dialect.done(
        line("a", "Once upon", url=url, logprobs=2, max_tokens=8), endpoint=url
    )

    assert errors == []
    body = Completion.model_validate(output[0]["response"]["body"], strict=True)
    (choice,) = body.choices
    assert choice.text == "".join(choice.logprobs.tokens)
    assert len(choice.logprobs.text_offset) == len(choice.logprobs.token_logprobs) == 8
    assert choice.finish_reason == "length"


async def test_log_probabilities_of_a_chat_come_back_as_the_library_wants_them(dialect) -> None:
    _, output, _ = await dialect.done(line("a", logprobs=True, top_logprobs=2, max_tokens=5))

    answer = ChatCompletion.model_validate(output[0]["response"]["body"], strict=True)
    tokens = answer.choices[0].logprobs.content
    assert [len(token.top_logprobs) for token in tokens] == [2] * 5
    assert "".join(token.token for token in tokens) == answer.choices[0].message.content


async def test_files_are_listed_read_and_deleted(dialect) -> None:
    ids = [await dialect.upload(line(str(n))) for n in range(3)]

    listed = [one.id async for one in dialect.openai.files.list(limit=1)]
    oldest_first = [one.id async for one in dialect.openai.files.list(order="asc")]
    assert (listed, oldest_first) == (ids[::-1], ids)
    assert (await dialect.openai.files.retrieve(ids[0])).filename == "in.jsonl"
    assert (await dialect.openai.files.delete(ids[1])).deleted
    # The place of a file that is gone is still a place.
    after = await dialect.http.get("files", params={"after": ids[1]})
    assert [one["id"] for one in after.json()["data"]] == [ids[0]]


async def test_models_are_listed_and_read_one_by_one(dialect) -> None:
    listed = [one async for one in dialect.openai.models.list()]

    assert {one.id for one in listed} >= {"tiny:latest", "b:latest"}
    assert (await dialect.openai.models.retrieve("tiny")).id == "tiny:latest"
    response = await dialect.http.get("models/org/none:7b")
    expect(response, 404, "model_not_found", "model")


async def test_models_are_unavailable_while_no_host_answers(open_dialect, unused_port) -> None:
    dialect = await open_dialect(ollama_host=f"http://127.0.0.1:{unused_port}", works=False)

    response = await dialect.http.get("models")

    expect(response, 503, "service_unavailable")
    assert response.headers["retry-after"] == "5"


async def test_a_request_that_the_library_sends_again_makes_one_batch_and_one_file(dialect) -> None:
    again = {"x-stainless-retry-count": "1"}
    content = {"file": ("a.jsonl", jsonl(line("a")))}
    posts = [
        await dialect.http.post("files", files=content, data={"purpose": "batch"}, headers=headers)
        for headers in ({}, again, {})
    ]
    first, repeated, another = [post.json()["id"] for post in posts]
    assert (first == repeated, first == another) == (True, False)
    assert [post.headers.get("idempotent-replayed") for post in posts] == [None, "true", None]

    fields = {"input_file_id": first, "endpoint": CHAT, "completion_window": "24h"}
    posts = [
        await dialect.http.post("batches", json=fields | more, headers=headers)
        for headers, more in (({}, {}), (again, {}), (again, {"metadata": {"a": "b"}}))
    ]
    first, repeated, another = [post.json()["id"] for post in posts]
    assert (first == repeated, first == another) == (True, False)


async def test_an_idempotency_key_gives_the_same_batch_or_is_refused(dialect) -> None:
    key = {"Idempotency-Key": "k-1"}
    fields = {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h"}
    first, second = [
        (await dialect.http.post("batches", json=fields, headers=key)).json()["id"]
        for _ in range(2)
    ]
    other = await dialect.http.post("batches", json=fields | {"metadata": {}}, headers=key)

    assert first == second
    expect(other, 400, "idempotency_key_reused")


async def test_the_native_api_knows_the_batch_by_the_same_id(dialect) -> None:
    batch, _, _ = await dialect.done(line("a"), line("b", n=2))
    native = dialect.http.base_url.join("/batches/")

    document = (await dialect.http.get(f"{native}{batch.id}")).json()
    assert document["counts"]["succeeded"] == document["counts"]["failed"] == 1
    assert "Unsupported value for 'n'" in document["results"][1]["error"]
    # What was refused with no call has nothing to be sent again.
    assert (await dialect.http.post(f"{native}{batch.id}/retry")).status_code == 409
    assert (await dialect.openai.batches.retrieve(batch.id)).output_file_id == batch.output_file_id
    assert (await dialect.http.delete(f"{native}{batch.id}")).status_code == 204
    expect(await dialect.http.get(f"batches/{batch.id}"), 404, "batch_not_found")


async def test_lines_can_be_read_while_the_batch_runs(dialect) -> None:
    lines = [line("a", n=2), *(line(str(n), model="slow") for n in range(4))]
    batch = await dialect.create(*lines, extra_body={"promptmill": {"max_concurrent": 1}})
    batch = await until(dialect, batch, lambda now: now.request_counts.completed)

    running = await dialect.http.get(f"batches/{batch.id}/results")
    found = [json.loads(one)["custom_id"] for one in running.text.splitlines()]
    assert running.headers["x-incomplete"] == "true"
    assert found[0] == "a"
    assert 2 <= len(found) < 5
    await dialect.ended(batch)
    ended = await dialect.http.get(f"batches/{batch.id}/results", params={"status": "completed"})
    assert ended.headers["x-incomplete"] == "false"
    assert [json.loads(one)["custom_id"] for one in ended.text.splitlines()] == list("0123")


async def test_the_steering_of_a_batch_is_taken_and_a_wrong_one_is_named(dialect) -> None:
    wanted = {"max_concurrent": 2, "rate_limit_delay": 0.5, "priority": 7, "max_failures": "50%"}
    batch = await dialect.create(line("a"), extra_body={"promptmill": wanted})
    await dialect.ended(batch)
    native = (await dialect.http.get(f"http://service.localhost/batches/{batch.id}")).json()
    assert {name: native[name] for name in wanted} == wanted

    response = await dialect.http.post(
        "batches",
        json={
            "input_file_id": "file-x",
            "endpoint": CHAT,
            "completion_window": "24h",
            "promptmill": {"priority": 101, "speed": "high"},
        },
    )
    error = expect(response, 400, "integer_above_max_value", "promptmill.priority")
    assert [one["code"] for one in error["details"]][1] == "unknown_parameter"


async def test_more_failures_than_are_borne_end_a_batch_as_failed(dialect) -> None:
    lines = [line("a", n=2), line("b", n=2), *(line(str(n)) for n in range(3))]
    batch = await dialect.create(*lines, extra_body={"promptmill": {"max_failures": 1}})
    batch = await dialect.ended(batch)

    assert batch.status == "failed"
    assert batch.errors.data[-1].code == "max_failures_exceeded"
    output, errors = [
        await dialect.lines(one) for one in (batch.output_file_id, batch.error_file_id)
    ]
    assert len(output) + len(errors) == 5


async def test_a_queue_without_room_refuses_the_batch_itself(open_dialect) -> None:
    dialect = await open_dialect(max_queued_prompts=2, works=False)
    file_id = await dialect.upload(*(line(str(n)) for n in range(3)))

    response = await dialect.http.post(
        "batches",
        json={"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"},
    )

    error = expect(response, 429, "rate_limit_exceeded")
    assert error["type"] == "requests"
    assert 1 <= int(response.headers["retry-after"]) <= 60


UNREADABLE = [
    ("POST", "batches", {"content-type": "text/plain"}, b"{}", 415, "unsupported_content_type"),
    ("POST", "batches", {"content-type": "application/json"}, b"{", 400, "invalid_json"),
    ("POST", "batches", {"content-encoding": "gzip"}, b"", 415, "unsupported_content_type"),
    ("POST", "files", {"content-type": "text/plain"}, b"", 415, "unsupported_content_type"),
    (
        "POST",
        "files",
        {"content-type": "multipart/form-data; boundary=x"},
        b"nothing",
        400,
        "invalid_multipart",
    ),
]


async def test_a_body_that_cannot_be_read_is_told_in_the_envelope(
    dialect, subtests: pytest.Subtests
) -> None:
    for method, path, headers, content, status, code in UNREADABLE:
        with subtests.test(method=method):
            response = await dialect.http.request(method, path, headers=headers, content=content)

            expect(response, status, code)


async def test_a_model_of_an_unknown_server_is_not_downloaded(dialect) -> None:
    evil = "evil.example:5000/a/b"
    for lines in ([line("a", model=evil)], [line("a"), line("b", model=evil)]):
        batch = await dialect.ended(
            await dialect.create(*lines, extra_body={"promptmill": {"auto_pull": True}})
        )

        assert batch.status == "failed"
        (error,) = batch.errors.data
        assert (error.code, error.param) == ("invalid_value", "body.model")
        assert "would be downloaded from evil.example:5000" in error.message

"""The forty cases of the dialect's contract, each a scenario against a service of its own."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import httpx
import openai
import sqlalchemy as sa

from promptmill.api import build_api
from promptmill.store.db.tables.batches import job
from promptmill.store.db.tables.openai import file, file_chunk
from promptmill.worker.purger import Purger
from tests.api.openai.conftest import CHAT, Dialect, jsonl, line

Case = Callable[[Dialect], Awaitable[None]]
CASES: dict[int, tuple[Case, dict[str, object]]] = {}
"""By their numbers: the scenario, and the settings of its service."""

GOOD = jsonl(line("a"))
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
FILE_KEYS = {
    *("id", "object", "bytes", "created_at", "expires_at", "filename", "purpose", "status"),
    "status_details",
}


def case(number: int, **settings: object) -> Callable[[Case], Case]:
    def enter(scenario: Case) -> Case:
        CASES[number] = scenario, settings
        return scenario

    return enter


def expect(response: httpx.Response, status: int, code: str | None, param: object = None) -> Any:
    """The error of an answer, which has the four keys and no others but `details`."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error.keys() - {"details"} == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param), error
    return error


async def post_file(
    dialect: Dialect, content: bytes | None = GOOD, name: str | None = "in.jsonl", **fields: str
) -> httpx.Response:
    given = {"purpose": "batch"} | fields
    files = {} if content is None else {"file": (name, content)}
    parts = {name: (None, value) for name, value in given.items() if value}
    return await dialect.http.post("files", files={**files, **parts})


async def post_batch(dialect: Dialect, **fields: object) -> httpx.Response:
    usual = {"input_file_id": "file-x", "endpoint": CHAT, "completion_window": "24h"}
    return await dialect.http.post("batches", json={**usual, **fields})


async def failed(dialect: Dialect, *lines: object, **fields: Any) -> list[tuple[Any, ...]]:
    """Code, line and param of each error of a batch that fails for its file."""
    batch, output, errors = await dialect.done(*lines, **fields)
    assert (batch.status, output, errors) == ("failed", [], [])
    assert batch.failed_at is not None
    assert batch.request_counts.model_dump() == {"total": 0, "completed": 0, "failed": 0}
    return [(one.code, one.line, one.param) for one in batch.errors.data]


# --- files -----------------------------------------------------------------------------------


@case(1)
async def file_before_purpose(dialect: Dialect) -> None:
    response = await post_file(dialect)
    document = response.json()
    assert response.status_code == 200
    assert document.keys() == FILE_KEYS
    assert (document["status"], document["bytes"]) == ("processed", len(GOOD))
    assert response.headers["x-request-id"]


@case(2)
async def without_purpose(dialect: Dialect) -> None:
    expect(await post_file(dialect, purpose=""), 400, "missing_required_parameter", "purpose")


@case(3)
async def another_purpose(dialect: Dialect) -> None:
    expect(await post_file(dialect, purpose="assistants"), 400, "invalid_value", "purpose")


@case(4)
async def without_a_file(dialect: Dialect) -> None:
    expect(await post_file(dialect, None), 400, "missing_required_parameter", "file")


@case(5)
async def nothing_in_it(dialect: Dialect) -> None:
    expect(await post_file(dialect, b""), 400, "empty_file", "file")


@case(6)
async def plain_text(dialect: Dialect) -> None:
    error = expect(await post_file(dialect, b"Why?\n"), 400, "invalid_jsonl", "file")
    assert error["message"].startswith("Invalid file format for Batch API. Must be .jsonl")


@case(7, max_upload_bytes=1024)
async def one_byte_too_large(dialect: Dialect) -> None:
    beginning = jsonl(line("a"))
    exact = beginning + b" " * (1024 - len(beginning))
    assert (await post_file(dialect, exact)).status_code == 200
    before = await stored_rows(dialect)
    request = dialect.http.build_request("POST", "files", files={"file": ("x", exact + b" ")})
    content = request.read()

    async def chunked():
        for start in range(0, len(content), 100):
            yield content[start : start + 100]

    headers = {"content-type": request.headers["content-type"]}
    response = await dialect.http.post("files", content=chunked(), headers=headers)
    error = expect(response, 400, "file_too_large", "file")
    assert error["message"].startswith("File is too large.")
    await purge(dialect)
    assert await stored_rows(dialect) == before


@case(8)
async def expires_too_soon(dialect: Dialect) -> None:
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "60"}
    expect(
        await post_file(dialect, **fields),
        400,
        "integer_below_min_value",
        "expires_after.seconds",
    )


@case(9)
async def expires_in_an_hour(dialect: Dialect) -> None:
    fields = {"expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
    document = (await post_file(dialect, **fields)).json()
    assert document["expires_at"] == document["created_at"] + 3600


@case(10)
async def unnamed_bytes(dialect: Dialect) -> None:
    by_python = await dialect.openai.files.create(file=GOOD, purpose="batch")
    assert by_python.filename == "upload"
    # As the library for Node names what has no name.
    assert (await post_file(dialect, name="unknown_file")).json()["filename"] == "unknown_file"
    assert (await post_file(dialect, name="../a\\b/c.jsonl")).json()["filename"] == "c.jsonl"


@case(11)
async def cut_off(dialect: Dialect) -> None:
    before = await stored_rows(dialect)
    request = dialect.http.build_request("POST", "files", files={"file": ("x", GOOD * 20_000)})
    content = request.read()
    events = iter(
        [
            {"type": "http.request", "body": content[:2_000_000], "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive():
        return next(events)

    async def send(message):
        raise AssertionError(message)

    app = build_api()
    app.state.resources = dialect.resources
    await app(
        {
            "type": "http",
            "method": "POST",
            "path": "/v1/files",
            "raw_path": b"/v1/files",
            "query_string": b"",
            "headers": [
                (b"host", b"service.localhost"),
                (b"content-type", request.headers["content-type"].encode()),
            ],
        },
        receive,
        send,
    )
    await purge(dialect)
    assert await stored_rows(dialect) == before


@case(12)
async def unknown_file(dialect: Dialect) -> None:
    for path in ("files/file-x", "files/file-x/content", "files/%00"):
        error = expect(await dialect.http.get(path), 404, "file_not_found", "id")
        assert error["message"].startswith("No such File object: ")


@case(13)
async def a_range_of_bytes(dialect: Dialect) -> None:
    whole = jsonl(*(line(str(n), "x" * 10_000) for n in range(1000)))
    file_id = await dialect.upload(whole)
    all_of_it = await dialect.http.get(f"files/{file_id}/content")
    assert all_of_it.content == whole
    assert all_of_it.headers["content-length"] == str(len(whole))
    assert all_of_it.headers["content-type"] == "application/octet-stream"
    for asked, first, last in (
        ("bytes=5-9", 5, 9),
        ("bytes=1048570-1048580", 1_048_570, 1_048_580),
        ("bytes=-7", len(whole) - 7, len(whole) - 1),
    ):
        part = await dialect.http.get(f"files/{file_id}/content", headers={"Range": asked})
        assert (part.status_code, part.content) == (206, whole[first : last + 1])
        assert part.headers["etag"] == all_of_it.headers["etag"]
        assert part.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"
    beyond = await dialect.http.get(
        f"files/{file_id}/content", headers={"Range": f"bytes={len(whole)}-"}
    )
    assert beyond.status_code == 416


@case(14)
async def deleted_twice(dialect: Dialect) -> None:
    file_id = await dialect.upload(line("a"))
    first = await dialect.http.delete(f"files/{file_id}")
    assert first.json() == {"id": file_id, "object": "file", "deleted": True}
    expect(await dialect.http.delete(f"files/{file_id}"), 404, "file_not_found", "id")


@case(15)
async def a_page_too_long(dialect: Dialect) -> None:
    response = await dialect.http.get("files", params={"limit": 10_001})
    expect(response, 400, "integer_above_max_value", "limit")


@case(16)
async def no_files(dialect: Dialect) -> None:
    response = await dialect.http.get("files", params={"purpose": "batch_output"})
    assert response.json() == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


# --- making batches ----------------------------------------------------------------------------


@case(17)
async def an_empty_body(dialect: Dialect) -> None:
    response = await dialect.http.post("batches", json={})
    error = expect(response, 400, "missing_required_parameter", "input_file_id")
    assert [one["param"] for one in error["details"]] == [
        "input_file_id",
        "endpoint",
        "completion_window",
    ]


@case(18)
async def another_endpoint(dialect: Dialect) -> None:
    response = await post_batch(dialect, endpoint="/v1/images/edits")
    assert CHAT in expect(response, 400, "invalid_value", "endpoint")["message"]


@case(19)
async def a_wrong_window(dialect: Dialect) -> None:
    for window in ("soon", "", "0h", "366d", 24):
        response = await post_batch(dialect, completion_window=window)
        expect(response, 400, "invalid_value", "completion_window")


@case(20)
async def out_of_time(dialect: Dialect) -> None:
    batch = await dialect.create(
        *(line(str(n), model="slow") for n in range(3)),
        extra_body={"completion_window": "1m", "promptmill": {"max_concurrent": 1}},
    )
    batch = await until(dialect, batch, lambda now: now.request_counts.completed)
    assert batch.expires_at == batch.created_at + 60

    def run_out(tx) -> None:
        tx.execute(sa.update(job).where(job.c.id == batch.id).values(expires_at_ms=tx.now_ms()))

    await dialect.resources.database.write(run_out)
    batch = await dialect.ended(batch)
    output, errors = [
        await dialect.lines(one) for one in (batch.output_file_id, batch.error_file_id)
    ]
    assert batch.status == "expired"
    assert batch.expired_at is not None
    assert len(output) + len(errors) == 3
    assert {(one["response"], one["error"]["code"]) for one in errors} == {(None, "batch_expired")}


@case(21)
async def wrong_metadata(dialect: Dialect) -> None:
    response = await post_batch(dialect, metadata={str(n): "x" for n in range(17)})
    expect(response, 400, "object_above_max_properties", "metadata")
    response = await post_batch(dialect, metadata={"tags": ["a"]})
    expect(response, 400, "invalid_type", "metadata.tags")


@case(22)
async def a_misspelt_field(dialect: Dialect) -> None:
    response = await post_batch(dialect, input_file="file-x")
    error = expect(response, 400, "unknown_parameter", "input_file")
    assert "input_file_id" in error["message"]


@case(23)
async def no_such_file(dialect: Dialect) -> None:
    made = await post_batch(dialect)
    assert (made.status_code, made.json()["status"]) == (200, "validating")
    batch = await dialect.openai.batches.retrieve(made.json()["id"])
    batch = await dialect.ended(batch)
    (error,) = batch.errors.data
    assert (batch.status, error.code, error.param, error.line) == (
        "failed",
        "invalid_request",
        "file_id",
        None,
    )


@case(24)
async def an_output_file(dialect: Dialect) -> None:
    batch, _, _ = await dialect.done(line("a"))
    response = await post_batch(dialect, input_file_id=batch.output_file_id)
    expect(response, 400, "invalid_purpose", "input_file_id")


@case(25)
async def lines_that_are_no_json(dialect: Dialect) -> None:
    found = await failed(dialect, line("a"), "nothing", line("b"), '{"a": 1, "a": 2}')
    assert found == [("invalid_json_line", 2, None), ("invalid_json_line", 4, None)]


@case(26)
async def lines_without_a_field(dialect: Dialect) -> None:
    names = ("custom_id", "method", "url", "body")
    lines = [line(name) for name in names]
    for one, name in zip(lines, names, strict=True):
        del one[name]
    expected = [("missing_required_parameter", n, name) for n, name in enumerate(names, start=1)]
    assert await failed(dialect, *lines) == expected


@case(27)
async def an_id_twice(dialect: Dialect) -> None:
    found = await failed(dialect, line("a"), line("b"), line("a"))
    assert found == [("duplicate_custom_id", 3, "custom_id")]


@case(28)
async def another_url(dialect: Dialect) -> None:
    found = await failed(dialect, line("a") | {"url": "/v1/embeddings"})
    assert found == [("invalid_url", 1, "url")]


@case(29)
async def a_stream(dialect: Dialect) -> None:
    found = await failed(dialect, line("a"), line("b", stream=True))
    assert found == [("streaming_unsupported", 2, "body.stream")]


@case(30)
async def a_model_nowhere(dialect: Dialect) -> None:
    assert await failed(dialect, line("a", model="none")) == [("model_not_found", 1, "body.model")]


@case(31)
async def three_models(dialect: Dialect) -> None:
    names = ["tiny", "b", "c"]
    batch, output, errors = await dialect.done(*(line(name, model=name) for name in names))
    assert (batch.status, batch.model, errors) == ("completed", None, [])
    assert [one["response"]["body"]["model"] for one in output] == names


@case(32)
async def requests_that_cannot_be_honoured(dialect: Dialect) -> None:
    image = [{"type": "image_url", "image_url": {"url": "http://example.org/a.png"}}]
    batch, output, errors = await dialect.done(
        line("a", logit_bias={"1": 5}),
        line("b", n=2),
        line("c", foo=1),
        line("d", image),
        line("e"),
    )
    assert (batch.status, [one["custom_id"] for one in output]) == ("completed", ["e"])
    assert batch.request_counts.model_dump() == {"total": 5, "completed": 1, "failed": 4}
    assert [
        (one["custom_id"], one["response"]["status_code"], one["response"]["body"]["error"]["code"])
        for one in errors
    ] == [
        ("a", 400, "unsupported_parameter"),
        ("b", 400, "unsupported_value"),
        ("c", 400, "unknown_parameter"),
        ("d", 400, "invalid_image_url"),
    ]


@case(33)
async def all_fail(dialect: Dialect) -> None:
    batch, _, errors = await dialect.done(line("a", n=2), line("b", n=3))
    assert (batch.status, batch.output_file_id) == ("completed", None)
    assert batch.request_counts.failed == len(errors) == 2


@case(34)
async def too_long_a_prompt(dialect: Dialect) -> None:
    _, _, errors = await dialect.done(line("a", "word " * 500, options={"num_ctx": 64}), line("b"))
    (error,) = errors
    assert error["response"]["status_code"] == 400
    told = error["response"]["body"]["error"]
    assert told["code"] == "context_length_exceeded"
    assert "options.num_ctx" in told["message"]


@case(35)
async def cut_at_its_limit(dialect: Dialect) -> None:
    names = ["a", "b", "c"]
    schema = {
        "type": "object",
        "properties": {name: {"type": "string"} for name in names},
        "required": names,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    _, output, errors = await dialect.done(line("a", response_format=wanted, max_tokens=2))
    (one,) = output
    assert errors == []
    assert one["response"]["body"]["choices"][0]["finish_reason"] == "length"
    assert one["response"]["request_id"].endswith("_0_1")


@case(36)
async def tools(dialect: Dialect) -> None:
    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    offered = [{"type": "function", "function": function}]
    _, output, _ = await dialect.done(
        line("a", "[[tool]]", model="caller", tools=offered),
        line("b", "[[tool]]", model="caller", tools=offered, tool_choice="none"),
    )
    called, said = [one["response"]["body"]["choices"][0] for one in output]
    (call,) = called["message"]["tool_calls"]
    assert called["finish_reason"] == "tool_calls"
    assert called["message"]["content"] is None
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert "tool_calls" not in said["message"]


# --- steering and reading ------------------------------------------------------------------------


@case(37)
async def cancelled_while_it_runs(dialect: Dialect) -> None:
    batch = await dialect.create(*(line(str(n), model="slow") for n in range(20)))
    batch = await until(dialect, batch, lambda now: now.status == "in_progress")
    for _ in range(2):
        batch = await dialect.openai.batches.cancel(batch.id)
        assert batch.cancelling_at is not None
    assert batch.status in {"cancelling", "finalizing", "cancelled"}
    batch = await dialect.ended(batch)
    assert (batch.status, batch.cancelled_at is None) == ("cancelled", False)
    assert (await dialect.openai.batches.cancel(batch.id)).status == "cancelled"
    output, errors = [
        await dialect.lines(one) for one in (batch.output_file_id, batch.error_file_id)
    ]
    assert len(output) + len(errors) == batch.request_counts.total == 20
    assert {one["error"]["code"] for one in errors} == {"batch_cancelled"}
    assert batch.request_counts.failed == 0


@case(38)
async def cancelled_too_late(dialect: Dialect) -> None:
    batch, _, _ = await dialect.done(line("a"))
    sent: list[str] = []

    async def count(request: httpx.Request) -> None:
        sent.append(request.url.path)

    dialect.http.event_hooks = {"request": [count]}
    try:
        await dialect.openai.batches.cancel(batch.id)
    except openai.ConflictError as error:
        refusal = error.response
    dialect.http.event_hooks = {"request": []}
    told = expect(refusal, 409, None)
    assert told["message"] == "Cannot cancel a batch with status 'completed'."
    assert (len(sent), refusal.headers["x-should-retry"]) == (1, "false")
    unknown = await dialect.http.post("batches/batch_x/cancel")
    assert "No batch found with id" in expect(unknown, 404, "batch_not_found")["message"]


@case(39)
async def page_by_page(dialect: Dialect) -> None:
    ids = [(await post_batch(dialect)).json()["id"] for _ in range(5)]
    found: list[tuple[int, bool]] = []
    after = None
    while len(found) < 3:
        query = {"limit": 2} | ({"after": after} if after else {})
        page = (await dialect.http.get("batches", params=query)).json()
        after = page["last_id"]
        own = [one["id"] for one in page["data"] if one["id"] in ids]
        found.append((len(own), page["has_more"]))
    assert found == [(2, True), (2, True), (1, False)]
    assert sorted([one.id async for one in dialect.openai.batches.list(limit=1)]) == sorted(ids)
    response = await dialect.http.get("batches", params={"after": "x"})
    expect(response, 400, "invalid_value", "after")


@case(40)
async def one_line_whatever_cuts_it(dialect: Dialect) -> None:
    content = "a\u2028b \U0001f600 c\u0085d"
    _, output, _ = await dialect.done(line("\u2028 \U0001f600", content))
    assert [one["custom_id"] for one in output] == ["\u2028 \U0001f600"]
    error = expect(await dialect.http.post("nothing"), 404, "unknown_url")
    assert error["message"] == "Invalid URL (POST /v1/nothing)"
    refused = await dialect.http.put("files")
    expect(refused, 405, "method_not_supported")
    assert refused.headers["allow"] == "GET, HEAD, POST"


# --- helpers -------------------------------------------------------------------------------------


async def until(dialect: Dialect, batch: Any, holds: Callable[[Any], object]) -> Any:
    """The batch as soon as that holds."""
    with anyio.fail_after(20):
        while not holds(batch):
            await anyio.sleep(0.01)
            batch = await dialect.openai.batches.retrieve(batch.id)
    return batch


async def stored_rows(dialect: Dialect) -> list[int]:
    """How many rows there are of files and of chunks, hidden ones included."""

    def count(tx) -> list[int]:
        counted = (sa.select(sa.func.count()).select_from(table) for table in (file, file_chunk))
        return [tx.execute(one).scalar_one() for one in counted]

    return await dialect.resources.database.read(count)


async def purge(dialect: Dialect) -> None:
    purger = Purger(dialect.resources.database)
    while await purger.run_once() == 0:
        pass

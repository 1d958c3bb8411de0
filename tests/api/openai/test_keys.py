"""API keys under `/v1`, by OpenAI's own library: who gets in, whose a batch is, what it may ask."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import openai
import pytest
import sqlalchemy as sa
import structlog

from promptmill.domain.access.keys import KeyLimits, Scope
from promptmill.observability.metrics import REGISTRY
from promptmill.services.access import keys
from promptmill.store.db.tables.batches import job
from promptmill.worker.runner import working
from tests.api.openai.cases import expect, post_batch
from tests.api.openai.conftest import CHAT, jsonl, line


def sign_in(dialect, *scopes: Scope, name: str = "alice", **limits: int) -> openai.AsyncOpenAI:
    """OpenAI's client with a new key."""
    made = keys.create(
        dialect.resources.database,
        name,
        scopes=frozenset(scopes or {Scope.SUBMIT}),
        limits=KeyLimits(**limits),
    )
    # As after five seconds.
    dialect.resources.known_keys.read_at = None
    return dialect.openai.with_options(api_key=made.key, max_retries=0)


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("promptmill_http_refused_total", {"reason": reason}) or 0


async def test_without_a_good_key_the_library_raises_that_the_caller_is_not_authenticated(
    dialect,
) -> None:
    sign_in(dialect)
    before = refused("key")

    for call in (
        dialect.openai.models.list(),
        dialect.openai.batches.retrieve("batch_0"),
        dialect.openai.files.create(file=b"{}", purpose="batch"),
        dialect.openai.chat.completions.create(model="tiny", messages=[]),
    ):
        with pytest.raises(openai.AuthenticationError) as raised:
            await call
        error = expect(raised.value.response, 401, "invalid_api_key")
        assert error["message"] == "The API key is unknown, has expired or was revoked."
        assert raised.value.code == "invalid_api_key"
        assert raised.value.response.headers["www-authenticate"] == "Bearer"
        assert raised.value.request_id
    assert (
        "no API key" in expect(await dialect.http.get("models"), 401, "invalid_api_key")["message"]
    )
    expect(await dialect.http.get("nowhere"), 401, "invalid_api_key")
    assert refused("key") == before + 6


async def test_without_the_scope_the_library_raises_that_permission_is_denied(dialect) -> None:
    reader = sign_in(dialect, Scope.READ)
    assert await reader.models.list()

    with pytest.raises(openai.PermissionDeniedError) as raised:
        await reader.files.create(file=b"{}", purpose="batch")

    error = expect(raised.value.response, 403, "missing_scope")
    assert "The key alice has the scopes read" in error["message"]


FOREIGN = [
    ({"Host": "rebound.example"}, 421, "host_not_allowed"),
    ({"Host": "a b"}, 400, "invalid_host"),
    ({"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
    ({"Sec-Fetch-Site": "cross-site"}, 403, "origin_not_allowed"),
]


async def test_what_a_foreign_page_asks_for_is_refused_in_openais_shape(
    dialect, subtests: pytest.Subtests
) -> None:
    for headers, status, code in FOREIGN:
        with subtests.test(headers=headers):
            expect(await dialect.http.get("models", headers=headers), status, code)


async def test_a_page_that_may_use_the_service_can_read_why_its_key_is_refused(
    open_dialect,
) -> None:
    dialect = await open_dialect(works=False, cors_origins="https://app.example")
    sign_in(dialect)

    response = await dialect.http.get("models", headers={"Origin": "https://app.example"})

    expect(response, 401, "invalid_api_key")
    assert response.headers["access-control-allow-origin"] == "https://app.example"


async def test_while_the_database_is_away_the_library_is_told_when_to_come_again(
    open_dialect, sqlite_url: str
) -> None:
    dialect = await open_dialect(works=False, database_url=sqlite_url)
    # To SQLite a table that is not there is a fault from outside, as a broken disk is.
    await dialect.resources.database.write(lambda tx: tx.execute(sa.text("DROP TABLE api_key")))
    dialect.resources.known_keys.read_at = None

    with pytest.raises(openai.InternalServerError) as raised:
        await dialect.openai.with_options(max_retries=0).models.list()

    expect(raised.value.response, 503, "service_unavailable")
    assert raised.value.response.headers["retry-after"] == "5"


async def test_every_change_under_v1_is_a_line_with_the_name_of_the_key(open_dialect) -> None:
    dialect = await open_dialect(works=False)
    alice = sign_in(dialect)
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        file = await alice.files.create(file=jsonl(line("a", "swordfish")), purpose="batch")
        batch = await alice.batches.create(
            input_file_id=file.id, endpoint=CHAT, completion_window="24h"
        )
        for _ in range(2):
            await alice.batches.cancel(batch.id)
        await alice.files.delete(file.id)
        await alice.files.list()

    lines = [one for one in logs if one["action"] == "audit"]
    assert [(one["change"], one["target"]) for one in lines] == [
        ("file_created", file.id),
        ("batch_created", batch.id),
        ("batch_cancelled", batch.id),
        ("file_deleted", file.id),
    ]
    assert {one["key"] for one in lines} == {"alice"}
    assert all(one["request_id"] for one in lines)
    assert lines[0]["bytes"] == file.bytes
    assert "swordfish" not in str(logs)


async def test_what_is_sent_again_or_refused_under_v1_is_no_change(open_dialect) -> None:
    dialect = await open_dialect(works=False)
    file_id = await dialect.upload(line("a"))
    fields = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            await dialect.openai.batches.create(**fields, extra_headers={"Idempotency-Key": "once"})
            response = await dialect.http.post(
                "files",
                data={"purpose": "batch"},
                files={"file": ("a.jsonl", jsonl(line("b")))},
                headers={"Idempotency-Key": "a file"},
            )
            assert response.is_success
        await post_batch(dialect, endpoint="/v1/nothing")
        await dialect.http.delete("files/file-0")
        await dialect.http.post("batches/batch_0/cancel")

    changes = [one["change"] for one in logs if one["action"] == "audit"]
    assert changes == ["batch_created", "file_created"]


# --- whose a batch is, and its limits ------------------------------------------------------------


async def submit(client: openai.AsyncOpenAI, *lines: object, **fields: Any) -> Any:
    """A batch of these lines, sent with the client's key."""
    file = await client.files.create(file=jsonl(*lines), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window="24h", **fields
    )


async def native(dialect, client: openai.AsyncOpenAI, method: str, path: str, **given: Any) -> Any:
    """What the native API answers to the same key."""
    response = await dialect.http.request(
        method,
        f"http://service.localhost{path}",
        headers={"Authorization": f"Bearer {client.api_key}"},
        **given,
    )
    assert response.is_success, response.text
    return response.json()


async def paused(dialect, client: openai.AsyncOpenAI, prompts: int) -> None:
    """A batch of the key in the queue, of which nothing runs."""
    body = {"model": "tiny", "prompts": ["a"] * prompts}
    made = await native(dialect, client, "POST", "/batches", json=body)
    await native(dialect, client, "POST", f"/batches/{made['id']}/pause")


def seen_with(dialect, client: openai.AsyncOpenAI):
    """The dialect with another client, for `until`."""
    return dialect.__class__(openai=client, http=dialect.http, resources=dialect.resources)


async def test_a_batch_of_the_dialect_tells_whose_key_sent_it(dialect) -> None:
    alice, bob = sign_in(dialect), sign_in(dialect, name="bob")
    made = await submit(alice, line("a"))
    batch = await seen_with(dialect, alice).ended(made)

    assert batch.status == "completed"
    assert (await native(dialect, bob, "GET", f"/batches/{batch.id}"))["key"] == "alice"
    listed = await native(dialect, bob, "GET", "/batches?key=alice")
    assert [one["id"] for one in listed["data"]] == [batch.id]


@pytest.mark.parametrize(
    ("limits", "asked", "said"),
    [
        ({"max_priority": 0}, {"priority": 1}, "it is 1; with the key alice it must be at most 0"),
        ({"min_priority": 0}, {"priority": -1}, "must be at least 0"),
        ({"max_concurrent": 2}, {"max_concurrent": 3}, "it is 3; with the key alice"),
        ({"max_concurrent": 2}, {"max_concurrent": "auto"}, "it is `auto`"),
    ],
)
async def test_what_a_key_does_not_allow_is_refused_by_its_name(
    open_dialect, limits: dict[str, int], asked: dict[str, object], said: str
) -> None:
    dialect = await open_dialect(works=False)
    alice = sign_in(dialect, **limits)

    with pytest.raises(openai.BadRequestError) as raised:
        await submit(alice, line("a"), extra_body={"promptmill": asked})

    (name,) = asked
    error = expect(raised.value.response, 400, "invalid_value", f"promptmill.{name}")
    assert said in error["message"]
    assert (await alice.batches.list()).data == []


async def test_a_program_that_cannot_say_how_gets_what_its_key_allows(dialect) -> None:
    alice = sign_in(dialect, max_concurrent=2, max_priority=-5)
    batch = await seen_with(dialect, alice).ended(await submit(alice, line("a")))

    told = await native(dialect, alice, "GET", f"/batches/{batch.id}")
    assert (told["max_concurrent"], told["auto_concurrency"], told["priority"]) == (2, False, -5)


async def test_a_file_with_more_requests_than_a_batch_of_the_key_may_have_makes_none(
    dialect,
) -> None:
    alice = sign_in(dialect, max_batch_prompts=2)
    seen = seen_with(dialect, alice)
    full, beyond = [
        await seen.ended(await submit(alice, *lines))
        for lines in (
            (line("a"), "", line("b"), ""),
            (line("a"), line("b"), line("c")),
        )
    ]

    assert full.request_counts.completed == 2
    (error,) = beyond.errors.data
    assert (beyond.status, error.code) == ("failed", "too_many_tasks")
    assert "has 3 requests; at most 2" in error.message
    assert "a batch of the key alice" in error.message


async def test_a_file_that_the_queue_of_its_key_has_no_room_for_makes_no_batch(
    open_dialect,
) -> None:
    dialect = await open_dialect(works=False)
    alice, bob = sign_in(dialect, max_queued_prompts=3), sign_in(dialect, name="bob")
    await paused(dialect, alice, 2)

    with pytest.raises(openai.RateLimitError) as raised:
        await submit(alice, line("a"), line("b"))

    error = expect(raised.value.response, 429, "rate_limit_exceeded")
    assert "The key alice may have 3 prompts" in error["message"]
    assert raised.value.response.headers["retry-after"] == "10"
    assert (await submit(alice, line("a"))).status == "validating"
    assert (await submit(bob, line("a"), line("b"))).status == "validating"


async def test_a_queue_that_becomes_full_before_the_file_is_read_refuses_the_batch(
    open_dialect,
) -> None:
    dialect = await open_dialect(works=False)
    alice = sign_in(dialect, max_queued_prompts=3)
    batch = await submit(alice, line("a"), line("b"))
    await paused(dialect, alice, 2)

    async with working(dialect.resources):
        batch = await seen_with(dialect, alice).ended(batch)

    (error,) = batch.errors.data
    assert (batch.status, error.code) == ("failed", "token_limit_exceeded")
    assert "The key alice may have 3 prompts without an outcome, and has 2" in error.message


async def test_a_repetition_is_told_from_the_same_request_of_another_key(open_dialect) -> None:
    dialect = await open_dialect(works=False)
    alice, bob = sign_in(dialect), sign_in(dialect, name="bob")
    file_id = (await alice.files.create(file=jsonl(line("a")), purpose="batch")).id
    fields = {"input_file_id": file_id, "endpoint": CHAT, "completion_window": "24h"}
    again = {"x-stainless-retry-count": "1"}

    first = await alice.batches.create(**fields)
    repeated, of_bob = [
        await client.batches.create(**fields, extra_headers=again) for client in (alice, bob)
    ]

    assert repeated.id == first.id
    assert of_bob.id != first.id


# --- online calls --------------------------------------------------------------------------------


async def calls_of(dialect) -> list[str | None]:
    """The keys of the online calls that are under way."""
    statement = sa.select(job.c.key_id).where(job.c.kind == "online")
    return await dialect.resources.database.read(lambda tx: list(tx.execute(statement).scalars()))


async def test_a_key_has_no_more_calls_under_way_than_it_may(dialect) -> None:
    alice, bob = sign_in(dialect, max_concurrent=1), sign_in(dialect, name="bob")
    said: Any = {"model": "slow", "messages": [{"role": "user", "content": "Why?"}]}

    call = asyncio.create_task(alice.chat.completions.create(**said))
    with anyio.fail_after(10):
        while not (under_way := await calls_of(dialect)):
            await anyio.sleep(0.01)
    with pytest.raises(openai.RateLimitError) as raised:
        await alice.chat.completions.create(**said)
    of_bob = await bob.chat.completions.create(**said)
    await call
    after = await alice.chat.completions.create(**said)

    assert under_way == [alice.api_key.split("_")[1]]
    assert (
        "may have 1 calls under way"
        in expect(raised.value.response, 429, "rate_limit_exceeded")["message"]
    )
    assert of_bob.choices
    assert after.choices
    assert await calls_of(dialect) == []


async def test_a_call_is_one_of_the_prompts_that_a_key_may_have_without_an_outcome(dialect) -> None:
    alice = sign_in(dialect, max_queued_prompts=2)
    said: Any = {"model": "tiny", "messages": [{"role": "user", "content": "Why?"}]}
    await paused(dialect, alice, 1)
    assert (await alice.chat.completions.create(**said)).choices

    await paused(dialect, alice, 1)
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as raised:
            await alice.chat.completions.create(**said, stream=stream)
        assert "The key alice may have 2 prompts" in str(raised.value)

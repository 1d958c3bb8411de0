"""API keys under `/v1`, by OpenAI's own library: who gets in, and whose a batch is."""

from __future__ import annotations

import openai
import pytest
import sqlalchemy as sa
import structlog

from promptmill.domain.access.keys import KeyLimits, Scope
from promptmill.observability.metrics import REGISTRY
from promptmill.services import keys
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


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "rebound.example"}, 421, "host_not_allowed"),
        ({"Host": "a b"}, 400, "invalid_host"),
        ({"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "origin_not_allowed"),
    ],
)
async def test_what_a_foreign_page_asks_for_is_refused_in_openais_shape(
    dialect, headers: dict[str, str], status: int, code: str
) -> None:
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

"""What the log and the metrics tell of requests: every change with its key, and never a text."""

from __future__ import annotations

import json

import httpx
import structlog

from promptmill.domain.access.keys import KeyLimits, Scope
from promptmill.services.access import keys
from tests.api.conftest import answer_as_ollama

MARKER = "swordfish"
ANSWER = MARKER.upper()


def captured():
    return structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars])


async def test_every_change_is_a_line_with_the_name_of_the_key(service) -> None:
    made = keys.create(
        service.resources.database, "alice", scopes=frozenset({Scope.SUBMIT}), limits=KeyLimits()
    )
    headers = {"Authorization": f"Bearer {made.key}", "X-Request-ID": "r-1"}
    with captured() as logs:
        batch = (await service.post({"model": "tiny", "prompts": ["a"]}, **headers)).json()
        place = f"/batches/{batch['id']}"
        for method, path, body in (
            ("POST", f"{place}/pause", None),
            ("POST", f"{place}/resume", None),
            ("PATCH", place, {"priority": 3, "metadata": {"a": MARKER}}),
            ("POST", f"{place}/cancel", None),
        ):
            response = await service.client.request(method, path, json=body, headers=headers)
            assert response.is_success, response.text
        await service.client.get("/batches", headers=headers)

    lines = [line for line in logs if line["action"] == "audit"]
    assert [line["change"] for line in lines] == [
        "batch_created",
        "batch_paused",
        "batch_resumed",
        "batch_updated",
        "batch_cancelled",
    ]
    assert {line["target"] for line in lines} == {batch["id"]}
    assert {line["key"] for line in lines} == {"alice"}
    assert {line["request_id"] for line in lines} == {"r-1"}
    assert {line["client"] for line in lines} == {"127.0.0.1"}
    assert lines[3]["fields"] == ["priority", "metadata"]


async def test_a_request_that_is_repeated_or_refused_is_no_change(service) -> None:
    body = {"model": "tiny", "prompts": ["a"]}
    with captured() as logs:
        await service.post(body, Idempotency_Key="once")
        await service.post(body, Idempotency_Key="once")
        await service.post({**body, "prompts": []})
        await service.client.post("/batches/batch_0/cancel")

    assert [line["change"] for line in logs if line["action"] == "audit"] == ["batch_created"]


async def test_no_text_and_no_key_reaches_the_log_or_the_metrics(open_service) -> None:
    def fail_on_the_last(request):
        asked = json.loads(request.content or b"{}")
        if "fail" in str(asked.get("prompt")):
            return httpx.Response(500, json={"error": f"it said {asked['prompt']}"})
        return answer_as_ollama(request)

    key = f"{MARKER}-key-of-the-environment"
    service = await open_service(fail_on_the_last, api_keys=f"ci={key}:admin", retry_base_s=0)
    service.client.headers["Authorization"] = f"Bearer {key}"
    with captured() as logs:
        batch = await service.finished(
            {
                "model": "qwen3:8b",
                "prompts": [MARKER, {"prompt": f"{MARKER} fail", "id": MARKER}],
                "system": MARKER,
                "metadata": {"a": MARKER},
                "rate_limit_delay": 0,
                "max_attempts": 1,
            }
        )
        await service.post({"model": "tiny", "prompts": [MARKER, ""], "unknown": MARKER})
        await service.client.get(f"/batches?metadata.a={MARKER}")
        await service.client.get("/batches", headers={"Authorization": f"Bearer {MARKER}x"})
    told = (await service.client.get("/metrics")).text

    assert batch["counts"]["succeeded"] == 1
    assert batch["counts"]["failed"] == 1
    for text in (json.dumps(logs, default=str), told):
        assert MARKER not in text
        assert ANSWER not in text


async def test_a_running_service_tells_what_was_changed_of_the_keys(service) -> None:
    database, known = service.resources.database, service.resources.known_keys

    async def look() -> None:
        known.read_at = None if known.read_at is None else known.read_at - 60
        await service.client.get("/batches", headers={"X-Request-ID": "r-1"})

    keys.create(database, "old", scopes=frozenset({Scope.READ}), limits=KeyLimits())
    with captured() as logs:
        await look()
        keys.create(database, "alice", scopes=frozenset({Scope.READ}), limits=KeyLimits())
        await look()
        keys.rotate(database, "alice", overlap_s=1)
        await look()
        keys.revoke(database, "alice")
        await look()
        await look()

    lines = [line for line in logs if line["action"] == "audit"]
    assert [(line["change"], line["target"]) for line in lines] == [
        ("key_created", "alice"),
        ("key_rotated", "alice"),
        ("key_revoked", "alice"),
    ]
    assert {line["request_id"] for line in lines} == {None}

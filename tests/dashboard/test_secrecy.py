"""No text of a user reaches the log or the metrics, by whatever room of the service it goes."""

from __future__ import annotations

import json

import httpx
import structlog

from promptmill.worker.runner import working
from tests.api.conftest import answer_as_ollama
from tests.dashboard.conftest import HTML, Browser

MARKER = "Swordfish"
"""In every prompt, answer, system text, key, id, label and value; in capitals in every answer."""
KEY = f"{MARKER}-key-of-the-environment"
CHAT = {"model": "qwen3:8b", "messages": [{"role": "user", "content": MARKER}]}


def answer_or_fail(request: httpx.Request) -> httpx.Response:
    """As Ollama; a prompt with `fail` gets an error that repeats it, and one with `cut` half."""
    asked = json.loads(request.content or b"{}")
    if "fail" in str(asked.get("prompt")):
        return httpx.Response(500, json={"error": f"it said {asked['prompt']}"})
    if "cut" in str(asked.get("prompt")):
        return httpx.Response(200, content=f'{{"response": "{MARKER}'.encode())
    return answer_as_ollama(request)


async def test_no_text_of_any_room_reaches_the_log_or_the_metrics(open_service) -> None:
    service = await open_service(answer_or_fail, api_keys=f"ci={KEY}:admin", retry_base_s=0)
    browser, client = Browser(service), service.client
    with structlog.testing.capture_logs(
        processors=[structlog.contextvars.merge_contextvars]
    ) as logs:
        login = await browser.press("/ui/login", key=KEY, next=f"/ui/batches?q={MARKER}")
        wrong = await browser.press("/ui/login", key=f"{MARKER}-wrong", next=f"/{MARKER}")
        assert (login.status_code, wrong.status_code) == (303, 401)
        session = client.cookies.get("promptmill_session")
        client.headers["Authorization"] = f"Bearer {KEY}"
        async with working(service.resources):
            ids = [await natively(client), await in_lines(client)]
            online = await client.post("/v1/chat/completions", json={**CHAT, "user": MARKER})
            assert MARKER.upper() in online.text
            ids.append(await as_a_file(client))
            for batch_id in ids:
                ended = await client.get(f"/batches/{batch_id}", params={"wait_s": 60})
                assert ended.json()["finished_at"], ended.text
        await read_by_pages(browser, ids)
        await refused(client)
        metrics = (await client.get("/metrics")).text

    assert len(logs) > 20
    for text in (json.dumps(logs, default=str), metrics):
        assert MARKER.casefold() not in text.casefold()
        assert session not in text


async def natively(client: httpx.AsyncClient) -> str:
    body = {
        "model": "qwen3:8b",
        "prompts": [
            {"prompt": MARKER, "id": MARKER, "data": {MARKER: MARKER}},
            {"prompt": f"{MARKER} fail"},
            {"prompt": f"{MARKER} cut"},
            {"messages": CHAT["messages"], "system": MARKER},
        ],
        "system": MARKER,
        "metadata": {"a": MARKER},
        "label": MARKER,
        "max_attempts": 2,
        "rate_limit_delay": 0,
    }
    batch = await client.post("/batches", json=body, headers={"Idempotency-Key": MARKER})
    assert batch.status_code == 202, batch.text
    one = f"/batches/{batch.json()['id']}"
    changed = await client.patch(one, json={"metadata": {"b": MARKER}, "label": MARKER * 2})
    assert changed.status_code == 200, changed.text
    return batch.json()["id"]


async def in_lines(client: httpx.AsyncClient) -> str:
    batch = await client.post(
        "/batches",
        params={"model": "qwen3:8b", "system": MARKER, "metadata.a": MARKER},
        content=json.dumps(MARKER) + "\n",
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert batch.status_code == 202, batch.text
    return batch.json()["id"]


async def as_a_file(client: httpx.AsyncClient) -> str:
    line = {
        "custom_id": MARKER,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": CHAT,
    }
    stored = await client.post(
        "/v1/files",
        data={"purpose": "batch"},
        files={"file": (f"{MARKER}.jsonl", json.dumps(line) + "\n")},
    )
    assert stored.status_code == 200, stored.text
    batch = await client.post(
        "/v1/batches",
        json={
            "input_file_id": stored.json()["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"a": MARKER},
        },
    )
    assert batch.status_code == 200, batch.text
    waited = batch
    while waited.json()["status"] in {"validating", "in_progress", "finalizing"}:
        waited = await client.get(f"/v1/batches/{batch.json()['id']}")
    assert waited.json()["status"] == "completed", waited.text
    return batch.json()["id"]


async def read_by_pages(browser: Browser, ids: list[str]) -> None:
    for path in ("/", f"/ui/batches?q={MARKER}", f"/ui/batches/{ids[0]}?q={MARKER}"):
        answer = await browser.service.client.get(path, headers=HTML)
        assert answer.status_code == 200, answer.text
    found = await browser.service.client.get(f"/batches/{ids[0]}/results?q={MARKER}")
    assert MARKER.upper() in found.text


async def refused(client: httpx.AsyncClient) -> None:
    """Requests with something wrong, whose answers may repeat it and whose log lines may not."""
    answers = [
        await client.post("/batches", json={"prompts": [MARKER, ""], MARKER: MARKER}),
        await client.post("/batches", content=f'{{"prompts": ["{MARKER}'.encode()),
        await client.post("/v1/chat/completions", json={**CHAT, "temperature": MARKER}),
        await client.post("/v1/batches", json={"input_file_id": MARKER}),
        await client.get("/batches", params={"metadata.a": MARKER, "cursor": MARKER}),
        await client.get("/batches", headers={"Authorization": f"Bearer {MARKER}"}),
        await client.get("/batches", headers={"Cookie": f"promptmill_session={MARKER}"}),
    ]
    assert [answer.is_success for answer in answers] == [False] * 6 + [True]

"""What is refused for lack of room: uploads and downloads beyond their number, a disk nearly full."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from promptmill.domain.access.streams import StreamKind

BODY = {"model": "qwen3:8b", "prompts": ["a"]}
LINES = {"Content-Type": "application/x-ndjson"}
MORE_THAN_ANY_DISK_HAS = 2**60
NEW_WORK = {
    "/batches": {"json": BODY},
    "/batches?model=qwen3:8b": {"content": b'"a"\n', "headers": LINES},
    "/batches?dry_run=true": {"json": BODY},
    "/benchmarks": {"json": {"models": ["qwen3:8b"], "prompts": ["a"]}},
    "/v1/files": {"files": {"file": ("in.jsonl", b"{}\n")}, "data": {"purpose": "batch"}},
    "/v1/batches": {
        "json": {
            "input_file_id": "file-1",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
    },
    "/v1/chat/completions": {
        "json": {"model": "qwen3:8b", "messages": [{"role": "user", "content": "a"}]}
    },
}


@pytest.mark.parametrize("path", NEW_WORK)
async def test_new_work_is_refused_while_the_disk_is_nearly_full(open_service, path: str) -> None:
    service = await open_service(min_free_bytes=MORE_THAN_ANY_DISK_HAS)

    answer = await service.client.post(path, **NEW_WORK[path])

    assert answer.status_code == 507, answer.text
    assert "PROMPTMILL_MIN_FREE_BYTES" in answer.text
    assert not await service.stored()


async def test_what_runs_goes_on_while_the_disk_is_nearly_full(open_service) -> None:
    service = await open_service()
    sent = {"content": json.dumps(BODY), "headers": {"Content-Type": "application/json"}}
    sent["headers"]["Idempotency-Key"] = "k"
    batch = (await service.client.post("/batches", **sent)).json()["id"]
    full = await open_service(min_free_bytes=MORE_THAN_ANY_DISK_HAS)

    again = await full.client.post("/batches", **sent)
    results = await full.client.get(f"/batches/{batch}/results")
    cancelled = await full.client.post(f"/batches/{batch}/cancel")
    retried = await full.client.post(f"/batches/{batch}/retry")

    assert (again.status_code, again.json()["id"]) == (202, batch)
    assert (results.status_code, cancelled.status_code) == (200, 202)
    assert retried.status_code == 507


async def test_one_upload_more_than_there_may_be_is_refused_before_it_is_read(open_service) -> None:
    service = await open_service(max_uploads=1)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b'"a"\n'
        begun.set()
        await go_on.wait()

    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("nobody should read this")
        yield b""

    first = asyncio.create_task(
        service.client.post("/batches?model=qwen3:8b", content=lines(), headers=LINES)
    )
    await begun.wait()
    refused = await service.client.post("/batches?model=qwen3:8b", content=never(), headers=LINES)
    as_json = await service.client.post("/batches", json=BODY)
    go_on.set()

    assert (refused.status_code, refused.json()["type"]) == (429, "/problems/limit-exceeded")
    assert "PROMPTMILL_MAX_UPLOADS" in refused.json()["detail"]
    assert (as_json.status_code, (await first).status_code) == (202, 202)
    assert not service.resources.streams._open


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/results?format=ndjson", {}, 429),
        ("/results", {"Accept": "text/csv"}, 429),
        ("/results", {}, 200),
        ("/results?limit=10", {"Accept": "application/json"}, 200),
        ("/results?format=json", {}, 200),
    ],
)
async def test_one_download_more_than_there_may_be_is_refused_and_pages_are_none(
    open_service, path: str, headers: dict[str, str], status: int
) -> None:
    service = await open_service(max_exports=1)
    batch = (await service.post(BODY)).json()["id"]

    async def asked() -> httpx.Response:
        return await service.client.get(f"/batches/{batch}{path}", headers=headers)

    with service.resources.streams.counted(StreamKind.EXPORT, None):
        answer = await asked()

    assert answer.status_code == status
    assert (await asked()).status_code == 200

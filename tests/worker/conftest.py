"""A worker on a real database, whose Ollama is a function of the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from promptmill.domain.batches import Batch, BatchDraft, PromptDraft, TaskResult
from promptmill.domain.limits import Limits
from promptmill.runtime import open_resources
from promptmill.services import batches
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.worker.runner import working

Answer = Callable[[dict[str, Any]], Any]


def stream(text: str = "An answer.", **final: Any) -> httpx.Response:
    """What Ollama sends for an answer."""
    lines = [
        {"model": "m", "created_at": "2026-11-23T00:00:00Z", "response": text, "done": False},
        {
            "model": "m",
            "created_at": "2026-11-23T00:00:00Z",
            "response": "",
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 3,
            "eval_count": 2,
            "eval_duration": 1000,
            **final,
        },
    ]
    body = "".join(json.dumps(line) + "\n" for line in lines)
    return httpx.Response(
        200, content=body.encode(), headers={"content-type": "application/x-ndjson"}
    )


class Ollama:
    """A pretend host: what it was asked, how much at once, and answers of the test's choice."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.starts: list[float] = []
        self.in_flight = 0
        self.peak = 0
        self.answer: Callable[[dict[str, Any]], Any] = lambda body: stream(f"re: {body['prompt']}")
        self.hold: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.up = True
        self.loaded: list[dict[str, Any]] = []
        """What `/api/ps` tells."""
        self.looks = 0
        """How often it was asked."""

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if not self.up:
            raise httpx.ConnectError("refused", request=request)
        if request.url.path == "/api/version":
            return httpx.Response(200, json={"version": "0.24.0"})
        if request.url.path == "/api/ps":
            self.looks += 1
            return httpx.Response(200, json={"models": self.loaded})
        if request.method == "GET":
            return httpx.Response(200, json={"models": []})
        body = json.loads(request.content)
        self.starts.append(asyncio.get_running_loop().time())
        self.asked.append(body)
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        self.arrived.set()
        try:
            if self.hold is not None:
                await self.hold.wait()
            answer = self.answer(body)
            return await answer if asyncio.iscoroutine(answer) else answer
        finally:
            self.in_flight -= 1


class Service:
    """The use cases of one process, in calls that read like sentences."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    async def submit(self, prompts: int | list[str] | list[PromptDraft] = 3, **fields: Any) -> str:
        texts = prompts if isinstance(prompts, list) else [f"Question {n}" for n in range(prompts)]
        draft = BatchDraft(
            **{
                "prompts": [PromptDraft(one) if isinstance(one, str) else one for one in texts],
                "model": "m",
                "limits": Limits(max_concurrent=5, rate_limit_delay_s=0),
                **fields,
            }
        )
        return (await batches.submit(self.resources, draft)).batch.id

    async def ended(self, batch_id: str, *, timeout_s: float = 20) -> Batch:
        batch = await batches.wait_until_ended(self.resources, batch_id, timeout_s=timeout_s)
        assert batch.finished_at_ms is not None, f"still {batch.state}: {batch.counts}"
        return batch

    async def results(self, batch_id: str) -> list[TaskResult]:
        page = await batches.results_page(self.resources, batch_id, limit=1000)
        return list(page.results)


@pytest.fixture
def ollama() -> Ollama:
    return Ollama()


@pytest.fixture
def settings(database_url: str) -> Settings:
    return Settings(
        database_url=database_url,
        lease_s=3,
        heartbeat_s=0.5,
        poll_s=0.2,
        drain_s=2,
        retry_base_s=0.01,
        retry_most_s=0.05,
    )


@pytest.fixture
def serving(settings: Settings, ollama: Ollama) -> Callable[..., Any]:
    """`async with serving() as service`: resources and a worker, as `promptmill serve` has them."""

    @contextlib.asynccontextmanager
    async def start(**changes: Any) -> AsyncIterator[Service]:
        changed = settings.model_copy(update=changes)
        transport = httpx.MockTransport(ollama)
        async with open_resources(changed, transport=transport) as resources:
            if changed.embedded_worker:
                async with working(resources):
                    yield Service(resources)
            else:
                yield Service(resources)

    return start

"""`max_concurrent: auto` while a real worker works, on both databases and by real time."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.runtime import open_resources
from promptmill.services import batches, recommended_limit
from tests.worker.conftest import stream

DRAFT = BatchDraft(
    prompts=[PromptDraft("a")],
    model="m",
    limits=Limits(max_concurrent=5, rate_limit_delay_s=0.25),
    auto_concurrency=True,
)

# The clock on the wall is what these tests look at: they run one at a time.
pytestmark = pytest.mark.proof


def host_with(size: str | None) -> httpx.MockTransport:
    """An Ollama that has the model `m`, of that size."""

    def answer(request: httpx.Request) -> httpx.Response:
        details = {"parameter_size": size} if size else {}
        listed = {"name": "m:latest", "size": 1, "digest": "d", "details": details}
        return httpx.Response(200, json={"models": [listed]})

    return httpx.MockTransport(answer)


async def test_the_limit_follows_the_throughput_of_the_host(serving: Any, ollama: Any) -> None:
    async def answer(body: dict[str, Any]) -> httpx.Response:
        await asyncio.sleep(0.1)
        return stream("An answer.")

    ollama.answer = answer
    async with serving() as service:
        start = Limits(max_concurrent=2, rate_limit_delay_s=0)
        batch_id = await service.submit(2_000, limits=start, auto_concurrency=True)
        begun = await batches.get(service.resources, batch_id)
        async with asyncio.timeout(30):
            while ollama.peak < 8:
                await asyncio.sleep(0.1)
        grown = await batches.get(service.resources, batch_id)
        await batches.cancel(service.resources, batch_id)
        await service.ended(batch_id)

    assert begun.limits.max_concurrent == 5  # The size of the model is not known.
    assert grown.auto_concurrency
    assert grown.limits.max_concurrent >= 8


@pytest.mark.parametrize(
    ("size", "number"), [("7.2M", 8), ("8.2B", 5), ("70.6B", 2), (None, 5), ("large", 5)]
)
async def test_it_starts_at_what_is_recommended_for_the_model(
    settings: Any, size: str | None, number: int
) -> None:
    async with open_resources(settings, transport=host_with(size)) as resources:
        draft = await recommended_limit.with_starting_limit(resources, DRAFT)

    assert draft.limits == Limits(max_concurrent=number, rate_limit_delay_s=0.25)


async def test_it_starts_at_five_when_no_host_answers(serving: Any, ollama: Any) -> None:
    ollama.up = False
    async with serving(embedded_worker=False) as service:
        batch_id = await service.submit(1, auto_concurrency=True)
        batch = await batches.get(service.resources, batch_id)

    assert batch.limits.max_concurrent == 5

"""The service in this process with a worker, a pretend Ollama, and OpenAI's own library as client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import openai
import pytest

from promptmill.runtime import open_resources
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.simulator import ModelSpec, SimulatorSettings, Speed, running_in_thread
from promptmill.worker.runner import working
from tests.api.conftest import application

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="session")
def ollama_url() -> Iterator[str]:
    """A pretend Ollama with three quick models."""
    models = (
        *(ModelSpec(name=name, speed=Speed(request_s=0.005)) for name in ("tiny", "b", "c")),
        ModelSpec(name="talker", speed=Speed(decode_tokens_per_s=60)),
        ModelSpec(name="slow", speed=Speed(request_s=0.3)),
        ModelSpec(
            name="nomic-embed-text",
            capabilities=("embedding",),
            embedding_length=16,
            context_length=64,
            speed=Speed(request_s=0.005),
        ),
        ModelSpec(
            name="caller", capabilities=("completion", "tools"), speed=Speed(request_s=0.005)
        ),
    )
    settings = SimulatorSettings(models=models, num_parallel=8, max_loaded=6)
    with running_in_thread(settings) as url:
        yield url


def line(
    custom_id: str, content: object = "Why?", *, url: str = CHAT, **body: Any
) -> dict[str, Any]:
    """A line of an input file."""
    said = (
        {"messages": [{"role": "user", "content": content}]} if url == CHAT else {"prompt": content}
    )
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": url,
        "body": {"model": "tiny", **said, **body},
    }


def jsonl(*lines: object) -> bytes:
    """Lines as the bytes of a file; text stands as it is."""
    return b"".join(
        (one if isinstance(one, str) else json.dumps(one)).encode() + b"\n" for one in lines
    )


@dataclass
class Dialect:
    """The service, seen by OpenAI's library and by plain HTTP."""

    openai: openai.AsyncOpenAI
    http: httpx.AsyncClient
    """Its base URL ends in `/v1/`."""
    resources: Resources

    async def upload(self, *lines: object) -> str:
        """The id of a new file."""
        content = lines[0] if lines and isinstance(lines[0], bytes) else jsonl(*lines)
        made = await self.openai.files.create(file=("in.jsonl", content), purpose="batch")
        return made.id

    async def create(self, *lines: object, endpoint: str = CHAT, **fields: Any) -> Any:
        """A batch of these lines."""
        file_id = await self.upload(*lines)
        return await self.openai.batches.create(
            input_file_id=file_id, endpoint=endpoint, completion_window="24h", **fields
        )

    async def ended(self, batch: Any) -> Any:
        """The batch at its end."""
        with anyio.fail_after(30):
            while batch.status in {"validating", "in_progress", "finalizing", "cancelling"}:
                await anyio.sleep(0.02)
                batch = await self.openai.batches.retrieve(batch.id)
        return batch

    async def lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """The lines of an output or error file."""
        if file_id is None:
            return []
        content = await self.openai.files.content(file_id)
        return [json.loads(one) for one in content.text.splitlines()]

    async def done(self, *lines: object, **fields: Any) -> tuple[Any, list[Any], list[Any]]:
        """A batch of these lines at its end, with what is in its output and its error file."""
        batch = await self.ended(await self.create(*lines, **fields))
        return (
            batch,
            await self.lines(batch.output_file_id),
            await self.lines(batch.error_file_id),
        )


@pytest.fixture
async def open_dialect(database_url: str, ollama_url: str) -> AsyncIterator[Callable]:
    """Opens the service with settings of the test's choice, with a worker unless told."""
    async with AsyncExitStack() as stack:

        async def opened(*, works: bool = True, **settings: object) -> Dialect:
            given = {"ollama_host": ollama_url, "database_url": database_url, "poll_s": 0.05}
            resources = await stack.enter_async_context(
                open_resources(Settings(**given | settings))
            )
            if works:
                await stack.enter_async_context(working(resources))
            app = stack.enter_context(application(resources))
            client = await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app, raise_app_exceptions=False),
                    base_url="http://service.localhost/v1/",
                )
            )
            return Dialect(
                openai=openai.AsyncOpenAI(
                    api_key="any",
                    base_url="http://service.localhost/v1",
                    http_client=client,
                    _strict_response_validation=True,
                ),
                http=client,
                resources=resources,
            )

        yield opened


@pytest.fixture
async def dialect(open_dialect) -> Dialect:
    return await open_dialect()

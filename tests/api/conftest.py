"""The API in this process: real services on a fresh SQLite file, a transport in place of Ollama."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager

import httpx
import pytest
from fastapi import FastAPI

from promptmill.api import build_api
from promptmill.dashboard import install_dashboard
from promptmill.runtime import open_resources
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.worker.runner import working


def answer_as_ollama(request: httpx.Request) -> httpx.Response:
    """Every model but `missing` is there and repeats the prompt in capitals."""
    path = request.url.path
    if path == "/api/version":
        return httpx.Response(200, json={"version": "0.24.0"})
    if path == "/api/tags":
        return httpx.Response(200, json={"models": [_model("qwen3:8b", "8.2B")]})
    if path == "/api/ps":
        return httpx.Response(200, json={"models": [_model("qwen3:8b", "8.2B")]})
    asked = json.loads(request.content)
    if path == "/api/show":
        return httpx.Response(200, json={"capabilities": ["completion"], "model_info": {}})
    if asked["model"] == "missing":
        return httpx.Response(404, json={"error": "model 'missing' not found"})
    text = asked["prompt"] if "prompt" in asked else asked["messages"][-1]["content"]
    key, said = (
        ("response", text.upper())
        if path == "/api/generate"
        else ("message", {"role": "assistant", "content": text.upper()})
    )
    last = {
        "model": asked["model"],
        "created_at": "2026-11-23T06:30:00Z",
        key: said,
        "done": True,
        "done_reason": "stop",
        "total_duration": 5_000_000,
        "prompt_eval_count": 11,
        "eval_count": 20,
    }
    return httpx.Response(200, content=json.dumps(last).encode() + b"\n")


def _model(name: str, size: str) -> dict[str, object]:
    details = {"family": "qwen3", "parameter_size": size, "quantization_level": "Q4_K_M"}
    return {
        "name": name,
        "model": name,
        "size": 5_225_388_164,
        "digest": "500a1f06",
        "details": details,
        "modified_at": "2026-11-01T00:00:00Z",
        "expires_at": "2026-11-23T07:00:00Z",
        "size_vram": 0,
    }


def refuse_connections(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("All connection attempts failed", request=request)


BuildApi = Callable[[], FastAPI]
_idle: dict[BuildApi, list[FastAPI]] = {}


@contextmanager
def application(resources: Resources, build: BuildApi = build_api) -> Iterator[FastAPI]:
    """The API with these resources, while the block runs; nothing may be added to it.

    FastAPI prepares a route at its first request, which takes longer than most tests: so the
    application of a test that is over serves the next one.
    """
    idle = _idle.setdefault(build, [])
    app = idle.pop() if idle else build()
    app.state.resources = resources
    yield app
    idle.append(app)


class Service:
    """The service under test, as a client and from the inside."""

    def __init__(self, client: httpx.AsyncClient, resources: Resources) -> None:
        self.client = client
        self.resources = resources

    async def post(self, body: object, **headers: str) -> httpx.Response:
        """Submit a body: bytes as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return await self.client.post("/batches", content=content, headers=names)

    async def stored(self) -> list[dict[str, object]]:
        """All batches there are."""
        return (await self.client.get("/batches", params={"limit": 1000})).json()["data"]

    async def finished(self, body: object) -> dict[str, object]:
        """Submit, let a worker do it, and read it at its end."""
        batch = (await self.post(body)).json()
        async with working(self.resources):
            response = await self.client.get(
                f"/batches/{batch['id']}", params={"wait_s": 30, "limit": 1000}
            )
        return response.json()


def api_with_pages() -> FastAPI:
    app = build_api()
    install_dashboard(app)
    return app


@pytest.fixture
def build() -> BuildApi:
    """What builds the application of the tests."""
    return build_api


@pytest.fixture
async def open_service(sqlite_url: str, build: BuildApi) -> AsyncIterator[Callable]:
    """Opens the service with settings and an Ollama of the test's choice."""
    async with AsyncExitStack() as stack:

        async def opened(ollama=answer_as_ollama, **settings: object) -> Service:
            resources = await stack.enter_async_context(
                open_resources(
                    Settings(database_url=sqlite_url, poll_s=0.05, **settings),
                    transport=httpx.MockTransport(ollama),
                )
            )
            app = stack.enter_context(application(resources, build))
            client = await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app), base_url="http://service.localhost"
                )
            )
            return Service(client, resources)

        yield opened


@pytest.fixture
async def service(open_service) -> Service:
    return await open_service()

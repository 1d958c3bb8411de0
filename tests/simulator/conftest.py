"""A simulator on a free port of this event loop, with a client for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import httpx
import pytest

from promptmill.simulator import (
    ModelSpec,
    Simulator,
    SimulatorSettings,
    Speed,
    create_simulator,
    running,
)

PATIENCE_S = 30.0


@dataclass
class Simulated:
    """A running simulator and its client."""

    simulator: Simulator
    client: httpx.AsyncClient
    url: str

    async def generate(self, prompt, model="tiny", **fields) -> httpx.Response:
        """POST /api/generate."""
        return await self.client.post(
            "/api/generate", json={"model": model, "prompt": prompt, **fields}
        )

    def start(self, prompt, model="tiny", **fields) -> asyncio.Task[httpx.Response]:
        """The same in a task of its own."""
        return asyncio.create_task(self.generate(prompt, model, **fields))

    async def until(self, met) -> None:
        """Wait for the counts."""
        async with asyncio.timeout(PATIENCE_S):
            await self.simulator.until(met)

    @property
    def loaded(self) -> list[str]:
        return list(self.simulator.state.scheduler.loaded)


Open = Callable[..., AbstractAsyncContextManager[Simulated]]


@pytest.fixture
def simulated() -> Open:
    """Open a simulator: `async with simulated(num_parallel=2) as server`.

    The models `tiny` and `small` take no time unless `speed` says so.
    """

    @contextlib.asynccontextmanager
    async def opened(
        *, speed: Speed | None = None, models=("tiny", "small"), **settings
    ) -> AsyncGenerator[Simulated]:
        specs = [
            model if isinstance(model, ModelSpec) else ModelSpec(name=model, speed=Speed())
            for model in models
        ]
        if speed is not None:
            specs = [replace(spec, speed=speed) for spec in specs]
        simulator = create_simulator(SimulatorSettings(models=tuple(specs), **settings))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with (
            running(simulator) as url,
            httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, limits=limits) as client,
        ):
            yield Simulated(simulator, client, url)

    return opened


@pytest.fixture
def lines() -> Callable[[httpx.Response], list[dict]]:
    """The lines of a stream as objects."""
    return lambda response: [json.loads(line) for line in response.text.splitlines()]

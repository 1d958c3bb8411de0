"""A pretended Ollama for the tests of `OllamaManager`: models that take no time unless they must."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest

from promptmill.simulator import (
    ModelSpec,
    Simulator,
    SimulatorSettings,
    Speed,
    create_simulator,
    running,
)

PATIENCE_S = 20.0
INSTANT = Speed()
"""No time at all."""
ENDLESS = Speed(request_s=600.0)
"""An answer that does not come as long as a test runs."""


def pretended(
    *models: str | ModelSpec, speed: Speed = INSTANT, pullable: tuple[str, ...] = (), **settings
) -> Simulator:
    """A simulator with these models (`tiny` unless told), to be run on a port."""
    return create_simulator(
        SimulatorSettings(
            models=tuple(_spec(model, speed) for model in models or ("tiny",)),
            pullable=tuple(_spec(name, speed) for name in pullable),
            **{"num_parallel": 64, "pull_s": 0.0, **settings},
        )
    )


def _spec(model: str | ModelSpec, speed: Speed) -> ModelSpec:
    return ModelSpec(name=model, speed=speed) if isinstance(model, str) else model


@contextlib.asynccontextmanager
async def listening(
    *models: str | ModelSpec, **settings
) -> AsyncGenerator[tuple[str, Simulator], None]:
    """The same on a port of this event loop: its URL, and itself to be asked what it saw."""
    simulator = pretended(*models, **settings)
    async with running(simulator) as url:
        yield url, simulator


async def until(simulator: Simulator, met) -> None:
    """Wait until the simulator's counts are as `met` wants them."""
    async with asyncio.timeout(PATIENCE_S):
        await simulator.until(met)


async def given_up(batch: asyncio.Task) -> None:
    """Cancel what runs, and wait until it has ended so."""
    batch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await batch

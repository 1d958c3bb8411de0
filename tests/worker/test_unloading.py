"""A short `keep_alive`: the model stays between the prompts, and goes after the last one."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.runtime import open_resources
from promptmill.services import batches
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.simulator import (
    ModelSpec,
    Simulator,
    SimulatorSettings,
    Speed,
    create_simulator,
    running,
)
from promptmill.worker.runner import working

QUICK = Speed(load_s=0.05, request_s=0.02)
PATIENCE_S = 20


class Bench:
    """A host with the models `a` and `b`, and services before it, one after the other."""

    def __init__(self, simulator: Simulator, settings: Settings) -> None:
        self.simulator = simulator
        self.settings = settings

    @contextlib.asynccontextmanager
    async def serving(self, **changes: Any) -> AsyncIterator[Resources]:
        settings = self.settings.model_copy(update=changes)
        async with open_resources(settings) as resources, working(resources):
            yield resources

    async def run(self, resources: Resources, model: str = "a", **fields: Any) -> None:
        batch_id = await self.submit(resources, model, **fields)
        found = await batches.wait_until_ended(resources, batch_id, timeout_s=PATIENCE_S)
        assert found.finished_at_ms is not None

    async def submit(self, resources: Resources, model: str = "a", **fields: Any) -> str:
        draft = BatchDraft(
            prompts=[PromptDraft(f"{model} {n}") for n in range(3)],
            model=model,
            **{"limits": Limits(max_concurrent=1, rate_limit_delay_s=0), **fields},
        )
        return (await batches.submit(resources, draft)).batch.id

    async def loaded(self, resources: Resources) -> set[str]:
        return {one.name for one in await resources.hosts[0].client.list_running()}

    async def until_loaded(self, resources: Resources, models: set[str]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await self.loaded(resources) != models:
                await asyncio.sleep(0.02)

    def loads(self, model: str = "a") -> int:
        return self.simulator.stats()["models"][f"{model}:latest"]["loads"]


@pytest.fixture
async def bench(database_url: str) -> AsyncIterator[Bench]:
    simulator = create_simulator(
        SimulatorSettings(
            models=tuple(ModelSpec(name=name, speed=QUICK) for name in ("a", "b")), max_loaded=2
        )
    )
    async with running(simulator) as url:
        settings = Settings(ollama_hosts=url, database_url=database_url, poll_s=0.1, drain_s=2)
        yield Bench(simulator, settings)


@pytest.mark.parametrize("keep_alive", [0, "0s", 0.2, "200ms"])
async def test_the_model_is_loaded_once_and_unloaded_after_the_last_prompt(
    bench: Bench, keep_alive: object
) -> None:
    async with bench.serving() as resources:
        await bench.run(resources, parameters={"keep_alive": keep_alive})
        await bench.until_loaded(resources, set())
    assert bench.loads() == 1


@pytest.mark.proof
async def test_the_model_stays_for_the_time_that_was_asked_for(bench: Bench) -> None:
    async with bench.serving() as resources:
        await bench.run(resources, parameters={"keep_alive": "1s"})
        ended_at = time.monotonic()
        await bench.until_loaded(resources, set())
    # The last call ended a little before the batch did.
    assert time.monotonic() - ended_at > 0.8


async def test_a_batch_that_names_a_longer_time_or_none_has_the_last_word(bench: Bench) -> None:
    async with bench.serving() as resources:
        await bench.run(resources, "b", parameters={"keep_alive": "300ms"})
        await bench.run(resources, "b")
        await bench.run(resources, "a", parameters={"keep_alive": "600ms"})
        # By then the time of `b` would have been over too.
        await bench.until_loaded(resources, {"b:latest"})


async def test_a_model_that_another_batch_waits_for_stays(bench: Bench) -> None:
    async with bench.serving() as resources:
        slow = Limits(max_concurrent=1, rate_limit_delay_s=1.5)
        other = await bench.submit(resources, "a", limits=slow, parameters={"keep_alive": 0})
        await bench.run(resources, "a", parameters={"keep_alive": 0})
        left = await batches.get(resources, other)
        await batches.wait_until_ended(resources, other, timeout_s=PATIENCE_S)
        await bench.until_loaded(resources, set())
    assert left.counts.pending, "it still waited when the first one ended"
    assert bench.loads("a") == 1


@pytest.mark.parametrize("ends", ["before", "after"])
async def test_a_worker_that_starts_unloads_what_one_before_it_kept(
    bench: Bench, ends: str
) -> None:
    # No look falls between the end of the batch and that of the worker.
    async with bench.serving(poll_s=60.0) as resources:
        if ends == "before":
            await bench.run(resources, parameters={"keep_alive": 0})
        else:
            paced = Limits(max_concurrent=1, rate_limit_delay_s=0.5)
            batch_id = await bench.submit(resources, limits=paced, parameters={"keep_alive": 0})
            await bench.until_loaded(resources, {"a:latest"})
        assert await bench.loaded(resources) == {"a:latest"}
    async with bench.serving() as resources:
        if ends == "after":
            await batches.cancel(resources, batch_id)
        await bench.until_loaded(resources, set())


async def test_without_grouping_ollama_itself_is_told_to_unload(bench: Bench) -> None:
    async with bench.serving(grouping=False) as resources:
        await bench.run(resources, parameters={"keep_alive": 0})
    assert {call.keep_alive_s for call in bench.simulator.calls if call.prompt} == {0}
    assert bench.loads() > 1

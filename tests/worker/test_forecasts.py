"""Forecasts beside what came: batches before simulated hosts, watched until they have ended.

What was foretold around a third of a batch's life is compared with what was then still to come. The
bounds are wide: the machine is busy with other things, and it is the rules that are tested here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from statistics import median
from typing import Any

import pytest

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.runtime import open_resources
from promptmill.services import batches
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.simulator import ModelSpec, SimulatorSettings, Speed, running
from promptmill.worker.runner import working

pytestmark = pytest.mark.proof  # compares times that it measures, so nothing may run beside it

PATIENCE_S = 60
SPEED = Speed(load_s=0.2, request_s=0.1)
TRUE_ENOUGH = pytest.approx(1.1, abs=0.5)
"""0.6 to 1.6 times what came."""


class Life:
    """A batch, and what was foretold of it at which moment."""

    def __init__(self, batch_id: str) -> None:
        self.id = batch_id
        self.began_at = time.monotonic()
        self.took_s: float | None = None
        self.looks: list[tuple[float, float | None]] = []
        """Seconds since it was submitted, and the forecast."""

    def ratio(self, first: float = 0.25, last: float = 0.45) -> float:
        """What was foretold in that part of its life as a multiple of what came."""
        assert self.took_s is not None
        return median(
            eta_s / (self.took_s - at_s)
            for at_s, eta_s in self.looks
            if eta_s is not None and first * self.took_s <= at_s <= last * self.took_s
        )

    def foretold_end_s(self, first: float, last: float) -> float:
        """Seconds of its life, as foretold in that part of it."""
        assert self.took_s is not None
        return median(
            at_s + eta_s
            for at_s, eta_s in self.looks
            if eta_s is not None and first * self.took_s <= at_s <= last * self.took_s
        )


class Farm:
    """A service with a worker before some hosts of four slots."""

    def __init__(self, resources: Resources, hosts: list[contextlib.AsyncExitStack]) -> None:
        self.resources = resources
        self.hosts = hosts
        """Closing one ends the host."""

    async def submit(self, prompts: int, model: str = "a", *, priority: int = 0) -> Life:
        draft = BatchDraft(
            prompts=[PromptDraft(f"{n}") for n in range(prompts)],
            model=model,
            limits=Limits(max_concurrent=16, rate_limit_delay_s=0),
            priority=priority,
        )
        return Life((await batches.submit(self.resources, draft)).batch.id)

    async def watch(self, *lives: Life, until_done: int | None = None) -> None:
        """Look at the batches until all have ended, or so many prompts of one are done."""
        async with asyncio.timeout(PATIENCE_S):
            while waiting := [one for one in lives if one.took_s is None]:
                for one in waiting:
                    batch = await batches.wait_until_ended(
                        self.resources, one.id, timeout_s=0.1 / len(waiting)
                    )
                    now_s = time.monotonic() - one.began_at
                    if batch.finished_at_ms is None:
                        one.looks.append((now_s, batch.eta_s))
                        if until_done is not None and batch.counts.finished >= until_done:
                            return
                    else:
                        one.took_s = now_s


@pytest.fixture
def farm(sqlite_url: str) -> Callable[..., Any]:
    """`async with farm(["a", "b"], ["a"]) as farm`: a host for each list of models, of one kept."""

    @contextlib.asynccontextmanager
    async def opened(*models: list[str]) -> AsyncIterator[Farm]:
        async with contextlib.AsyncExitStack() as stack:
            hosts = [await stack.enter_async_context(contextlib.AsyncExitStack()) for _ in models]
            urls = [
                await host.enter_async_context(
                    running(
                        SimulatorSettings(
                            models=tuple(ModelSpec(name=name, speed=SPEED) for name in names),
                            max_loaded=1,
                            num_parallel=4,
                        )
                    )
                )
                for host, names in zip(hosts, models, strict=True)
            ]
            settings = Settings(
                ollama_hosts=",".join(f"{url};slots=4" for url in urls),
                database_url=sqlite_url,
                poll_s=0.1,
                drain_s=0,
                retry_base_s=0.01,
                aging_s=0,
            )
            resources = await stack.enter_async_context(open_resources(settings))
            await stack.enter_async_context(working(resources))
            yield Farm(resources, hosts)

    return opened


async def test_of_one_batch_alone(farm) -> None:
    async with farm(["a"]) as one:
        life = await one.submit(160)
        await one.watch(life)

    assert life.ratio() == TRUE_ENOUGH


async def test_of_two_equal_batches(farm) -> None:
    async with farm(["a"]) as one:
        lives = [await one.submit(100), await one.submit(100)]
        await one.watch(*lives)

    assert [life.ratio() for life in lives] == [TRUE_ENOUGH, TRUE_ENOUGH]


async def test_of_a_short_batch_behind_a_long_one_of_higher_priority(farm) -> None:
    async with farm(["a"]) as one:
        long, short = await one.submit(140, priority=5), await one.submit(20)
        await one.watch(long, short)

    assert [long.ratio(), short.ratio()] == [TRUE_ENOUGH, TRUE_ENOUGH]


async def test_of_two_models_on_a_host_that_keeps_one(farm) -> None:
    async with farm(["a", "b"]) as one:
        # Nothing is foretold of a model that never ran.
        await one.watch(await one.submit(4, "b"), await one.submit(4, "a"))
        first, second = await one.submit(100, "a"), await one.submit(100, "b")
        await one.watch(first, second)

    assert [first.ratio(), second.ratio()] == [TRUE_ENOUGH, TRUE_ENOUGH]


async def test_of_a_batch_that_loses_one_of_its_two_hosts(farm) -> None:
    async with farm(["a"], ["a"]) as two:
        life = await two.submit(300)
        await two.watch(life, until_done=100)
        await two.hosts[1].aclose()
        await two.watch(life)

    # At a fifth of its life nobody could know.
    assert life.foretold_end_s(0.6, 0.8) > 1.2 * life.foretold_end_s(0.1, 0.2)
    assert life.ratio(0.5, 0.8) == TRUE_ENOUGH

"""Hosts and proxies that make trouble: every prompt ends, or waits for a known moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from promptmill.domain.batches import Batch, BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from promptmill.runtime import open_resources
from promptmill.services import batches
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.simulator import (
    FaultRule,
    ModelSpec,
    Simulator,
    SimulatorSettings,
    Speed,
    create_simulator,
    running,
)
from promptmill.worker.runner import working

PATIENCE_S = 30
SPEED = Speed(load_s=0.02, request_s=0.01)


@dataclass
class Bench:
    """A service with its worker before one host."""

    resources: Resources
    host: Simulator

    async def submit(self, *texts: str, model: str = "tiny", **fields: Any) -> str:
        draft = BatchDraft(
            prompts=[PromptDraft(text) for text in texts],
            model=model,
            **{"limits": Limits(max_concurrent=4, rate_limit_delay_s=0), **fields},
        )
        return (await batches.submit(self.resources, draft)).batch.id

    async def ended(self, batch_id: str) -> Batch:
        found = await batches.wait_until_ended(self.resources, batch_id, timeout_s=PATIENCE_S)
        assert found.finished_at_ms is not None, f"still {found.state}: {found.counts}"
        return found

    def calls_of(self, text: str) -> int:
        return sum(call.prompt == text for call in self.host.calls)


@pytest.fixture
def bench(database_url: str) -> Callable[..., Any]:
    """`async with bench() as it`: the settings of the service may be given."""

    @contextlib.asynccontextmanager
    async def opened(**changes: Any) -> AsyncIterator[Bench]:
        host = create_simulator(
            SimulatorSettings(
                models=tuple(ModelSpec(name=name, speed=SPEED) for name in ("tiny", "cloud")),
                num_parallel=4,
            )
        )
        async with running(host) as url:
            settings = Settings(
                ollama_host=url,
                database_url=database_url,
                poll_s=0.1,
                drain_s=1,
                retry_base_s=0.01,
                retry_most_s=0.05,
                **changes,
            )
            async with open_resources(settings) as resources, working(resources):
                yield Bench(resources, host)

    return opened


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("bad_gateway", ErrorCode.HOST_UNREACHABLE),
        ("proxy_503", ErrorCode.HOST_UNREACHABLE),
        ("proxy_504 s=0.05", ErrorCode.TIMEOUT),
        ("proxy_524 s=0.05", ErrorCode.TIMEOUT),
    ],
)
async def test_a_prompt_on_which_a_proxy_gives_up_ends_and_the_others_do_not_wait_for_it(
    bench: Any, fault: str, code: ErrorCode
) -> None:
    poison = f"Too long [[fault:{fault}]]"
    async with bench() as it:
        batch_id = await it.submit(*(f"Question {n}" for n in range(19)), poison, max_attempts=2)
        batch = await it.ended(batch_id)
        results = (await batches.results_page(it.resources, batch_id, limit=100)).results
        health = it.resources.host.health
        tried = it.calls_of(poison)
    assert (batch.counts.succeeded, batch.counts.failed) == (19, 1)
    last = results[-1]
    assert (last.error_code, last.attempts, tried) == (code, 2, 2)
    assert "A proxy before the host gave up after about" in (last.error or "")
    assert (health.available, health.rest_until) == (True, 0.0), "the host was put aside"


async def test_a_batch_of_nothing_but_such_prompts_ends(bench: Any) -> None:
    async with bench() as it:
        batch_id = await it.submit("Only this [[fault:proxy_504]]")
        batch = await it.ended(batch_id)
    assert (batch.counts.failed, it.calls_of("Only this [[fault:proxy_504]]")) == (1, 3)


async def test_a_usage_limit_is_asked_for_once_and_does_not_stop_other_models(bench: Any) -> None:
    limited = [f"Question {n} [[fault:429 s=3600]]" for n in range(20)]
    async with bench() as it:
        held = await it.submit(
            *limited, model="cloud", limits=Limits(max_concurrent=1, rate_limit_delay_s=0)
        )
        async with asyncio.timeout(PATIENCE_S):
            await it.host.until(lambda tally: tally.calls >= 1)
        other = await it.ended(await it.submit("One", "Two", "Three"))
        again = await it.ended(await it.submit("Four"))
        counts = (await batches.get(it.resources, held)).counts
        asked = sum(call.model.startswith("cloud") for call in it.host.calls if call.prompt)
        assert it.resources.host.available
    assert (other.counts.succeeded, again.counts.succeeded) == (3, 1)
    assert (counts.pending, counts.finished) == (20, 0)
    assert asked == 1


async def test_a_limit_that_is_over_lets_its_batch_go_on_by_itself(bench: Any) -> None:
    async with bench() as it:
        it.host.state.faults.replace((FaultRule.parse("429 s=1 first=1 model=cloud"),))
        batch = await it.ended(await it.submit("One", "Two", "Three", model="cloud"))
    assert (batch.counts.succeeded, batch.counts.failed) == (3, 0)


async def test_the_settings_bound_what_a_host_may_ask_for(bench: Any) -> None:
    async with bench(retry_after_most_s=1) as it:
        it.host.state.faults.replace((FaultRule.parse("429 s=86400 first=1"),))
        batch = await it.ended(await it.submit("One"))
    assert batch.counts.succeeded == 1


async def test_without_groups_a_limited_model_waits_and_the_others_go_on(bench: Any) -> None:
    async with bench(grouping=False) as it:
        held = await it.submit("Limited [[fault:429 s=3600]]", model="cloud")
        other = await it.ended(await it.submit("One", "Two"))
        asked = it.calls_of("Limited [[fault:429 s=3600]]")
        counts = (await batches.get(it.resources, held)).counts
    assert other.counts.succeeded == 2
    assert (asked, counts.pending) == (1, 1)

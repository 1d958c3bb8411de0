"""Workers before hosts that load models: grouped work, several hosts, hosts that die."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import pairwise
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
    ModelSpec,
    Simulator,
    SimulatorSettings,
    Speed,
    create_simulator,
    running,
)
from promptmill.store.hosts import model_switching
from promptmill.worker.runner import working

PATIENCE_S = 30
QUICK = Speed(load_s=0.1, request_s=0.02)


@dataclass
class Farm:
    """One service before some hosts."""

    resources: Resources
    hosts: list[Simulator]
    stack: contextlib.AsyncExitStack

    async def begin_work(self) -> None:
        """Start the worker, where the farm was opened without one."""
        await self.stack.enter_async_context(working(self.resources))

    async def submit(
        self, prompts: int | list[PromptDraft], model: str = "a", **fields: Any
    ) -> str:
        texts = (
            [PromptDraft(f"{model} {n}") for n in range(prompts)]
            if isinstance(prompts, int)
            else prompts
        )
        draft = BatchDraft(
            prompts=texts,
            model=model,
            **{"limits": Limits(max_concurrent=4, rate_limit_delay_s=0), **fields},
        )
        return (await batches.submit(self.resources, draft)).batch.id

    async def ended(self, batch_id: str) -> Batch:
        found = await batches.wait_until_ended(self.resources, batch_id, timeout_s=PATIENCE_S)
        assert found.finished_at_ms is not None, f"still {found.state}: {found.counts}"
        return found

    def called(self, host: int = 0) -> list[str]:
        """The models of all prompts at a host, in the order in which they got their slots."""
        calls = [call for call in self.hosts[host].calls if call.prompt and call.slot_at]
        return [call.model for call in sorted(calls, key=lambda call: call.slot_at)]

    def loads(self, host: int = 0) -> int:
        models = self.hosts[host].stats()["models"]
        return sum(model["loads"] for model in models.values())


@pytest.fixture
def farm(database_url: str) -> Callable[..., Any]:
    """`async with farm(["a", "b"], ["a"]) as farm`: a host for each list of models."""

    @contextlib.asynccontextmanager
    async def opened(
        *models: list[str],
        speed: Speed = QUICK,
        kept: int = 1,
        works: bool = True,
        **changes: Any,
    ) -> AsyncIterator[Farm]:
        async with contextlib.AsyncExitStack() as stack:
            hosts, urls = [], []
            for names in models:
                host = create_simulator(
                    SimulatorSettings(
                        models=tuple(ModelSpec(name=name, speed=speed) for name in names),
                        max_loaded=kept,
                        num_parallel=4,
                    )
                )
                urls.append(await stack.enter_async_context(running(host)))
                hosts.append(host)
            settings = Settings(
                ollama_hosts=",".join(f"{url};slots=4" for url in urls),
                database_url=database_url,
                lease_s=3,
                heartbeat_s=0.5,
                poll_s=0.1,
                drain_s=2,
                retry_base_s=0.01,
                **changes,
            )
            resources = await stack.enter_async_context(open_resources(settings))
            opened = Farm(resources, hosts, stack)
            if works:
                await opened.begin_work()
            yield opened

    return opened


def switches(models: list[str]) -> int:
    return sum(before != after for before, after in pairwise(models))


async def test_batches_of_several_models_load_each_model_once(farm) -> None:
    async with farm(["a", "b", "c"]) as one:
        ids = [await one.submit(12, model) for model in ("a", "b", "c")]
        for batch_id in ids:
            assert (await one.ended(batch_id)).counts.succeeded == 12

    assert one.loads() == 3
    assert switches(one.called()) == 2


async def test_a_mixed_batch_is_sorted_by_model_and_its_results_stay_in_prompt_order(farm) -> None:
    prompts = [PromptDraft(f"{n}", None, {"model": "abc"[n % 3]}) for n in range(24)]
    async with farm(["a", "b", "c"]) as one:
        batch_id = await one.submit(prompts)
        await one.ended(batch_id)
        page = await batches.results_page(one.resources, batch_id, limit=100)

    assert one.loads() == 3
    assert [(found.index, found.model) for found in page.results] == [
        (n, "abc"[n % 3]) for n in range(24)
    ]


async def test_two_windows_of_one_model_are_two_groups(farm) -> None:
    prompts = [
        PromptDraft(f"{n}", None, {"options": {"num_ctx": 512 * (1 + n % 2)}}) for n in range(16)
    ]
    async with farm(["a"]) as one:
        await one.ended(await one.submit(prompts))

    assert one.loads() == 2


async def test_without_grouping_models_alternate(farm) -> None:
    prompts = [PromptDraft(f"{n}", None, {"model": "ab"[n % 2]}) for n in range(10)]
    narrow = Limits(max_concurrent=1, rate_limit_delay_s=0)
    async with farm(["a", "b"], grouping=False, speed=Speed(request_s=0.005)) as one:
        await one.ended(await one.submit(prompts, limits=narrow))

    assert one.loads() == 10


async def test_models_that_are_loaded_together_run_beside_each_other(farm) -> None:
    slow = Speed(request_s=0.1)
    two = Limits(max_concurrent=2, rate_limit_delay_s=0)
    async with farm(["a", "b"], kept=2, speed=slow) as one:
        for model in ("a", "b"):
            await one.ended(await one.submit(1, model))
        one.hosts[0].calls.reset()
        first, second = [await one.submit(10, model, limits=two) for model in ("a", "b")]
        for batch_id in (first, second):
            await one.ended(batch_id)

    assert one.loads() == 0
    assert switches(one.called()) > 3


async def test_a_group_that_waits_gets_its_turn_before_the_other_has_ended(farm) -> None:
    async with farm(["a", "b"], group_turn_s=1) as one:
        long = await one.submit(400, "a")
        short = await one.submit(4, "b")
        await one.ended(short)
        still = await batches.get(one.resources, long)
        await batches.cancel(one.resources, long)
        await one.ended(long)

    assert still.counts.finished < 400


async def test_a_model_in_use_is_not_unloaded_between_prompts(farm) -> None:
    async with farm(["a"]) as one:
        batch_id = await one.submit(
            6, limits=Limits(max_concurrent=1, rate_limit_delay_s=0), parameters={"keep_alive": 0}
        )
        await one.ended(batch_id)

    assert one.loads() == 1


# --- several hosts --------------------------------------------------------------------------------


async def test_one_batch_fills_all_hosts_and_none_beyond_its_slots(farm) -> None:
    wide = Limits(max_concurrent=8, rate_limit_delay_s=0)
    async with farm(["a"], ["a"], speed=Speed(request_s=0.1)) as two:
        batch = await two.ended(await two.submit(40, limits=wide))

    assert batch.counts.succeeded == 40
    assert [host.stats()["peak_in_flight"] for host in two.hosts] == [4, 4]
    assert all(len(two.called(host)) > 10 for host in (0, 1))


@pytest.mark.parametrize("delay_s", [0.0, 0.01])
@pytest.mark.parametrize("most", [2, 5])
async def test_a_batch_that_runs_few_at_a_time_is_spread_over_the_hosts(
    farm, most: int, delay_s: float
) -> None:
    few = Limits(max_concurrent=most, rate_limit_delay_s=delay_s)
    async with farm(["a"], ["a"], speed=Speed(request_s=0.05)) as two:
        await two.ended(await two.submit(40, limits=few))

    # A few go to the first alone, before the second has taken up the model.
    assert min(len(two.called(host)) for host in (0, 1)) >= 12
    assert max(host.stats()["peak_in_flight"] for host in two.hosts) <= 4


async def test_a_host_with_work_gets_what_the_other_has_no_work_for(farm) -> None:
    wide = Limits(max_concurrent=4, rate_limit_delay_s=0)
    async with farm(["a"], ["b"], speed=Speed(request_s=0.1), concurrency=4) as two:
        await two.ended(await two.submit(24, "a", limits=wide))

    assert two.hosts[0].stats()["peak_in_flight"] == 4


async def test_models_that_lost_their_room_beside_each_other_stop_alternating(farm) -> None:
    async with farm(["a", "b"], kept=2, speed=Speed(request_s=0.02)) as one:
        for model in ("a", "b"):
            await one.ended(await one.submit(1, model))
        await one.ended(await one.submit(4, "a"))
        both = await one.resources.database.read(model_switching.names_by_host)
        assert set(*both.values()) == {"a:latest", "b:latest"}
        await one.resources.host.client.unload("b")
        async with asyncio.timeout(PATIENCE_S):
            while (
                len(*(await one.resources.database.read(model_switching.names_by_host)).values())
                > 1
            ):
                await one.resources.host.look()

    assert one.loads() == 2


async def test_a_prompt_goes_where_its_model_is(farm) -> None:
    async with farm(["a"], ["b"]) as two:
        ids = [await two.submit(8, model) for model in ("b", "a")]
        for batch_id in ids:
            assert (await two.ended(batch_id)).counts.succeeded == 8

    assert set(two.called(0)) == {"a:latest"}
    assert set(two.called(1)) == {"b:latest"}


async def test_a_model_that_no_host_has_fails_at_once(farm) -> None:
    async with farm(["a"], ["b"]) as two:
        batch_id = await two.submit(3, "nobody")
        batch = await two.ended(batch_id)
        page = await batches.results_page(two.resources, batch_id, limit=10)

    assert batch.counts.failed == 3
    assert {found.error_code for found in page.results} == {ErrorCode.MODEL_NOT_FOUND}
    assert {found.attempts for found in page.results} == {1}


async def test_what_a_host_that_refuses_had_goes_back_uncharged_and_runs_elsewhere(farm) -> None:
    wide = Limits(max_concurrent=8, rate_limit_delay_s=0)
    async with farm(["a"], ["a"], speed=Speed(request_s=0.05)) as two:
        prompts = [PromptDraft(f"a {n}") for n in range(60)]
        prompts[0] = PromptDraft("down [[fault:refuse times=1 s=1.5]]")
        batch_id = await two.submit(prompts, limits=wide, max_attempts=4)
        batch = await two.ended(batch_id)
        page = await batches.results_page(two.resources, batch_id, limit=100)

    assert batch.counts.succeeded == 60
    # Charged is what was in flight when the connections broke, once at each host; never the refusal.
    assert max(found.attempts for found in page.results) <= 3
    assert len({found.host for found in page.results}) == 2


async def test_two_models_on_two_hosts_are_loaded_once_each(farm) -> None:
    async with farm(["a", "b"], ["a", "b"], works=False) as two:
        # With one alone for a moment, both hosts would take it up.
        ids = [await two.submit(20, model) for model in ("a", "b")]
        await two.begin_work()
        for batch_id in ids:
            await two.ended(batch_id)

    assert two.loads(0) + two.loads(1) <= 3


READING = Speed(prefill_tokens_per_s=20_000, request_s=0.01)


def about(document: str, question: int) -> PromptDraft:
    return PromptDraft(f"Document {document}. " * 100 + f"Question {question}?")


def documents(farm: Farm, host: int = 0) -> list[str]:
    """Which documents a host was asked about, in the order in which the calls got their slots."""
    calls = [call for call in farm.hosts[host].calls if call.prompt and call.slot_at]
    in_order = sorted(calls, key=lambda call: call.slot_at)
    return [call.prompt.removeprefix("Document ")[0] for call in in_order]


async def test_questions_about_one_document_are_asked_one_after_another(farm) -> None:
    prompts = [about("abcd"[n % 4], n) for n in range(48)]
    async with farm(["a"], speed=READING) as one:
        batch_id = await one.submit(prompts)
        assert (await one.ended(batch_id)).counts.succeeded == 48

    evaluated = sum(call.prompt_tokens - call.cached_tokens for call in one.hosts[0].calls)
    asked = sum(call.prompt_tokens for call in one.hosts[0].calls)
    # In the order of the prompts each of the four slots would evaluate nearly each anew.
    assert switches(documents(one)) < 12
    assert evaluated < asked / 2


async def test_batches_with_different_system_prompts_have_their_turns_at_a_host(farm) -> None:
    async with farm(["a"], speed=READING) as one:
        ids = [
            await one.submit(
                [
                    PromptDraft(f"{name} {n}?", None, {"system": f"Document {name}. " * 100})
                    for n in range(60)
                ],
                limits=Limits(max_concurrent=8, rate_limit_delay_s=0),
            )
            for name in "ab"
        ]
        for batch_id in ids:
            assert (await one.ended(batch_id)).counts.succeeded == 60

    # Turns of eight prompts at least; one by one there would be dozens.
    assert 2 <= switches(documents(one)) <= 24


async def test_each_document_goes_to_the_host_that_was_asked_about_it_before(farm) -> None:
    async with farm(["a"], ["a"], speed=READING) as two:
        for _ in range(3):
            batch_id = await two.submit(
                [about("ab"[n % 2], n) for n in range(120)],
                limits=Limits(max_concurrent=8, rate_limit_delay_s=0),
            )
            assert (await two.ended(batch_id)).counts.succeeded == 120

    shares = {name: sorted(documents(two, host).count(name) for host in (0, 1)) for name in "ab"}
    # A host with nothing else to do helps at the end of a batch.
    assert all(fewer < more / 2 for fewer, more in shares.values()), shares

"""Batches that have their models pulled first, before simulated hosts, on both databases."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from promptmill.domain.batches import Batch, BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.scheduling.downloads import MOST_ATTEMPTS, PullState
from promptmill.observability.metrics import REGISTRY
from promptmill.runtime import open_resources
from promptmill.services import batches, control
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
from promptmill.store.downloads import planning, pulls
from promptmill.worker.downloads import Puller
from promptmill.worker.runner import Worker, _identity, _places, working
from tests.worker.conftest import stream

PATIENCE_S = 30
FOR_EVER_S = 600.0
"""Of a pull that a test does not want to end."""
QUICK = Speed(load_s=0.02, request_s=0.01)
postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def spec(name: str) -> ModelSpec:
    return ModelSpec(name=name, speed=QUICK)


def host_with(*models: str, pullable: str = "", pull_s: float = 0.1, **more: Any) -> Simulator:
    """A host that has these models, and whose registry has the others."""
    settings = SimulatorSettings(
        models=tuple(map(spec, models or ("other",))),
        pullable=tuple(map(spec, pullable.split())),
        pull_s=pull_s,
        num_parallel=4,
        **more,
    )
    return create_simulator(settings)


@dataclass
class Farm:
    """One service before some hosts."""

    resources: Resources
    hosts: list[Simulator]

    async def submit(self, prompts: int | list[PromptDraft] = 3, **fields: Any) -> str:
        texts = (
            [PromptDraft(f"Question {n}") for n in range(prompts)]
            if isinstance(prompts, int)
            else prompts
        )
        draft = BatchDraft(
            **{
                "prompts": texts,
                "model": "a",
                "auto_pull": True,
                "limits": Limits(max_concurrent=4, rate_limit_delay_s=0),
                **fields,
            }
        )
        return (await batches.submit(self.resources, draft)).batch.id

    async def batch(self, batch_id: str) -> Batch:
        return await batches.get(self.resources, batch_id)

    async def ended(self, batch_id: str) -> Batch:
        found = await batches.wait_until_ended(self.resources, batch_id, timeout_s=PATIENCE_S)
        assert found.finished_at_ms is not None, f"still {found.state}: {found.pulls}"
        return found

    async def until(self, batch_id: str, condition: Callable[[Batch], bool]) -> Batch:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                changed = self.resources.signals.job_changed.listen()
                batch = await self.batch(batch_id)
                if condition(batch):
                    return batch
                await changed.wait(0.05)

    async def errors(self, batch_id: str) -> set[ErrorCode | None]:
        page = await batches.results_page(self.resources, batch_id, limit=100)
        return {found.error_code for found in page.results}

    def pulled(self, host: int = 0) -> list[str]:
        """The models that a host was asked to fetch."""
        return [call.model for call in self.hosts[host].calls if call.path == "/api/pull"]

    def prompted(self, host: int = 0) -> int:
        return sum(bool(call.prompt) for call in self.hosts[host].calls)


def settings_for(urls: list[str], database_url: str, **changes: Any) -> Settings:
    return Settings(
        **{
            "ollama_hosts": ",".join(f"{url};slots=4" for url in urls),
            "database_url": database_url,
            "lease_s": 1.5,
            "heartbeat_s": 0.3,
            "poll_s": 0.1,
            "drain_s": 2,
            "retry_base_s": 0.01,
            "retry_most_s": 0.05,
            **changes,
        }
    )


@pytest.fixture
def farm(database_url: str) -> Callable[..., Any]:
    """`async with farm(host, host) as farm`: so many workers before these hosts."""

    @contextlib.asynccontextmanager
    async def opened(*hosts: Simulator, workers: int = 1, **changes: Any) -> AsyncIterator[Farm]:
        async with contextlib.AsyncExitStack() as stack:
            urls = [await stack.enter_async_context(running(host)) for host in hosts]
            settings = settings_for(urls, database_url, **changes)
            resources = await stack.enter_async_context(open_resources(settings))
            for number in range(workers):
                own = (
                    resources
                    if number == 0
                    else await stack.enter_async_context(open_resources(settings))
                )
                await stack.enter_async_context(working(own))
            yield Farm(resources, list(hosts))

    return opened


def states(batch: Batch) -> list[PullState]:
    return [one.state for one in batch.pulls]


def tells(batch: Batch) -> bool:
    """Whether Ollama's words of a layer have reached the batch."""
    return any(one.total_bytes for one in batch.pulls)


# --- one host -------------------------------------------------------------------------------------


@pytest.mark.parametrize("grouping", [True, False])
async def test_a_missing_model_is_pulled_and_then_the_prompts_run(
    farm: Any, grouping: bool
) -> None:
    async with farm(host_with(pullable="a"), grouping=grouping) as one:
        batch = await one.ended(await one.submit())
        url = one.resources.host.url

    assert batch.counts.succeeded == 3
    (pull,) = batch.pulls
    assert (pull.model, pull.host, pull.state) == ("a", url, PullState.SUCCEEDED)
    assert (pull.detail, pull.error) == ("success", None)
    assert pull.completed_bytes == pull.total_bytes == spec("a").size
    assert one.pulled() == ["a:latest"]


async def test_a_model_that_is_there_is_not_pulled(farm: Any) -> None:
    async with farm(host_with("a")) as one:
        batch = await one.ended(await one.submit(model="A"))

    assert (batch.counts.succeeded, batch.pulls) == (3, ())
    assert one.pulled() == []


@pytest.mark.parametrize("grouping", [True, False])
async def test_nothing_of_a_batch_runs_before_its_last_model_is_there(
    farm: Any, grouping: bool
) -> None:
    prompts = [PromptDraft("x"), PromptDraft("y", None, {"model": "b"})]
    hosts = host_with("a", pullable="b", pull_s=FOR_EVER_S)
    async with farm(hosts, grouping=grouping) as one:
        held = await one.submit(prompts)
        await one.until(held, tells)
        # A batch beside it, which waits for nothing, runs meanwhile.
        assert (await one.ended(await one.submit(auto_pull=False))).counts.succeeded == 3
        batch = await one.batch(held)
        await batches.cancel(one.resources, held)
        await one.ended(held)

    assert (batch.counts.pending, batch.started_at_ms) == (2, None)
    assert [(pull.model, pull.state) for pull in batch.pulls] == [("b", PullState.PULLING)]
    assert one.prompted() == 3


async def test_progress_is_seen_in_the_batch(farm: Any) -> None:
    async with farm(host_with(pullable="a", pull_s=FOR_EVER_S)) as one:
        batch_id = await one.submit()
        (first,) = (await one.until(batch_id, tells)).pulls
        await batches.cancel(one.resources, batch_id)
        await one.ended(batch_id)

    assert first.state is PullState.PULLING
    assert first.detail is not None
    assert first.detail.startswith("pulling ")
    assert first.total_bytes == spec("a").size


async def test_a_pull_that_fails_is_tried_again(farm: Any) -> None:
    faults = (FaultRule.parse("pull_error first=2"),)
    async with farm(host_with(pullable="a", faults=faults)) as one:
        batch = await one.ended(await one.submit())

    assert batch.counts.succeeded == 3
    assert len(one.pulled()) == 3


async def test_a_pull_that_fails_again_and_again_fails_the_prompts_of_its_model(farm: Any) -> None:
    faults = (FaultRule.parse("pull_error first=99"),)
    async with farm(host_with(pullable="a", faults=faults)) as one:
        batch_id = await one.submit()
        batch = await one.ended(batch_id)
        errors = await one.errors(batch_id)

    (pull,) = batch.pulls
    assert (pull.state, len(one.pulled())) == (PullState.FAILED, MOST_ATTEMPTS)
    assert pull.error is not None
    assert "max retries exceeded" in pull.error
    assert errors == {ErrorCode.MODEL_NOT_FOUND}


async def test_a_model_that_no_registry_has_fails_at_once_and_the_others_run(farm: Any) -> None:
    prompts = [PromptDraft("x"), PromptDraft("y", None, {"model": "nobody"})]
    async with farm(host_with("a")) as one:
        batch_id = await one.submit(prompts)
        batch = await one.ended(batch_id)
        errors = await one.errors(batch_id)

    assert (batch.counts.succeeded, batch.counts.failed) == (1, 1)
    assert errors == {None, ErrorCode.MODEL_NOT_FOUND}
    (pull,) = batch.pulls
    assert (pull.state, one.pulled()) == (PullState.FAILED, ["nobody:latest"])
    assert pull.error is not None
    assert "file does not exist" in pull.error


def pulls_that(result: str) -> float:
    """How many pulls ended so, by the metrics of this process."""
    return REGISTRY.get_sample_value("promptmill_pulls_total", {"result": result}) or 0


async def test_a_retry_tries_a_failed_pull_again(farm: Any) -> None:
    faults = (FaultRule.parse(f"pull_error first={MOST_ATTEMPTS}"),)
    failed, succeeded = pulls_that("failed"), pulls_that("succeeded")
    async with farm(host_with(pullable="a", faults=faults)) as one:
        batch_id = await one.submit()
        assert (await one.ended(batch_id)).counts.failed == 3
        await control.retry(one.resources, batch_id)
        again = await one.ended(batch_id)

    assert again.counts.succeeded == 3
    assert states(again) == [PullState.SUCCEEDED]
    assert pulls_that("failed") - failed == MOST_ATTEMPTS
    assert pulls_that("succeeded") - succeeded == 1


async def test_two_batches_and_two_workers_pull_a_model_once(farm: Any, database_url: str) -> None:
    workers = 1 if database_url.startswith("sqlite") else 2
    async with farm(host_with(pullable="a", pull_s=1), workers=workers) as one:
        ids = [await one.submit(model=name) for name in ("a", "A:latest")]
        ended = [await one.ended(batch_id) for batch_id in ids]

    assert [batch.counts.succeeded for batch in ended] == [3, 3]
    assert [[pull.model for pull in batch.pulls] for batch in ended] == [["a"], ["A:latest"]]
    assert one.pulled() == ["a:latest"]


async def test_the_pull_goes_on_for_one_batch_when_the_other_is_cancelled(farm: Any) -> None:
    async with farm(host_with(pullable="a", pull_s=3)) as one:
        gone, stays = await one.submit(), await one.submit()
        await one.until(stays, lambda batch: bool(batch.pulls))
        await batches.cancel(one.resources, gone)
        await one.ended(gone)
        assert (await one.ended(stays)).counts.succeeded == 3

    assert one.pulled() == ["a:latest"]


async def test_cancelling_the_last_batch_that_waits_stops_the_pull(farm: Any) -> None:
    async with farm(host_with(pullable="a", pull_s=FOR_EVER_S)) as one:
        batch_id = await one.submit()
        await one.until(batch_id, tells)
        await batches.cancel(one.resources, batch_id)
        ended = await one.ended(batch_id)
        async with asyncio.timeout(PATIENCE_S):
            await one.hosts[0].calls.until(lambda tally: tally.outcomes["client_left"] > 0)
        after = await one.until(batch_id, lambda batch: states(batch) == [PullState.CANCELLED])

    assert ended.state.value == "cancelled"
    assert after.pulls[0].error is None


# --- workers that go ------------------------------------------------------------------------------


async def died_while_pulling(one: Farm) -> None:
    """A worker takes a pull up and is gone: nothing is given back, nothing is written any more."""
    resources = one.resources
    worker = Worker(resources, identity=_identity(resources), places=await _places(resources))
    puller: Puller = worker.puller
    await puller.run_once()
    (task,) = puller._pulling
    async with asyncio.timeout(PATIENCE_S):
        while not one.pulled():
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task})


async def test_a_pull_survives_the_death_of_its_worker(database_url: str) -> None:
    host = host_with(pullable="a", pull_s=0.5)
    async with running(host) as url:
        settings = settings_for([url], database_url)
        async with open_resources(settings) as first:
            one = Farm(first, [host])
            batch_id = await one.submit()
            await died_while_pulling(one)
            assert states(await one.batch(batch_id)) == [PullState.PULLING]
        async with open_resources(settings) as second, working(second):
            batch = await Farm(second, [host]).ended(batch_id)

    assert batch.counts.succeeded == 3
    assert states(batch) == [PullState.SUCCEEDED]
    assert one.pulled() == ["a:latest", "a:latest"]


@pytest.mark.postgresql
@postgresql_only
async def test_a_worker_that_stops_gives_its_pull_back(database_url: str) -> None:
    host = host_with(pullable="a", pull_s=FOR_EVER_S)
    async with running(host) as url:
        # No lease runs out in this test.
        settings = settings_for([url], database_url, lease_s=600, heartbeat_s=100)
        async with open_resources(settings) as resources:
            one = Farm(resources, [host])
            async with working(resources):
                batch_id = await one.submit()
                await one.until(batch_id, lambda batch: states(batch) == [PullState.PULLING])
            assert states(await one.batch(batch_id)) == [PullState.WAITING]
            async with working(resources):
                await one.until(batch_id, lambda batch: states(batch) == [PullState.PULLING])


async def test_a_worker_that_stops_while_it_takes_on_a_pull_gives_it_back(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_on, go_on = threading.Event(), threading.Event()
    plan, stop = planning.plan, Puller.stop

    def plan_slowly(*args: Any, **fields: Any) -> planning.Plan:
        planned = plan(*args, **fields)
        if planned.leases:
            taken_on.set()
            assert go_on.wait(20)
        return planned

    async def stop_meanwhile(puller: Puller) -> None:
        stopping = asyncio.create_task(stop(puller))
        await asyncio.sleep(0)
        go_on.set()
        await stopping

    monkeypatch.setattr(planning, "plan", plan_slowly)
    monkeypatch.setattr(Puller, "stop", stop_meanwhile)
    async with running(host_with(pullable="a", pull_s=FOR_EVER_S)) as url:
        settings = settings_for([url], database_url, lease_s=600, heartbeat_s=100)
        async with open_resources(settings) as resources:
            one = Farm(resources, [])
            async with working(resources):
                batch_id = await one.submit()
                assert await asyncio.to_thread(taken_on.wait, 20)
            assert states(await one.batch(batch_id)) == [PullState.WAITING]


# --- several hosts --------------------------------------------------------------------------------


async def test_one_of_several_hosts_pulls_it_and_runs_all_of_it(farm: Any) -> None:
    hosts = host_with(pullable="a"), host_with(pullable="a")
    async with farm(*hosts) as two:
        batch = await two.ended(await two.submit(20))

    assert batch.counts.succeeded == 20
    assert (len(two.pulled(0)), len(two.pulled(1))) == (1, 0)
    assert (two.prompted(0), two.prompted(1)) == (20, 0)


async def test_a_model_that_another_host_has_is_not_pulled(farm: Any) -> None:
    async with farm(host_with(pullable="a"), host_with("a")) as two:
        batch = await two.ended(await two.submit())

    assert (batch.counts.succeeded, batch.pulls) == (3, ())


async def test_two_models_are_pulled_at_two_hosts(farm: Any) -> None:
    prompts = [PromptDraft("x"), PromptDraft("y", None, {"model": "b"})]
    hosts = host_with(pullable="a b"), host_with(pullable="a b")
    async with farm(*hosts) as two:
        batch = await two.ended(await two.submit(prompts))

    assert batch.counts.succeeded == 2
    assert (two.pulled(0), two.pulled(1)) == (["a:latest"], ["b:latest"])


async def test_what_one_host_cannot_pull_another_one_does(farm: Any) -> None:
    async with farm(host_with(), host_with(pullable="a")) as two:
        batch = await two.ended(await two.submit())

    assert batch.counts.succeeded == 3
    assert states(batch) == [PullState.FAILED, PullState.SUCCEEDED]


async def test_without_grouping_every_host_pulls_it(farm: Any) -> None:
    hosts = host_with(pullable="a"), host_with(pullable="a")
    async with farm(*hosts, grouping=False) as two:
        batch = await two.ended(await two.submit(20))

    assert batch.counts.succeeded == 20
    assert (len(two.pulled(0)), len(two.pulled(1))) == (1, 1)


async def test_a_host_that_had_said_that_the_model_is_missing_runs_nothing_of_it(
    farm: Any,
) -> None:
    # The first one takes the model up to say so, and is not the one that can pull it.
    async with farm(host_with(), host_with(pullable="a")) as two:
        missing = await two.ended(await two.submit(20, auto_pull=False))
        assert missing.counts.failed == 20
        batch = await two.ended(await two.submit(20))

    assert batch.counts.succeeded == 20


@pytest.mark.postgresql
@postgresql_only
async def test_no_worker_believes_what_it_saw_before_the_pull(farm: Any) -> None:
    hosts = host_with(pullable="a b c"), host_with(pullable="a b c")
    async with farm(*hosts, workers=2, concurrency=4) as two:
        for model in "abc":
            batch = await two.ended(await two.submit(40, model=model))
            assert batch.counts.succeeded == 40


# --- hosts that are away --------------------------------------------------------------------------


async def test_without_a_host_a_batch_waits_and_goes_on_when_there_is_one(
    serving: Any, ollama: Any
) -> None:
    def answer(body: dict[str, Any]) -> httpx.Response:
        lines = b'{"status":"pulling manifest"}\n{"status":"success"}\n'
        return stream() if "prompt" in body else httpx.Response(200, content=lines)

    ollama.answer, ollama.up = answer, False
    async with serving() as service:
        one = Farm(service.resources, [])
        late = await one.submit(expires_in_s=0.5)
        batch_id = await one.submit()
        assert (await one.ended(late)).state.value == "expired"
        (nowhere,) = (await one.batch(batch_id)).pulls
        ollama.up = True
        batch = await one.ended(batch_id)

    assert (nowhere.model, nowhere.host, nowhere.state) == ("a", None, PullState.WAITING)
    assert batch.counts.succeeded == 3


async def test_a_host_that_takes_no_pull_now_costs_no_attempt(serving: Any, ollama: Any) -> None:
    # As many as make a pull fail, if the first one counted.
    failures = iter([503, *[500] * (MOST_ATTEMPTS - 1)])

    def answer(body: dict[str, Any]) -> httpx.Response:
        if "prompt" in body:
            return stream()
        return httpx.Response(next(failures, 200), content=b'{"status":"success"}\n')

    ollama.answer = answer
    async with serving() as service:
        one = Farm(service.resources, [])
        batch = await one.ended(await one.submit())

    assert batch.counts.succeeded == 3
    assert states(batch) == [PullState.SUCCEEDED]


async def test_a_pull_is_not_read_on_by_one_that_lost_its_lease(serving: Any, ollama: Any) -> None:
    async def answer(body: dict[str, Any]) -> httpx.Response:
        if "prompt" in body:
            return stream()
        await asyncio.Event().wait()
        raise AssertionError

    ollama.answer = answer
    async with serving(lease_s=600, heartbeat_s=100) as service:
        one = Farm(service.resources, [])
        batch_id = await one.submit()
        await ollama.arrived.wait()
        await one.until(batch_id, lambda batch: states(batch) == [PullState.PULLING])
        await service.resources.database.write(pulls.take_all_back)
        ollama.answer = lambda body: (
            stream() if "prompt" in body else httpx.Response(200, content=b'{"status":"success"}\n')
        )
        batch = await one.ended(batch_id)

    assert batch.counts.succeeded == 3
    assert ollama.in_flight == 0

"""A host that refuses at once beside one that works: no prompt fails, and nothing swallows work."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from promptmill.domain.batches import BatchDraft, Counts, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from promptmill.runtime import open_resources
from promptmill.services import batches
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.simulator import (
    FaultRule,
    ModelSpec,
    Refusing,
    Simulator,
    SimulatorSettings,
    Speed,
    create_simulator,
    running,
)
from promptmill.worker.runner import working

PROMPTS = 40
PATIENCE_S = 60


@contextlib.asynccontextmanager
async def at_work(database_url: str, *hosts: str) -> AsyncIterator[Resources]:
    settings = Settings.model_validate(
        {
            "ollama_hosts": ",".join(f"{url};slots=4" for url in hosts),
            "database_url": database_url,
            "poll_s": 0.1,
            "drain_s": 1,
            "retry_base_s": 0.01,
            "retry_most_s": 0.05,
        }
    )
    async with open_resources(settings) as resources, working(resources):
        yield resources


def simulated() -> Simulator:
    model = ModelSpec(name="tiny", speed=Speed(request_s=0.02))
    return create_simulator(SimulatorSettings(models=(model,), num_parallel=4))


async def submitted(resources: Resources, prompts: int = PROMPTS, **fields: Any) -> str:
    draft = BatchDraft(
        prompts=[PromptDraft(f"Question {n}") for n in range(prompts)],
        model="tiny",
        limits=Limits(max_concurrent=prompts, rate_limit_delay_s=0),
        **fields,
    )
    return (await batches.submit(resources, draft)).batch.id


@pytest.mark.parametrize("refusing", list(Refusing))
async def test_beside_a_host_that_refuses_every_prompt_is_answered_by_the_one_that_works(
    database_url: str, refusing: Refusing
) -> None:
    good, bad = simulated(), simulated()
    async with (
        running(good) as good_url,
        running(bad) as bad_url,
        at_work(database_url, bad_url, good_url) as resources,
    ):
        bad.state.refuses = refusing  # as a key that expires
        batch_id = await submitted(resources)
        batch = await batches.wait_until_ended(resources, batch_id, timeout_s=PATIENCE_S)
        trouble = resources.hosts[0].health.trouble
    assert (batch.counts.succeeded, batch.counts.failed) == (PROMPTS, 0)
    assert trouble is not None
    assert trouble.code is ErrorCode.HOST_REFUSED


async def refused_for_a_while(database_url: str, refusing: Refusing) -> Counts:
    """What becomes of a batch whose only host refuses it at first, and several looks as well."""
    host = simulated()
    async with running(host) as url, at_work(database_url, url) as resources:
        host.state.refuses = refusing
        batch_id = await submitted(resources)
        async with asyncio.timeout(PATIENCE_S):
            # The calls that found out, and looks at a host that goes on refusing.
            await host.until(lambda tally: tally.outcomes["refused"] >= 6)
        assert (await batches.get(resources, batch_id)).counts.finished == 0
        host.state.refuses = None
        batch = await batches.wait_until_ended(resources, batch_id, timeout_s=PATIENCE_S)
    return batch.counts


async def test_a_batch_whose_only_host_refuses_waits_and_goes_on_when_it_takes_prompts_again(
    sqlite_template: Path, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    # All at once, for each waits seconds for the looks at its host.
    waiting = [
        refused_for_a_while(
            f"sqlite:///{shutil.copy(sqlite_template, tmp_path / refusing)}", refusing
        )
        for refusing in Refusing
    ]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    for refusing, counts in zip(Refusing, found, strict=True):
        with subtests.test(refusing.value):
            if isinstance(counts, BaseException):
                raise counts
            assert (counts.succeeded, counts.failed) == (PROMPTS, 0)


async def test_a_host_that_refuses_prompts_but_answers_looks_fails_them_after_their_attempts(
    sqlite_url: str,
) -> None:
    host = simulated()
    host.state.faults.replace((FaultRule.parse("403"),))
    async with running(host) as url, at_work(sqlite_url, url) as resources:
        batch_id = await submitted(resources, prompts=2, max_attempts=2)
        batch = await batches.wait_until_ended(resources, batch_id, timeout_s=PATIENCE_S)
        results = (await batches.results_page(resources, batch_id, limit=10)).results
    assert batch.counts.failed == 2
    assert {(one.error_code, one.attempts) for one in results} == {(ErrorCode.HOST_REFUSED, 2)}


async def test_the_refusal_of_a_cloud_model_does_not_stop_the_models_of_its_host(
    sqlite_url: str,
) -> None:
    host = simulated()
    host.state.faults.replace((FaultRule.parse("401 first=1"),))
    async with running(host) as url, at_work(sqlite_url, url) as resources:
        batch_id = await submitted(resources)
        batch = await batches.wait_until_ended(resources, batch_id, timeout_s=PATIENCE_S)
        assert resources.hosts[0].health.rests == 0
    assert (batch.counts.succeeded, batch.counts.failed) == (PROMPTS - 1, 1)

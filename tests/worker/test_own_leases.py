"""Leases of a worker whose outcomes wait for the database, or whose machine slept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.store.db.tables.batches import task
from promptmill.store.queue import completions
from promptmill.worker.runner import Worker, _identity, _places
from tests.worker.conftest import Ollama, Service


@pytest.fixture
async def service(serving: Any) -> AsyncIterator[Service]:
    async with serving(embedded_worker=False, lease_s=60) as started:
        yield started


async def with_answers(service: Service, ollama: Ollama, number: int) -> Worker:
    """A worker that has answers to so many prompts, of which none is recorded; leases are over."""
    resources = service.resources
    worker = Worker(resources, identity=_identity(resources), places=await _places(resources))
    await worker.take_up()
    await service.submit(number)
    ollama.hold = asyncio.Event()
    while worker.executor.in_flight < number:
        # The host takes up the prompts' group first, when no other news is there.
        resources.signals.work_available.clear()
        await worker.dispatcher.run_once()
    ollama.hold.set()
    while len(worker.recorder) < number:
        resources.signals.work_available.clear()
        await resources.signals.work_available.wait()
    await resources.database.write(
        lambda tx: tx.execute(sa.update(task).values(lease_until_ms=1)).rowcount
    )
    return worker


async def test_a_worker_keeps_the_leases_of_answers_that_are_not_recorded(
    service: Service, ollama: Any
) -> None:
    worker = await with_answers(service, ollama, 3)
    await worker.heartbeat.run_once()
    assert await service.resources.database.write(completions.rescue) == 0
    await worker.dispatcher.run_once()
    assert (worker.dispatcher.finished, worker.dispatcher.fenced) == (3, 0)
    assert len(ollama.asked) == 3


async def test_a_rescuer_leaves_the_prompts_of_its_own_worker_to_the_heartbeat(
    service: Service, ollama: Any
) -> None:
    worker = await with_answers(service, ollama, 3)
    await worker.rescuer.run_once()
    await worker.dispatcher.run_once()
    assert (worker.dispatcher.finished, worker.dispatcher.fenced) == (3, 0)
    assert len(ollama.asked) == 3


async def test_a_rescuer_takes_what_its_own_worker_was_given_and_does_not_have(
    service: Service, ollama: Any
) -> None:
    worker = await with_answers(service, ollama, 1)
    # As when the answer to the commit of a claim is lost: the leases are there, and nobody's.
    await service.resources.database.write(
        lambda tx: tx.execute(sa.update(task).values(id=task.c.id + 1)).rowcount
    )
    await worker.rescuer.run_once()
    states = await service.resources.database.read(
        lambda tx: tx.execute(sa.select(task.c.state)).scalars().all()
    )
    assert states == ["pending"]

"""`/health` and `/ready` of a service whose worker has ended, or does not get on."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.errors import WorkerEnded
from promptmill.domain.workers import WorkerIdentity
from promptmill.store.hosts import workers
from promptmill.worker.runner import working

OTHER = WorkerIdentity(id="other-7", host_name="gpu", pid=7, version="0.1.0", concurrency=4)
LEASE_MS = 1_000


async def until(service: Any, path: str, status: int) -> dict[str, Any]:
    """What the service answers as soon as it answers with this status."""
    async with asyncio.timeout(20):
        while (response := await service.client.get(path)).status_code != status:
            await asyncio.sleep(0.02)
    return response.json()


async def work_until_a_role_is_lost(service: Any, name: str) -> None:
    async with working(service.resources):
        await until(service, "/ready", 200)
        (role,) = [task for task in asyncio.all_tasks() if task.get_name() == name]
        role.cancel()
        async with asyncio.timeout(20):
            await asyncio.Event().wait()


async def test_a_role_that_has_ended_makes_the_service_unhealthy(service) -> None:
    assert (await service.client.get("/health")).status_code == 200

    with pytest.raises(WorkerEnded, match="The role rescuer of worker"):
        await work_until_a_role_is_lost(service, "rescuer")

    for path in ("/health", "/ready"):
        response = await service.client.get(path)
        assert response.status_code == 503
        assert "The role rescuer of worker" in response.json()["detail"]


async def test_a_worker_that_stopped_when_it_was_asked_to_is_no_trouble(service) -> None:
    async with working(service.resources):
        assert (await service.client.get("/ready")).status_code == 200

    for path in ("/health", "/ready"):
        assert (await service.client.get(path)).status_code == 200


async def test_ready_names_the_own_worker_whose_exchange_hangs(open_service) -> None:
    service = await open_service(lease_s=1, heartbeat_s=0.3)
    release = threading.Event()
    async with working(service.resources) as identity:
        held = asyncio.create_task(service.resources.database.write(lambda _: release.wait()))

        answer = await until(service, "/ready", 503)
        release.set()
        await held

        assert f"Worker {identity.id} had its last exchange" in answer["detail"]
        await until(service, "/ready", 200)


@pytest.mark.parametrize(("silent_ms", "status"), [(LEASE_MS, 200), (LEASE_MS + 1, 503)])
async def test_ready_names_another_worker_that_lives_and_does_not_get_on(
    open_service, silent_ms: int, status: int
) -> None:
    service = await open_service(lease_s=1, heartbeat_s=0.3)
    await service.resources.database.write(workers.register, OTHER)
    await service.resources.database.write(
        workers.touch, OTHER, exchanged_ago_ms=silent_ms, finished=0, fenced=0
    )

    response = await service.client.get("/ready")

    assert response.status_code == status
    assert ("other-7" in response.text) is (status == 503)


async def test_ready_does_not_wait_for_a_worker_that_is_lost(open_service) -> None:
    service = await open_service(lease_s=1, heartbeat_s=0.3)
    await service.resources.database.write(workers.register, OTHER)

    def silence(tx: Any) -> None:
        tx.execute(sa.text("UPDATE worker SET seen_at_ms = seen_at_ms - 5000"))
        tx.execute(sa.text("UPDATE worker SET exchanged_at_ms = seen_at_ms - 5000"))

    await service.resources.database.write(silence)

    assert (await service.client.get("/workers")).json()["data"][0]["state"] == "lost"
    assert (await service.client.get("/ready")).status_code == 200


async def test_a_worker_of_another_schema_begins_nothing_more_and_says_so(open_service) -> None:
    service = await open_service(lease_s=1, heartbeat_s=0.3)
    async with working(service.resources) as identity:
        await service.resources.database.write(
            lambda tx: tx.execute(sa.text("UPDATE alembic_version SET version_num = '0099'"))
        )

        answer = await until(service, "/ready", 503)

        assert f"schema 0099, and worker {identity.id} is of a version" in answer["detail"]
        assert (await service.client.get("/health")).status_code == 200
        batch_id = (await service.post({"prompts": ["a"]})).json()["id"]
        shown = (await service.client.get(f"/batches/{batch_id}?wait_s=1")).json()
        assert shown["counts"]["pending"] == 1

"""`GET /workers`: who works off the queue."""

from __future__ import annotations

import re

from promptmill.api.documents.batches import worker_document
from promptmill.contract import examples
from promptmill.contract.service import Worker as WorkerSchema
from promptmill.domain.workers import Worker, WorkerIdentity, WorkerState
from promptmill.worker.runner import working


async def test_a_worker_is_alive_while_it_works_and_has_stopped_afterwards(service) -> None:
    assert (await service.client.get("/workers")).json() == {"data": [], "next_cursor": None}

    async with working(service.resources) as identity:
        batch_id = (await service.post({"prompts": ["a"]})).json()["id"]
        await service.client.get(f"/batches/{batch_id}", params={"wait_s": 30})
        (alive,) = (await service.client.get("/workers")).json()["data"]
    page = (await service.client.get("/workers")).json()
    (stopped,) = page["data"]

    assert page["next_cursor"] is None
    assert alive["id"] == stopped["id"] == identity.id
    assert (alive["alive"], alive["state"], alive["stopped_at"]) == (True, "alive", None)
    assert (stopped["alive"], stopped["state"]) == (False, "stopped")
    assert (stopped["in_flight"], stopped["finished"], stopped["fenced"]) == (0, 1, 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stopped["stopped_at"])


async def test_a_query_parameter_is_refused(service) -> None:
    response = await service.client.get("/workers?alive=true")

    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == "/query/alive"


def test_what_is_written_has_exactly_the_fields_that_are_documented() -> None:
    identity = WorkerIdentity(id="w", host_name="gpu", pid=1, version="0.1.0", concurrency=2)
    lost = Worker(
        identity=identity,
        state=WorkerState.LOST,
        in_flight=1,
        finished=2,
        fenced=3,
        started_at_ms=0,
        seen_at_ms=1_795_415_400_007,
        exchanged_at_ms=1_795_415_400_000,
        stopped_at_ms=None,
    )

    written = worker_document(lost)

    assert list(written) == list(WorkerSchema.model_fields) == list(examples.WORKER)
    assert written["seen_at"] == "2026-11-23T06:30:00.007Z"
    assert (written["alive"], written["state"]) == (False, "lost")
    WorkerSchema.model_validate(written)

"""The table of docs/lifecycle.md: every request in every state does what it says there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from promptmill.domain.lifecycle import JobState
from promptmill.worker.runner import working

PAGE = (Path(__file__).parents[2] / "docs" / "lifecycle.md").read_text()
LINES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| ")
]
HEADER, *ROWS = LINES
REQUESTS = [name.strip("`") for name in HEADER[1:]]
TABLE = {
    (row[0].strip("`"), request): cell
    for row in ROWS
    for request, cell in zip(REQUESTS, row[1:], strict=True)
}
FAILS = {"prompt": "a", "model": "missing"}
FAST = {"rate_limit_delay": 0}


def test_the_table_has_every_state_that_a_client_can_see() -> None:
    assert {state for state, _ in TABLE} == set(JobState) - {JobState.RECEIVING}
    assert REQUESTS == ["pause", "resume", "cancel", "retry", "PATCH", "DELETE"]


async def submitted(service, *prompts: object, **fields: object) -> str:
    return (await service.post({"prompts": list(prompts), **fields})).json()["id"]


async def worked_on(service, batch_id: str, *, until: str) -> None:
    """Let a worker work until the batch has ended, or has a failed prompt."""
    async with working(service.resources):
        while True:
            batch = (await service.client.get(f"/batches/{batch_id}?wait_s=0.05&limit=0")).json()
            if batch["status"] == until and (until != "running" or batch["counts"]["failed"]):
                return


async def in_state(service, state: str) -> str:
    """A batch in that state, with a prompt that could run again wherever there can be one."""
    match state:
        case "queued":
            # Cancelled before it began, and then one of its two prompts asked for again.
            batch_id = await submitted(service, "a", "b")
            await service.client.post(f"/batches/{batch_id}/cancel")
            await worked_on(service, batch_id, until="cancelled")
            await service.client.post(f"/batches/{batch_id}/retry", json={"indexes": [0]})
        case "running" | "paused" | "cancelling":
            # The second prompt may not start for an hour. Both of one model: then it is the second.
            batch_id = await submitted(
                service, FAILS, FAILS, max_concurrent=1, rate_limit_delay=3600
            )
            await worked_on(service, batch_id, until="running")
            if state != "running":
                verb = {"paused": "pause", "cancelling": "cancel"}[state]
                await service.client.post(f"/batches/{batch_id}/{verb}")
        case "completed":
            batch_id = await submitted(service, FAILS, "b", **FAST)
            await worked_on(service, batch_id, until=state)
        case "failed":
            batch_id = await submitted(service, FAILS, **FAST)
            await worked_on(service, batch_id, until=state)
        case "cancelled":
            batch_id = await submitted(service, "a")
            await service.client.post(f"/batches/{batch_id}/cancel")
            await worked_on(service, batch_id, until=state)
        case _:
            batch_id = await submitted(service, "a", expires_in_s=0.001)
            await worked_on(service, batch_id, until=state)
    return batch_id


async def answer_to(service, request: str, batch_id: str) -> tuple[int, Any]:
    path = f"/batches/{batch_id}"
    if request == "PATCH":
        response = await service.client.patch(path, json={"priority": 1})
    elif request == "DELETE":
        response = await service.client.delete(path)
    else:
        response = await service.client.post(f"{path}/{request}")
    return response.status_code, response.json() if response.content else None


@pytest.mark.parametrize(("state", "request_name"), TABLE)
async def test_a_request_does_in_a_state_what_the_table_says(service, state, request_name) -> None:
    batch_id = await in_state(service, state)
    before = (await service.client.get(f"/batches/{batch_id}?limit=0")).json()
    assert before["status"] == state

    status, answer = await answer_to(service, request_name, batch_id)

    cell = TABLE[state, request_name]
    if cell.isdecimal():
        assert status == int(cell)
        if status == 409:
            after = (await service.client.get(f"/batches/{batch_id}?limit=0")).json()
            assert after["status"] == state
            assert after["counts"] == before["counts"]
    else:
        assert status == (200 if request_name == "PATCH" else 202)
        usual, *unstarted = re.findall(r"`(\w+)`", cell)
        expected = unstarted[0] if unstarted and before["started_at"] is None else usual
        assert answer["status"] == expected

"""`auto_pull` over HTTP: asked for in every form, seen in the batch while it waits."""

from __future__ import annotations

import pytest

from promptmill.domain.scheduling.downloads import Progress, Sight
from promptmill.store.batches import jobs
from promptmill.store.downloads import planning, pulls

URL = "http://gpu:11434"


async def plan(service, **fields):
    """One plan of a worker before a host that has nothing."""
    database = service.resources.database
    key = await database.write(jobs.register_host, URL)
    sight = Sight(host_key=key, models=frozenset(), is_open=True, **fields)
    return await database.write(
        planning.plan, [sight], since_ms=0, everywhere=False, owner="w", lease_ms=60_000
    )


async def test_a_batch_shows_the_pull_that_it_waits_for(service) -> None:
    accepted = (await service.post({"prompts": ["a"], "model": "Late", "auto_pull": True})).json()
    (lease,) = (await plan(service)).leases
    progress = Progress(detail="pulling 6a07", completed_bytes=41, total_bytes=100)
    database = service.resources.database
    await database.write(pulls.report, lease, progress, lease_ms=60_000)

    read = (await service.client.get(f"/batches/{accepted['id']}")).json()
    (listed,) = (await service.client.get("/batches")).json()["data"]

    nowhere = {**dict.fromkeys(read["pulls"][0]), "model": "Late", "status": "waiting"}
    assert (accepted["auto_pull"], accepted["pulls"]) == (True, [nowhere])
    assert read["status"] == "queued"
    assert read["pulls"] == listed["pulls"]
    assert read["pulls"] == [
        {
            "model": "Late",
            "host": URL,
            "status": "pulling",
            "completed_bytes": 41,
            "total_bytes": 100,
            "detail": "pulling 6a07",
            "error": None,
        }
    ]


async def test_prompts_by_line_ask_for_it_in_the_query(service) -> None:
    response = await service.client.post(
        "/batches?auto_pull=true&model=late",
        content=b'"a"\n',
        headers={"Content-Type": "application/x-ndjson"},
    )

    assert response.status_code == 202
    assert response.json()["auto_pull"] is True
    assert [one["model"] for one in response.json()["pulls"]] == ["late"]


@pytest.mark.parametrize("value", ["yes", 1, None, [], "true"])
async def test_it_is_true_or_false_and_nothing_else(service, value) -> None:
    response = await service.post({"prompts": ["a"], "auto_pull": value})

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"pointer": "/auto_pull", "detail": "must be true or false"}
    ]

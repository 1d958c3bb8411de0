"""`auto_pull` over HTTP: asked for in every form, seen in the batch while it waits."""

from __future__ import annotations

import pytest

from promptmill.domain.scheduling.downloads import Progress, Sight
from promptmill.store.downloads import planning, pulls
from promptmill.store.hosts.hosts import register_host

URL = "http://gpu:11434"


async def plan(service, **fields):
    """One plan of a worker before a host that has nothing."""
    database = service.resources.database
    key = await database.write(register_host, URL)
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


@pytest.mark.parametrize("value", ["yes", 1, [], "true"])
async def test_it_is_true_or_false_and_nothing_else(service, value) -> None:
    response = await service.post({"prompts": ["a"], "auto_pull": value})

    assert response.status_code == 422
    assert response.json()["errors"] == [
        {"pointer": "/auto_pull", "detail": "must be true or false"}
    ]


REFUSED = [
    "evil.example/a/b",
    "evil.example:5000/a/b:latest",
    "http://evil.example/a/b",
    "10.0.0.1:5000/model",
    "HF.co.evil.example/a/b",
]


async def test_a_model_of_an_unknown_server_is_not_downloaded(
    service, subtests: pytest.Subtests
) -> None:
    for query in ["", "?dry_run=true"]:
        for model in REFUSED:
            with subtests.test(query=query, model=model):
                body = {
                    "model": model,
                    "auto_pull": True,
                    "prompts": ["a", {"prompt": "b", "model": model}],
                }

                response = await service.client.post(f"/batches{query}", json=body)

                assert response.status_code == 422
                assert [one["pointer"] for one in response.json()["errors"]] == [
                    "/model",
                    "/prompts/1/model",
                ]
                assert "PROMPTMILL_PULL_REGISTRIES" in response.json()["errors"][0]["detail"]
                assert await service.stored() == []


async def test_nor_is_one_that_a_line_of_an_upload_names(service) -> None:
    lines = b'"a"\n{"prompt": "b", "model": "evil.example/a/b"}\n'
    for query in ("", "&dry_run=true"):
        response = await service.client.post(
            f"/batches?auto_pull=true&model=qwen3:8b{query}",
            content=lines,
            headers={"Content-Type": "application/x-ndjson"},
        )

        assert response.status_code == 422
        assert response.json()["errors"][0]["pointer"] == "/prompts/1/model"
    assert await service.stored() == []


@pytest.mark.parametrize(
    "model", ["qwen3", "me/mine", "hf.co/a/b:Q4", "registry.ollama.ai/library/x"]
)
async def test_models_of_known_servers_are_downloaded(service, model: str) -> None:
    response = await service.post({"model": model, "auto_pull": True, "prompts": ["a"]})

    assert response.status_code == 202


async def test_the_operator_names_further_servers_and_without_auto_pull_nothing_is_downloaded(
    open_service,
) -> None:
    service = await open_service(pull_registries="mirror.example:5000")
    answers = [
        (await service.post({"model": model, "auto_pull": auto_pull, "prompts": ["a"]})).status_code
        for model, auto_pull in (
            ("mirror.example:5000/a/b", True),
            ("hf.co/a/b", True),
            ("hf.co/a/b", False),
        )
    ]

    assert answers == [202, 422, 202]

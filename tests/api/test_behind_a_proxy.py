"""Below a prefix of a proxy: addresses that the service tells carry it."""

from __future__ import annotations

import httpx
import pytest

from promptmill.api import build_api

BODY = {"model": "tiny", "prompts": ["a"]}


@pytest.fixture
async def below(service):
    """`below(path)` asks a service that a proxy serves under /mill."""
    app = build_api(root_path="/mill")
    app.state.resources = service.resources
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("prefix", ["", "/mill"])
async def test_a_location_carries_the_prefix_whether_the_proxy_takes_it_off_or_not(
    below, prefix: str
) -> None:
    batch = await below.post(f"{prefix}/batches", json=BODY)
    benchmark = await below.post(f"{prefix}/benchmarks", json={"models": ["tiny"]})

    assert batch.status_code == benchmark.status_code == 202
    assert batch.headers["location"] == f"/mill/batches/{batch.json()['id']}"
    assert benchmark.headers["location"] == f"/mill/benchmarks/{benchmark.json()['id']}"
    assert (await below.get(batch.headers["location"])).json()["id"] == batch.json()["id"]


async def test_the_type_of_a_problem_is_an_address_below_the_prefix(below) -> None:
    refused = await below.get("/mill/batches/batch_0")
    foreign = await below.get("/mill/batches", headers={"Origin": "http://evil.example"})

    assert refused.json()["type"] == "/mill/problems/not-found"
    assert foreign.json()["type"] == "/mill/problems/cross-origin"
    assert (await below.get(refused.json()["type"])).status_code == 200


async def test_the_document_names_the_prefix_as_its_server(below, service) -> None:
    assert (await below.get("/openapi.json")).json()["servers"] == [{"url": "/mill"}]
    assert "servers" not in (await service.client.get("/openapi.json")).json()


async def test_access_is_decided_by_the_path_below_the_prefix(below) -> None:
    followed = {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
    }

    assert (await below.get("/mill/docs", headers=followed)).status_code == 200
    assert (await below.get("/mill/batches", headers=followed)).status_code == 403

"""A model that can only embed is refused wherever text is to be generated."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from tests.api.conftest import answer_as_ollama, refuse_connections

ONLY_EMBEDS = (
    "`nomic-embed-text` only makes embeddings and answers no prompts; name a model that does"
)


class Host:
    """An Ollama that has a model for embeddings beside the usual one."""

    def __init__(
        self, *, lists_capabilities: bool, shows: tuple[str, ...] = ("embedding",)
    ) -> None:
        self.lists_capabilities = lists_capabilities
        self.shows = shows
        self.shown: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        response = answer_as_ollama(request)
        if request.url.path == "/api/tags":
            found = response.json()["models"]
            other = {**found[0], "name": "nomic-embed-text:latest", "digest": "0a109f42"}
            other["model"] = other["name"]
            if self.lists_capabilities:
                found[0]["capabilities"] = ["completion"]
                other["capabilities"] = list(self.shows)
            return httpx.Response(200, json={"models": [*found, other]})
        if request.url.path == "/api/show":
            name = json.loads(request.content)["model"]
            self.shown.append(name)
            if name.startswith("nomic"):
                return httpx.Response(200, json={"capabilities": list(self.shows)})
        return response


async def post(service, kind: str, prompts: list, query: str = "", **fields: object):
    """Submit in either form."""
    if kind == "json":
        body = json.dumps({"prompts": prompts, **fields})
        media_type = "application/json"
    else:
        body = "\n".join(json.dumps(prompt) for prompt in prompts)
        query += "".join(f"&{name}={value}" for name, value in fields.items())
        media_type = "application/x-ndjson"
    return await service.client.post(
        f"/batches?{query.lstrip('&')}", content=body, headers={"Content-Type": media_type}
    )


@pytest.mark.parametrize("kind", ["json", "ndjson"])
@pytest.mark.parametrize("query", ["", "dry_run=true"])
@pytest.mark.parametrize("lists_capabilities", [True, False])
async def test_it_is_refused_in_each_place_that_names_it_and_nothing_is_stored(
    open_service, kind, query, lists_capabilities
) -> None:
    service = await open_service(Host(lists_capabilities=lists_capabilities))
    own = [{"prompt": "a", "model": "nomic-embed-text"}, {"prompt": "b", "model": "qwen3:8b"}, "c"]

    response = await post(service, kind, own, query, model="nomic-embed-text")

    assert response.status_code == 422
    batch = "/model" if kind == "json" else "/query/model"
    assert {(one["pointer"], one["detail"]) for one in response.json()["errors"]} == {
        ("/prompts/0/model", ONLY_EMBEDS),
        (batch, ONLY_EMBEDS),
    }
    assert await service.stored() == []


async def test_a_benchmark_of_it_is_refused(open_service) -> None:
    service = await open_service(Host(lists_capabilities=False))

    response = await service.client.post(
        "/benchmarks", json={"models": ["qwen3:8b", "nomic-embed-text"]}
    )

    assert response.status_code == 422
    assert response.json()["errors"] == [{"pointer": "/models/1", "detail": ONLY_EMBEDS}]


@pytest.mark.parametrize("shows", [(), ("completion", "embedding"), ("vision",)])
async def test_a_model_that_may_complete_text_is_accepted(open_service, shows) -> None:
    service = await open_service(Host(lists_capabilities=False, shows=shows))

    assert (await post(service, "json", ["a"], model="nomic-embed-text")).status_code == 202


async def test_a_host_is_asked_once_for_what_a_model_can_do(open_service) -> None:
    host = Host(lists_capabilities=False)
    service = await open_service(host)

    for _ in range(3):
        await post(service, "json", ["a"], model="nomic-embed-text")
        await post(service, "json", ["a"])

    assert sorted(host.shown) == ["nomic-embed-text:latest", "qwen3:8b"]


async def test_where_no_host_tells_the_batch_is_accepted(open_service) -> None:
    service = await open_service(refuse_connections)

    assert (await post(service, "json", ["a"], model="nomic-embed-text")).status_code == 202


async def test_a_host_that_is_silent_holds_a_submission_up_for_a_second_at_most(
    open_service,
) -> None:
    async def silent(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(30)
        return answer_as_ollama(request)

    service = await open_service(silent)
    started = asyncio.get_running_loop().time()

    response = await post(service, "json", ["a"], model="nomic-embed-text")

    assert response.status_code == 202
    assert asyncio.get_running_loop().time() - started < 5

"""Having a server let a model go from its memory, against a router of respx."""

from __future__ import annotations

import json

import httpx
import pytest
import respx

from promptmill.domain.outcomes import Blame, ErrorCode
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.deadlines import Timeouts
from promptmill.ollama.failures.table import OllamaError
from promptmill.simulator import ModelSpec, SimulatorSettings, Speed, create_simulator, running

URL = "http://gpu:11434"
UNLOADED = {"model": "tiny", "response": "", "done": True, "done_reason": "unload"}


@pytest.fixture
def ollama():
    return respx.Router(base_url=URL, assert_all_called=False)


@pytest.fixture
async def client(ollama):
    opened = OllamaClient(
        URL,
        timeouts=Timeouts(unload_s=0.1),
        transport=httpx.MockTransport(ollama.async_handler),
    )
    yield opened
    await opened.aclose()


def loaded(*names):
    return httpx.Response(200, json={"models": [{"name": name} for name in names]})


async def test_a_model_is_unloaded_by_an_empty_prompt_that_keeps_it_for_no_time(
    ollama, client
) -> None:
    route = ollama.post("/api/generate").respond(json=UNLOADED)
    ollama.get("/api/ps").mock(return_value=loaded())
    await client.unload("tiny")
    assert json.loads(route.calls.last.request.content) == {
        "model": "tiny",
        "prompt": "",
        "keep_alive": 0,
        "stream": False,
    }


async def test_it_is_waited_for_until_the_server_lists_it_no_more(ollama, client) -> None:
    ollama.post("/api/generate").respond(json=UNLOADED)
    listed = ollama.get("/api/ps").mock(
        side_effect=[loaded("small:latest", "tiny:latest"), loaded("small:latest")]
    )
    await client.unload("registry.ollama.ai/library/Tiny")
    assert listed.call_count == 2


async def test_a_model_that_stays_is_told_so(ollama, client) -> None:
    ollama.post("/api/generate").respond(json=UNLOADED)
    ollama.get("/api/ps").mock(return_value=loaded("tiny:latest"))
    with pytest.raises(OllamaError, match=r"still holds tiny in memory 0\.1 s after") as caught:
        await client.unload("tiny")
    assert (caught.value.failed.code, caught.value.failed.blame) == (
        ErrorCode.TIMEOUT,
        Blame.ATTEMPT,
    )


async def test_a_missing_model_cannot_be_unloaded(ollama, client) -> None:
    ollama.post("/api/generate").respond(404, json={"error": "model 'x' not found"})
    with pytest.raises(OllamaError) as caught:
        await client.unload("x")
    assert caught.value.failed.code is ErrorCode.MODEL_NOT_FOUND


@pytest.mark.parametrize("answer", [{**UNLOADED, "done_reason": "load"}, {"done": True}, []])
async def test_a_server_that_does_not_say_that_it_unloads_is_not_believed(
    ollama, client, answer
) -> None:
    ollama.post("/api/generate").respond(json=answer)
    with pytest.raises(OllamaError, match="does not speak Ollama's API"):
        await client.unload("tiny")


async def test_a_server_that_goes_away_meanwhile_is_told_so(ollama, client) -> None:
    ollama.post("/api/generate").respond(json=UNLOADED)
    ollama.get("/api/ps").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(OllamaError, match="refused") as caught:
        await client.unload("tiny")
    assert caught.value.failed.code is ErrorCode.HOST_UNREACHABLE


async def test_a_simulated_server_unloads_what_is_loaded_and_what_is_not() -> None:
    models = (ModelSpec(name="tiny", speed=Speed()),)
    simulator = create_simulator(SimulatorSettings(models=models))
    async with running(simulator) as url, httpx.AsyncClient(base_url=url) as http:
        await http.post("/api/generate", json={"model": "tiny", "prompt": ""})
        client = OllamaClient(url)
        assert [model.name for model in await client.list_running()] == ["tiny:latest"]
        await client.unload("tiny")
        assert await client.list_running() == []
        await client.unload("tiny")
        await client.aclose()

"""The requests around the prompts (models, version, pull), against a router of respx."""

from __future__ import annotations

import httpx
import pytest
import respx

from promptmill.domain.calls import Call
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Succeeded
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.failures.table import OllamaError

URL = "http://gpu:11434"
DETAILS = {"family": "qwen3", "parameter_size": "8.2B", "quantization_level": "Q4_K_M"}


@pytest.fixture
def ollama():
    return respx.Router(base_url=URL, assert_all_called=False)


@pytest.fixture
async def client(ollama):
    opened = OllamaClient(URL, transport=httpx.MockTransport(ollama.async_handler))
    yield opened
    await opened.aclose()


async def test_the_version_is_the_sign_of_life(ollama, client) -> None:
    ollama.get("/api/version").respond(json={"version": "0.24.0"})
    assert await client.version() == "0.24.0"


async def test_installed_models_are_told_with_what_is_known_of_them(ollama, client) -> None:
    full = {"name": "qwen3:8b", "size": 5, "digest": "ab", "details": DETAILS}
    ollama.get("/api/tags").respond(json={"models": [full, {"name": "bare"}], "new": 1})
    qwen, bare = await client.list_models()
    assert (qwen.name, qwen.size, qwen.parameter_size) == ("qwen3:8b", 5, "8.2B")
    assert (bare.name, bare.size, bare.parameter_size) == ("bare", 0, None)


@pytest.mark.parametrize("body", [{"models": []}, {"models": None}])
async def test_a_server_without_models_has_none(ollama, client, body) -> None:
    ollama.get("/api/tags").respond(json=body)
    assert await client.list_models() == []


async def test_running_models_are_told_with_their_memory(ollama, client) -> None:
    loaded = {"name": "qwen3:8b", "size": 9, "size_vram": 7, "context_length": 4096}
    ollama.get("/api/ps").respond(json={"models": [loaded]})
    (model,) = await client.list_running()
    assert (model.size, model.size_vram, model.context_length) == (9, 7, 4096)


async def test_a_model_in_detail_has_the_window_of_its_architecture(ollama, client) -> None:
    shown = {"details": DETAILS, "model_info": {"qwen3.context_length": 40960}}
    route = ollama.post("/api/show").respond(json=shown)
    info = await client.show("qwen3:8b")
    assert (info.family, info.context_length) == ("qwen3", 40960)
    assert route.calls.last.request.content == b'{"model": "qwen3:8b"}'


async def test_a_missing_model_is_told_so(ollama, client) -> None:
    ollama.post("/api/show").respond(404, json={"error": "model 'x' not found"})
    with pytest.raises(OllamaError, match="model 'x' not found") as caught:
        await client.show("x")
    assert caught.value.failed.code is ErrorCode.MODEL_NOT_FOUND


@pytest.mark.parametrize("body", ["<html>hello</html>", "[]", '{"models": 7}'])
async def test_what_is_no_ollama_is_told_so(ollama, client, body) -> None:
    ollama.get("/api/tags").respond(text=body)
    with pytest.raises(OllamaError, match="does not speak Ollama's API"):
        await client.list_models()


async def test_a_host_that_is_down_is_told_so(ollama, client) -> None:
    ollama.get("/api/version").mock(side_effect=httpx.ConnectError("Connection refused"))
    with pytest.raises(OllamaError, match="Connection refused") as caught:
        await client.version()
    assert caught.value.failed.blame is Blame.HOST


async def test_a_pull_reports_its_lines_up_to_success(ollama, client) -> None:
    lines = b'{"status":"pulling manifest"}\n\n{"status":"pulling ab","total":9,"completed":4}\n'
    ollama.post("/api/pull").respond(content=lines + b'{"status":"success"}\n')
    seen = [line async for line in client.pull("qwen3:8b")]
    assert [line.status for line in seen] == ["pulling manifest", "pulling ab", "success"]
    assert (seen[1].total, seen[1].completed) == (9, 4)


async def test_what_a_host_says_of_a_pull_can_be_stored(ollama, client) -> None:
    lines = b'{"status":"pulling \\u0000 ' + b"x" * 2000 + b'"}\n{"status":"success"}\n'
    ollama.post("/api/pull").respond(content=lines)
    told, _ = [line.status async for line in client.pull("x")]
    assert told.startswith("pulling \ufffd x")
    assert len(told.encode()) <= 510


@pytest.mark.parametrize(
    ("last", "code"),
    [
        (b'{"error":"pull model manifest: file does not exist"}\n', ErrorCode.MODEL_NOT_FOUND),
        (b'{"status":"verifying sha256 digest"}\n', ErrorCode.INCOMPLETE),
        (b"not json\n", ErrorCode.SERVER_ERROR),
    ],
)
async def test_a_pull_that_does_not_end_in_success_has_failed(ollama, client, last, code) -> None:
    ollama.post("/api/pull").respond(content=b'{"status":"pulling manifest"}\n' + last)
    with pytest.raises(OllamaError) as caught:
        async for _ in client.pull("x"):
            pass
    assert caught.value.failed.code is code


async def test_a_prompt_is_answered_through_any_transport(ollama, client) -> None:
    stream = b'{"response":"4","done":false}\n{"response":"2","done":true,"done_reason":"stop"}\n'
    ollama.post("/api/generate").respond(content=stream)
    outcome = await client.run(Call(model="m", prompt="6 * 7"))
    assert isinstance(outcome, Succeeded)
    assert (outcome.response, outcome.done_reason) == ("42", "stop")


@pytest.mark.parametrize(
    ("error", "code", "blame"),
    [
        (httpx.ConnectError("refused"), ErrorCode.HOST_UNREACHABLE, Blame.HOST),
        (httpx.ReadError("reset"), ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT),
        (httpx.ReadTimeout("late"), ErrorCode.TIMEOUT, Blame.ATTEMPT),
        (httpx.PoolTimeout("late"), ErrorCode.TIMEOUT, Blame.HOST),
    ],
)
async def test_a_prompt_whose_transport_fails_has_an_outcome(
    ollama, client, error, code, blame
) -> None:
    ollama.post("/api/chat").mock(side_effect=error)
    outcome = await client.run(Call(model="m", messages=({"role": "user", "content": "x"},)))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.blame) == (code, blame)

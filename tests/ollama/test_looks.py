"""What a look at a host sees, how long it may take, and what follows from it; and the key."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
import respx

from promptmill.domain.calls import Call
from promptmill.domain.hosts.credentials import bearer
from promptmill.domain.hosts.spec import HostSpec
from promptmill.domain.outcomes import ErrorCode, Failed, Succeeded
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.hosts import Host
from promptmill.simulator import ModelSpec, Simulator, SimulatorSettings, Speed, running
from tests.ollama.raw_host import LAST, Exchange, plain, raw_host

KEY = "sk-swordfish"
MODELS = (ModelSpec(name="tiny", speed=Speed()), ModelSpec(name="Big:7b", speed=Speed()))


async def test_a_look_sees_version_models_and_what_is_loaded() -> None:
    async with running(SimulatorSettings(models=MODELS, version="0.24.0")) as url:
        client = OllamaClient(url)
        host = Host(client)
        assert (host.view.version, host.view.installed, host.view.loaded) == (None, None, None)
        assert host.has_model("tiny") is None

        await client.run(Call(model="tiny", prompt="x", parameters={"options": {"num_ctx": 2048}}))
        view = await host.look()

        assert (view.version, view.trouble, view.models_trouble) == ("0.24.0", None, None)
        assert {model.name for model in view.installed or ()} == {"tiny:latest", "Big:7b"}
        (loaded,) = view.loaded or ()
        assert (loaded.name, loaded.context_length) == ("tiny:latest", 2048)
        assert loaded.size_vram is not None
        names = ("tiny", "TINY:latest", "big:7b", "big")
        assert [host.has_model(name) for name in names] == [True, True, True, False]
        await client.aclose()


async def test_a_list_of_models_narrows_what_the_host_has() -> None:
    async with running(SimulatorSettings(models=MODELS)) as url:
        client = OllamaClient(url)
        host = Host(client, spec=HostSpec(url=url, models=("Tiny", "absent")))
        assert (host.has_model("big:7b"), host.has_model("tiny")) == (False, None)
        await host.look()
        assert [host.has_model(name) for name in ("big:7b", "tiny:latest", "absent")] == [
            False,
            True,
            False,
        ]
        await client.aclose()


async def test_what_is_loading_holds_up_neither_the_sign_of_life_nor_the_list_of_models() -> None:
    asked = asyncio.Event()

    async def respond(exchange: Exchange) -> None:
        path = exchange.head.split()[1]
        if path == b"/api/ps":
            asked.set()
            await exchange.until_client_leaves()
        elif path == b"/api/version":
            await exchange.send(plain("200 OK", b'{"version": "1"}'))
        else:
            await exchange.send(plain("200 OK", b'{"models": [{"name": "tiny:latest"}]}'))

    async with raw_host(respond) as raw:
        client = OllamaClient(raw.url)
        host = Host(client)
        look = asyncio.create_task(host.look(within_s=5))
        await asked.wait()
        async with asyncio.timeout(2):
            while host.has_model("tiny") is None or host.view.version is None:
                await asyncio.sleep(0.001)
        assert not look.done()
        look.cancel()

        view = await host.look(within_s=0.05)

        assert (view.version, view.trouble, view.loaded) == ("1", None, None)
        assert view.models_trouble is not None
        assert view.models_trouble.code is ErrorCode.TIMEOUT
        assert host.available
        await client.aclose()


async def test_what_a_host_no_longer_tells_stands_as_it_was_seen_with_its_age() -> None:
    simulator = Simulator(SimulatorSettings(models=MODELS))
    now = 100.0
    async with running(simulator) as url:
        client = OllamaClient(url)
        host = Host(client, clock=lambda: now)
        await client.run(Call(model="tiny", prompt="x"))
        await host.look()
    now += 5

    view = await host.look()

    assert view.trouble is not None
    assert view.trouble.code is ErrorCode.HOST_UNREACHABLE
    assert view.version is not None
    assert [model.name for model in view.loaded or ()] == ["tiny:latest"]
    assert view.loaded_at is not None
    assert host.seconds_since(view.loaded_at) == 5
    assert host.has_model("tiny") is True
    await client.aclose()


def _host_of(ollama: respx.Router, clock: list[float]) -> tuple[OllamaClient, Host]:
    client = OllamaClient("gpu", transport=httpx.MockTransport(ollama.async_handler))
    return client, Host(client, clock=lambda: clock[0])


async def test_a_host_that_refuses_a_look_is_put_aside_and_only_a_probe_takes_it_back() -> None:
    ollama, clock = respx.Router(base_url="http://gpu:11434", assert_all_called=False), [0.0]
    ollama.get(path__regex="/api/(tags|ps)").respond(json={"models": []})
    version = ollama.get("/api/version").mock(side_effect=httpx.ConnectError("refused"))
    client, host = _host_of(ollama, clock)

    await host.look(judging=False)
    assert host.available
    await host.look()
    assert not host.available

    version.mock(side_effect=None, return_value=httpx.Response(200, json={"version": "1"}))
    clock[0] = 9.0
    await host.look()
    assert host.view.trouble is None
    assert not host.available
    await host.probe()
    assert host.available
    assert host.health.on_trial
    await client.aclose()


async def test_many_onlookers_of_a_busy_host_do_not_put_it_aside() -> None:
    async def respond(exchange: Exchange) -> None:
        await exchange.until_client_leaves()

    async with raw_host(respond) as raw:
        client = OllamaClient(raw.url)
        host = Host(client)
        await asyncio.gather(*(host.look(within_s=0.02, judging=False) for _ in range(5)))
        assert host.available
        for _ in range(3):
            assert host.available
            await host.look(within_s=0.02)
        assert host.health.trouble is not None
        assert host.health.trouble.code is ErrorCode.TIMEOUT
        await client.aclose()


async def test_the_key_goes_to_its_host_with_every_request_and_to_no_other() -> None:
    async def respond(exchange: Exchange) -> None:
        if exchange.head.startswith(b"GET /api/version"):
            await exchange.send(plain("200 OK", b'{"version": "1"}'))
        elif exchange.head.startswith(b"GET"):
            await exchange.send(plain("200 OK", b'{"models": []}'))
        else:
            await exchange.send(plain("200 OK", LAST, "application/x-ndjson"))

    async with raw_host(respond) as guarded, raw_host(respond) as open_one:
        clients = OllamaClient(guarded.url, credentials=bearer(KEY)), OllamaClient(open_one.url)
        for client in clients:
            host = Host(client)
            await host.look()
            assert isinstance(await host.run(Call(model="m", prompt="x")), Succeeded)
            await client.aclose()

        header = f"authorization: bearer {KEY}".encode()
        assert len(guarded.requests) == len(open_one.requests) == 4
        assert all(header in head.lower() for head, _ in guarded.requests)
        assert not any(b"authorization" in head.lower() for head, _ in open_one.requests)


@pytest.mark.parametrize("status", ["401 Unauthorized", "302 Found"])
async def test_the_key_is_struck_out_of_what_a_proxy_says_and_follows_no_redirect(
    status: str,
) -> None:
    async def respond(exchange: Exchange) -> None:
        body = json.dumps({"error": f"the key {KEY} is not known"}).encode()
        answer = plain(status, body)
        await exchange.send(
            answer.replace(b"\r\n", b"\r\nLocation: http://127.0.0.1:1/steal\r\n", 1)
        )

    async with raw_host(respond) as raw:
        client = OllamaClient(raw.url, credentials=bearer(KEY))
        outcome = await client.run(Call(model="m", prompt="x"))
        with pytest.raises(OllamaError) as caught:
            await client.version()
        await client.aclose()

    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.HOST_REFUSED
    for text in (outcome.message, str(caught.value)):
        assert KEY not in text
        assert "the key *** is not known" in text

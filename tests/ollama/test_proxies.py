"""A proxy before a host that gives up: the prompt's failure, or the host's, as the host answers."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import respx

from promptmill.domain.calls import Call
from promptmill.domain.outcomes import Blame, Failed, Outcome
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.health import PROMPTS_FAILED_IN_A_ROW
from promptmill.ollama.hosts import Host

PAGES = [502, 503, 504, 520, 524]


def behind_a_proxy(status: int, *, is_up: bool) -> tuple[Host, respx.Route]:
    page = "<html><head><title>A proxy's page</title></head></html>"
    ollama = respx.Router(base_url="http://gpu:11434", assert_all_called=False)
    ollama.get("/api/tags").respond(json={"models": []})
    ollama.get("/api/ps").respond(json={"models": []})
    ollama.post("/api/generate").respond(status, text=page)
    version = ollama.get("/api/version")
    if is_up:
        version.respond(json={"version": "1"})
    else:
        version.respond(status, text=page)
    client = OllamaClient("gpu", transport=httpx.MockTransport(ollama.async_handler))
    return Host(client), version


def blame_of(outcome: Outcome) -> Blame:
    assert isinstance(outcome, Failed)
    return outcome.blame


@pytest.mark.parametrize("status", PAGES)
async def test_while_the_host_answers_the_attempt_is_charged_and_the_host_stays(status) -> None:
    host, _ = behind_a_proxy(status, is_up=True)
    for _ in range(PROMPTS_FAILED_IN_A_ROW + 1):
        assert blame_of(await host.run(Call(model="m", prompt="too long"))) is Blame.ATTEMPT
        assert host.available
    await host.client.aclose()


@pytest.mark.parametrize("status", PAGES)
async def test_while_the_host_does_not_answer_nothing_is_charged_and_it_is_put_aside(
    status,
) -> None:
    host, _ = behind_a_proxy(status, is_up=False)
    assert blame_of(await host.run(Call(model="m", prompt="x"))) is Blame.HOST
    assert not host.available
    await host.client.aclose()


async def test_of_many_calls_that_a_proxy_gives_up_on_together_few_ask_the_host() -> None:
    host, version = behind_a_proxy(504, is_up=True)

    async def later(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.1)  # meanwhile the other calls come back
        return httpx.Response(200, json={"version": "1"})

    version.mock(side_effect=later)
    await asyncio.gather(*(host.run(Call(model="m", prompt="the same")) for _ in range(50)))
    assert 1 <= len(version.calls) <= 3
    await host.client.aclose()


async def test_a_look_that_a_proxy_answers_puts_the_host_aside() -> None:
    host, _ = behind_a_proxy(502, is_up=False)
    await host.look()
    assert not host.available
    await host.client.aclose()

"""When a host is put aside, for how long, and what takes it back."""

from __future__ import annotations

import httpx
import respx

from app.domain.calls import Call
from app.domain.outcomes import Blame, ErrorCode, Failed, Succeeded
from app.ollama.client import OllamaClient
from app.ollama.hosts import Health, Host, after_call, after_probe

OK = Succeeded(response="x")
DOWN = Failed(code=ErrorCode.HOST_UNREACHABLE, message="refused", blame=Blame.HOST)
BUSY = Failed(code=ErrorCode.SERVER_BUSY, message="503", blame=Blame.HOST)
UNLUCKY = Failed(code=ErrorCode.SERVER_ERROR, message="500", blame=Blame.ATTEMPT)


def test_a_failure_of_the_prompt_or_the_attempt_leaves_the_host_alone() -> None:
    assert after_call(Health(), UNLUCKY, returns_at_start=0, now=1.0) == Health()


def test_all_calls_in_flight_when_a_host_goes_down_count_as_one_failure() -> None:
    once = after_call(Health(), DOWN, returns_at_start=0, now=1.0)
    again = after_call(once, DOWN, returns_at_start=0, now=2.0)
    assert once == again
    assert not once.available
    assert once.rest_until == 1.5


def test_each_rest_is_twice_as_long_up_to_a_bound() -> None:
    health, rests = after_call(Health(), DOWN, returns_at_start=0, now=0.0), []
    for _ in range(20):
        rests.append(health.rest_until)
        health = after_probe(health, DOWN, now=0.0)
    assert rests[:6] == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert max(rests) == 10.0


def test_a_busy_host_rests_five_seconds_at_most() -> None:
    health = after_call(Health(rests=12), BUSY, returns_at_start=0, now=0.0)
    assert health.rest_until == 5.0


def test_a_host_that_answers_the_probe_but_takes_no_work_rests_longer_next_time() -> None:
    down = after_call(Health(), DOWN, returns_at_start=0, now=0.0)
    back = after_probe(down, None, now=1.0)
    assert back.available
    again = after_call(back, DOWN, returns_at_start=1, now=1.0)
    assert again.rest_until == 2.0


def test_a_call_that_goes_through_makes_the_next_rest_short_again() -> None:
    health = after_call(Health(rests=5, returns=1), OK, returns_at_start=1, now=0.0)
    assert health.rests == 0


def test_a_call_begun_before_the_rest_says_nothing_about_the_host_since() -> None:
    back = after_probe(after_call(Health(), DOWN, returns_at_start=0, now=0.0), None, now=1.0)
    assert after_call(back, DOWN, returns_at_start=0, now=2.0) == back
    assert after_call(back, OK, returns_at_start=0, now=2.0) == back


async def test_a_host_is_taken_back_when_it_tells_its_version() -> None:
    ollama = respx.Router(base_url="http://gpu:11434")
    ollama.post("/api/generate").mock(side_effect=httpx.ConnectError("refused"))
    version = ollama.get("/api/version").mock(side_effect=httpx.ConnectError("refused"))
    now = 100.0
    client = OllamaClient("gpu", transport=httpx.MockTransport(ollama.async_handler))
    host = Host(client, clock=lambda: now)
    await host.run(Call(model="m", prompt="x"))
    assert not host.available
    assert await host.probe() == 0.5
    assert not version.called

    now += 0.5
    assert await host.probe() == 1.0
    assert version.called
    assert not host.available

    now += 1.0
    version.mock(side_effect=None, return_value=httpx.Response(200, json={"version": "1"}))
    await host.probe()
    assert host.available
    await client.aclose()


async def test_a_busy_host_is_tried_again_without_being_asked() -> None:
    ollama = respx.Router(base_url="http://gpu:11434", assert_all_called=False)
    ollama.post("/api/generate").respond(503, json={"error": "server busy"})
    version = ollama.get("/api/version").respond(json={"version": "1"})
    now = 0.0
    client = OllamaClient("gpu", transport=httpx.MockTransport(ollama.async_handler))
    host = Host(client, clock=lambda: now)
    await host.run(Call(model="m", prompt="x"))
    now += 0.5
    await host.probe()
    assert host.available
    assert not version.called
    await client.aclose()

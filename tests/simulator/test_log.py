"""The log of calls: what it counts, how it is read, and what is left of it after a kill."""

from __future__ import annotations

import asyncio
import json

import pytest

from promptmill.simulator import (
    SimulatorSettings,
    Speed,
    create_simulator,
    prompt_hash,
    running,
    running_in_thread,
)
from promptmill.simulator.engine.catalog import plain_model


async def test_a_call_is_logged_with_its_times_and_its_end(simulated):
    async with simulated(speed=Speed(load_s=0.01, request_s=0.02)) as server:
        await server.generate("hello", options={"num_ctx": 2048}, keep_alive="1m")
        text = (await server.client.get("/simulator/calls")).text
    [call] = [json.loads(line) for line in text.splitlines()]
    assert call["arrived"] + 0.009 < call["slot_at"] < call["ended"] - 0.019
    del call["arrived"], call["slot_at"], call["ended"]
    assert call == {
        "id": 1,
        "method": "POST",
        "path": "/api/generate",
        "model": "tiny:latest",
        "prompt": "hello",
        "prompt_hash": prompt_hash("tiny:latest", "hello"),
        "stream": True,
        "num_ctx": 2048,
        "prompt_tokens": 3,
        "cached_tokens": None,
        "keep_alive_s": 60.0,
        "status": 200,
        "outcome": "answered",
        "fault": None,
    }


@pytest.mark.proof
async def test_the_counts_tell_peaks_gaps_and_repeated_prompts(simulated):
    async with simulated(speed=Speed(request_s=0.03), num_parallel=2) as server:
        prompts = ["a", "b", "c", "a", "a"]
        await asyncio.gather(*[server.generate(prompt) for prompt in prompts])
        await server.generate("only small", model="small")
        await server.client.get("/api/tags")
        stats = (await server.client.get("/simulator/stats")).json()
    assert stats["calls"] == 6
    assert stats["in_flight"] == 0
    assert stats["peak_in_flight"] == 5
    assert stats["models"]["tiny:latest"]["peak_in_flight"] == 5
    assert stats["models"]["tiny:latest"]["peak_in_slots"] == 2
    assert stats["models"]["small:latest"]["calls"] == 1
    assert stats["prompts_by_number_of_calls"] == {"1": 3, "3": 1}
    assert stats["prompts"][prompt_hash("tiny:latest", "a")] == 3
    assert stats["paths"]["/api/tags"] == 1
    assert 0 <= stats["least_gap_s"] < 0.03
    assert stats["loaded"] == ["tiny:latest", "small:latest"]


async def test_a_call_is_in_flight_from_its_arrival_to_its_last_byte(simulated):
    async with simulated(speed=Speed(request_s=0.02)) as server:
        tasks = [server.start("a"), server.start("b")]
        await server.until(lambda tally: tally.in_flight == 2)
        # One slot: the other waits, and is in flight too.
        assert server.simulator.calls.tally.models["tiny:latest"].in_slots <= 1
        await asyncio.gather(*tasks)
        await server.until(lambda tally: tally.in_flight == 0)


async def test_a_reset_forgets_and_leaves_running_calls_out(simulated):
    async with simulated(speed=Speed(request_s=0.03)) as server:
        running_call = server.start("a")
        await server.until(lambda tally: tally.in_flight == 1)
        await server.client.post("/simulator/reset")
        await running_call
        stats = server.simulator.stats(with_prompts=True)
    assert (stats["calls"], stats["in_flight"], stats["prompts"]) == (0, 0, {})


async def test_the_memory_of_calls_is_bounded_but_the_counts_are_not(simulated):
    async with simulated(calls_kept=3) as server:
        for number in range(5):
            await server.generate(f"p{number}")
        assert [call.prompt for call in server.simulator.calls] == ["p2", "p3", "p4"]
        assert server.simulator.stats()["calls"] == 5


async def test_the_log_file_has_a_line_when_a_call_comes_and_one_when_it_ends(simulated, tmp_path):
    path = tmp_path / "calls.jsonl"
    async with simulated(log_path=path) as server:
        hanging = server.start("x [[fault:hang]]")
        await server.until(lambda tally: tally.calls == 1)
        # Read while it runs: nothing is held back in a buffer.
        before = [json.loads(line) for line in path.read_text().splitlines()]
        await server.generate("y")
        hanging.cancel()
        await server.until(lambda tally: tally.in_flight == 0)
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(event["event"], event["prompt"]) for event in before] == [
        ("arrived", "x [[fault:hang]]")
    ]
    assert [(event["event"], event["id"], event["outcome"]) for event in events] == [
        ("arrived", 1, None),
        ("arrived", 2, None),
        ("ended", 2, "answered"),
        ("ended", 1, "client_left"),
    ]


async def test_settings_alone_are_enough_to_run_one():
    import httpx

    async with running(SimulatorSettings()) as url, httpx.AsyncClient(base_url=url) as client:
        names = [model["name"] for model in (await client.get("/api/tags")).json()["models"]]
    assert "qwen3:8b" in names
    assert "nomic-embed-text:latest" in names


@pytest.mark.parametrize(
    ("name", "can"), [("nomic-embed-text", ["embedding"]), ("tiny", ["completion"])]
)
async def test_a_model_that_is_named_can_do_what_its_name_is_known_for(name, can):
    import httpx

    settings = SimulatorSettings(models=(plain_model(name),))
    async with running(settings) as url, httpx.AsyncClient(base_url=url) as client:
        shown = (await client.post("/api/show", json={"model": name})).json()
    assert shown["capabilities"] == can


def test_a_simulator_runs_in_a_thread():
    import httpx

    with running_in_thread() as url:
        assert httpx.get(url).text == "Ollama is running"


async def test_it_is_an_application_for_any_asgi_server():
    import httpx

    simulator = create_simulator()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(simulator), base_url="http://localhost"
    ) as client:
        assert (await client.get("/api/version")).json() == {"version": "0.24.0"}
        answer = await client.post(
            "/api/generate", json={"model": "llama3.2:3b", "prompt": "", "keep_alive": 0}
        )
        assert answer.json()["done_reason"] == "unload"
    await simulator.close()

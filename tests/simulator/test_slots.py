"""The slots of a loaded model: how many at a time, in which order, and who gives one back."""

from __future__ import annotations

import asyncio
import time

import pytest

from promptmill.simulator import ModelSpec, Speed

SLOW = Speed(request_s=30.0)
TINY = "tiny:latest"


async def test_no_more_requests_run_at_a_time_than_there_are_slots(simulated):
    async with simulated(speed=Speed(request_s=0.01), num_parallel=4) as server:
        await asyncio.gather(*[server.generate(f"prompt {number}") for number in range(40)])
        model = server.simulator.calls.tally.models[TINY]
    assert model.peak_in_slots == 4
    assert model.peak_in_flight == 40
    assert model.in_slots == model.in_flight == 0


async def test_slots_are_given_in_order_of_arrival(simulated):
    async with simulated(speed=Speed(request_s=0.005)) as server:
        tasks = []
        for number in range(12):
            tasks.append(server.start(f"prompt {number}"))
            await server.until(lambda tally, number=number: tally.calls == number + 1)
        await asyncio.gather(*tasks)
        by_slot = sorted(server.simulator.calls, key=lambda call: call.slot_at)
    assert [call.prompt for call in by_slot] == [f"prompt {number}" for number in range(12)]


@pytest.mark.proof
async def test_sixty_four_slots_keep_their_time(simulated):
    async with simulated(speed=Speed(request_s=1.0), num_parallel=64) as server:
        await server.generate("", keep_alive=-1)
        await asyncio.gather(
            *[server.generate(f"prompt {number}", stream=False) for number in range(64)]
        )
        calls = [call for call in server.simulator.calls if call.slot_at]
        peak = server.simulator.calls.tally.models[TINY].peak_in_slots
    held = sorted(call.ended - call.slot_at for call in calls)
    assert peak == len(held) == 64
    assert held[0] >= 0.999
    assert held[32] < 1.1


async def test_an_embedding_model_has_one_slot(simulated):
    embedder = ModelSpec(name="embed", capabilities=("embedding",), speed=Speed(request_s=0.005))
    async with simulated(models=(embedder,), num_parallel=4) as server:
        body = {"model": "embed", "input": "x"}
        await asyncio.gather(*[server.client.post("/api/embed", json=body) for _ in range(5)])
        assert server.simulator.calls.tally.models["embed:latest"].peak_in_slots == 1


@pytest.mark.proof
async def test_a_client_that_leaves_frees_its_slot_even_if_unstreamed(simulated):
    async with simulated(speed=SLOW) as server:
        holder = server.start("[[tokens:1]] first", stream=False)
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        waiting = server.start("second", stream=False)
        await server.until(lambda tally: tally.calls == 2)
        left = time.monotonic()
        holder.cancel()
        await server.until(lambda tally: tally.outcomes["client_left"] == 1)
        second = list(server.simulator.calls)[1]
        assert second.slot_at - left < 0.05
        waiting.cancel()
        await server.until(lambda tally: tally.in_flight == 0)
        assert server.simulator.calls.tally.models[TINY].in_slots == 0


async def test_a_client_that_leaves_while_it_waits_takes_no_slot(simulated):
    async with simulated(speed=SLOW) as server:
        holder = server.start("first")
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        leaver = server.start("second")
        await server.until(lambda tally: tally.calls == 2)
        third = server.start("third")
        await server.until(lambda tally: tally.calls == 3)
        leaver.cancel()
        await server.until(lambda tally: tally.outcomes["client_left"] == 1)
        holder.cancel()
        calls = {call.prompt: call for call in server.simulator.calls}
        await server.until(lambda _: calls["third"].slot_at is not None)
        third.cancel()
        await server.until(lambda tally: tally.in_flight == 0)
    assert calls["second"].slot_at is None
    assert calls["third"].slot_at > calls["first"].slot_at


@pytest.mark.proof
async def test_a_stream_comes_at_the_speed_of_the_model_and_says_so(simulated, lines):
    speed = Speed(request_s=0.02, prefill_tokens_per_s=200, decode_tokens_per_s=500)
    async with simulated(speed=speed, prefix_cache=False) as server:
        first_byte = None
        began = time.monotonic()
        async with server.client.stream(
            "POST", "/api/generate", json={"model": "tiny", "prompt": "[[tokens:51]] a b c d"}
        ) as response:
            async for _ in response.aiter_raw():
                first_byte = first_byte or time.monotonic() - began
        took = time.monotonic() - began
        again = lines(await server.generate("[[tokens:51]] a b c d"))[-1]
    prompt_s = 0.02 + again["prompt_eval_count"] / 200
    assert abs(first_byte - prompt_s) < 0.03
    assert abs(took - prompt_s - 0.1) < 0.04
    assert abs(again["prompt_eval_duration"] / 1e9 - prompt_s) < 0.02
    assert abs(again["eval_duration"] / 1e9 - 0.1) < 0.03
    assert again["eval_count"] == 51


@pytest.mark.proof
async def test_too_many_busy_slots_make_each_slower(simulated, lines):
    speed = Speed(decode_tokens_per_s=1000, full_speed_slots=1)
    async with simulated(speed=speed, num_parallel=4) as server:
        alone = lines(await server.generate("[[tokens:21]]"))[-1]["eval_duration"]
        held = server.start("[[tokens:400]]")
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        together = lines(await server.generate("[[tokens:21]]"))[-1]["eval_duration"]
        held.cancel()
    assert together > 1.5 * alone

"""The durations that the simulator tells are those of its settings, and it keeps to them."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

import pytest

from promptmill.simulator import ModelSpec, Speed
from promptmill.simulator.engine.runner import TOLERANCE_S, Runner
from promptmill.simulator.protocol.options import RunnerOptions

TEN = "one two three four five six seven eight nine ten"

# The clock on the wall is what these tests look at: they run one at a time.
pytestmark = pytest.mark.proof


async def moments_of(server, prompt):
    """The final line, and seconds from sending to each of the others."""
    body, moments, rest, lines = {"model": "tiny", "prompt": prompt}, [], "", []
    began = time.perf_counter()
    async with server.client.stream("POST", "/api/generate", json=body) as response:
        async for text in response.aiter_text():
            now = time.perf_counter() - began
            *whole, rest = (rest + text).split("\n")
            lines += whole
            moments += [now] * len(whole)
    return json.loads(lines[-1]), moments


@pytest.mark.parametrize("write_interval_s", [0.0, 0.01, 0.5])
async def test_the_first_token_comes_with_the_end_of_the_prompt(simulated, write_interval_s):
    speed = Speed(request_s=0.01, prefill_tokens_per_s=1000, decode_tokens_per_s=10)
    async with simulated(speed=speed, write_interval_s=write_interval_s) as server:
        await server.generate("warm")
        end, moments = await moments_of(server, f"{TEN} [[tokens:3]]")
    truth_s = 0.01 + end["prompt_eval_count"] / 1000
    assert truth_s - 0.001 < moments[0] < truth_s + 0.03


async def test_the_first_token_has_no_time_of_its_own(simulated, lines):
    async with simulated(speed=Speed(decode_tokens_per_s=20)) as server:
        end = lines(await server.generate("[[tokens:5]]"))[-1]
    assert end["eval_count"] == 5
    assert 4 / 20 - 0.001 < end["eval_duration"] / 1e9 < 5 / 20 - 0.005


@pytest.mark.parametrize("stream", [True, False])
async def test_a_long_answer_does_not_fall_behind_its_rate(simulated, lines, stream):
    async with simulated(speed=Speed(decode_tokens_per_s=600), write_interval_s=0) as server:
        end = lines(await server.generate("[[tokens:301]]", stream=stream))[-1]
    assert end["eval_duration"] / 1e9 == pytest.approx(300 / 600, rel=0.08)


async def test_each_token_is_written_alone_when_nothing_is_to_be_gathered(simulated):
    speed = Speed(decode_tokens_per_s=100)
    async with simulated(speed=speed, write_interval_s=0) as server:
        _, moments = await moments_of(server, "[[tokens:21]]")
    gaps = [late - early for early, late in itertools.pairwise(moments[:21])]
    assert sorted(gaps)[10] == pytest.approx(1 / 100, abs=0.004)


async def test_a_pause_too_short_for_a_timer_lets_the_others_have_their_turn():
    options = RunnerOptions(num_ctx=4096)
    runner = Runner(ModelSpec(name="tiny"), "tiny:latest", options, slots=1, keep_alive_s=1.0)
    other = asyncio.create_task(asyncio.sleep(0))
    for _ in range(3):
        await runner.pause(TOLERANCE_S / 2)
    assert other.done()


async def test_the_parts_of_an_answer_add_up_to_its_total(simulated, lines):
    speed = Speed(load_s=0.05, request_s=0.02, prefill_tokens_per_s=500, decode_tokens_per_s=500)
    async with simulated(speed=speed) as server:
        end = lines(await server.generate(f"{TEN} [[tokens:21]]"))[-1]
    parts = [end[f"{name}_duration"] / 1e9 for name in ("load", "prompt_eval", "eval")]
    truths = [0.05, 0.02 + end["prompt_eval_count"] / 500, 20 / 500]
    assert parts == pytest.approx(truths, abs=0.01)
    assert 0 <= end["total_duration"] / 1e9 - sum(parts) < 0.01


async def test_the_wait_for_a_slot_is_in_the_total_only(simulated, lines):
    speed = Speed(request_s=0.3, decode_tokens_per_s=1000)
    async with simulated(speed=speed) as server:
        first = server.start("a [[tokens:2]]")
        await server.until(lambda tally: tally.models["tiny:latest"].in_slots == 1)
        second = server.start("b [[tokens:2]]")
        await first
        end = lines(await second)[-1]
        call = list(server.simulator.calls)[1]
    told_s = sum(end[f"{name}_duration"] for name in ("load", "prompt_eval", "eval")) / 1e9
    assert told_s == pytest.approx(0.3, abs=0.03)
    waited_s = call.slot_at - call.arrived
    assert waited_s > 0.1
    assert end["total_duration"] / 1e9 - told_s == pytest.approx(waited_s, abs=0.02)

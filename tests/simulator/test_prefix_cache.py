"""The prefix cache: what a slot need not evaluate again, and which slot a prompt goes to."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from promptmill.simulator import ModelSpec, Speed
from promptmill.simulator.engine.prefix import Slot, prompt_tokens_of

SPEED = Speed(prefill_tokens_per_s=200, decode_tokens_per_s=2000)
SLOW = Speed(prefill_tokens_per_s=100)
TEN = "one two three four five six seven eight nine ten"
TINY = "tiny:latest"


async def cached(server, prompt, **fields):
    """How many tokens of the prompt the server did not evaluate."""
    answer = await server.generate(prompt, **fields)
    assert answer.status_code == 200
    return list(server.simulator.calls)[-1].cached_tokens


async def ends(server, lines, *prompts):
    return [lines(await server.generate(prompt))[-1] for prompt in prompts]


@pytest.mark.proof
async def test_the_same_prompt_again_takes_the_time_of_its_last_token(simulated, lines):
    async with simulated(speed=SLOW) as server:
        first, again = await ends(server, lines, TEN, TEN)
    assert first["prompt_eval_count"] == again["prompt_eval_count"] == 12
    assert first["prompt_eval_duration"] / 1e9 == pytest.approx(12 / 100, abs=0.04)
    assert again["prompt_eval_duration"] / 1e9 == pytest.approx(1 / 100, abs=0.04)


@pytest.mark.proof
async def test_the_fixed_time_of_a_request_is_not_spared(simulated, lines):
    async with simulated(speed=replace(SLOW, request_s=0.1)) as server:
        _, again = await ends(server, lines, TEN, TEN)
    assert again["prompt_eval_duration"] / 1e9 == pytest.approx(0.11, abs=0.04)


async def test_only_a_common_beginning_is_spared(simulated):
    async with simulated(speed=SPEED) as server:
        # Two tokens are the template's.
        assert await cached(server, TEN) == 0
        assert await cached(server, f"{TEN} eleven twelve") == 12
        assert await cached(server, "one two other four five") == 4
        assert await cached(server, f"nonce {TEN}") == 2


async def test_a_slot_knows_its_last_prompt_only(simulated):
    async with simulated(speed=SPEED) as server:
        assert await cached(server, TEN) == 0
        assert await cached(server, "something else") == 2
        assert await cached(server, TEN) == 2


@pytest.mark.proof
async def test_without_the_cache_every_prompt_is_evaluated_whole(simulated, lines):
    async with simulated(speed=SLOW, prefix_cache=False) as server:
        _, again = await ends(server, lines, TEN, TEN)
        assert again["prompt_eval_duration"] / 1e9 == pytest.approx(12 / 100, abs=0.04)
        assert await cached(server, TEN) == 0


async def test_a_reload_forgets_what_was_cached(simulated):
    async with simulated(speed=SPEED) as server:
        await server.generate(TEN)
        assert await cached(server, TEN, options={"num_ctx": 1024}) == 0


async def test_models_do_not_share_their_caches(simulated):
    async with simulated(speed=SPEED) as server:
        await server.generate(TEN, model="tiny")
        assert await cached(server, TEN, model="small") == 0


async def test_a_chat_that_goes_on_only_pays_for_what_is_new(simulated):
    async with simulated(speed=SPEED) as server:
        said = [{"role": "user", "content": TEN}]
        body = {"model": "tiny", "messages": said, "stream": False}
        answer = (await server.client.post("/api/chat", json=body)).json()["message"]
        said += [answer, {"role": "user", "content": "and then"}]
        await server.client.post("/api/chat", json=body)
        call = list(server.simulator.calls)[-1]
    # The question and its answer are known; the new question and the two breaks are not.
    assert call.prompt_tokens - call.cached_tokens == len(["and", "then", "break", "break"])


async def test_a_prompt_goes_to_the_free_slot_that_knows_most_of_it(simulated):
    async with simulated(speed=SPEED, num_parallel=3) as server:
        other = "alpha beta gamma delta"
        # At the same time, so that they are in different slots: else the template's tokens, which
        # all prompts have in common, bring every prompt to the first one.
        await asyncio.gather(server.generate(TEN), server.generate(other))
        assert await cached(server, f"{TEN} more") == 12
        assert await cached(server, f"{other} more") == 6
        # Each came back to its own slot, and evicted nothing of the other.
        assert await cached(server, f"{TEN} again") == 12


async def test_a_slot_that_is_busy_lends_nothing(simulated):
    async with simulated(speed=SPEED, num_parallel=2) as server:
        held = server.start(f"{TEN} [[tokens:400]]")
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        await asyncio.sleep(0.12)
        assert await cached(server, TEN) == 0
        held.cancel()


async def test_who_waits_for_a_slot_gets_what_that_slot_knows(simulated):
    async with simulated(speed=SPEED) as server:
        first = server.start(TEN)
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        second = server.start(f"{TEN} more")
        await asyncio.gather(first, second)
        assert list(server.simulator.calls)[1].cached_tokens == 12


async def test_a_prompt_whose_client_left_before_it_was_evaluated_is_not_cached(simulated):
    async with simulated(speed=Speed(prefill_tokens_per_s=20)) as server:
        leaver = server.start(TEN)
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        leaver.cancel()
        await server.until(lambda tally: tally.outcomes["client_left"] == 1)
        assert await cached(server, f"{TEN}") == 0


async def test_a_cut_prompt_keeps_its_count_and_its_beginning_and_end(simulated, lines):
    async with simulated(speed=Speed(prefill_tokens_per_s=50_000)) as server:
        long = " ".join(f"w{number}" for number in range(1000))
        end = lines(await server.generate(long, options={"num_ctx": 256}))[-1]
        call = next(iter(server.simulator.calls))
        assert end["prompt_eval_count"] == call.prompt_tokens == 256
        assert await cached(server, long, options={"num_ctx": 256}) == 255


async def test_a_model_that_reads_in_no_time_is_not_asked_what_it_caches(simulated):
    async with simulated(models=(ModelSpec(name="tiny", speed=Speed()),)) as server:
        await server.generate(TEN)
        assert await cached(server, TEN) is None


def test_the_tokens_of_a_prompt_are_as_many_as_are_counted() -> None:
    assert prompt_tokens_of("a b", 4, 100) == ["", "", "a", "b"]
    assert prompt_tokens_of("a b", 3, 100) == ["", "a", "b"]
    assert prompt_tokens_of("a b", 5, 100) == ["", "", "a", "b", ""]


def test_a_prompt_is_cut_in_its_middle() -> None:
    assert prompt_tokens_of("a b c d e f g h", 10, 6) == ["", "", "a", "b", "g", "h"]
    assert len(prompt_tokens_of("a b c d e f g h", 10, 4)) == 4


@pytest.mark.parametrize(
    ("held", "tokens", "shared"),
    [
        ("", "ab", 0),
        ("ab", "", 0),
        ("ab", "ab", 2),
        ("abc", "ab", 2),
        ("ab", "abc", 2),
        ("ab", "bb", 0),
    ],
)
def test_what_is_shared_is_the_common_beginning(held, tokens, shared) -> None:
    slot = Slot()
    slot.held = list(held)
    assert slot.shared(list(tokens)) == shared

"""`OllamaManager.batch_generate`: results, limits, failures, and what reaches Ollama."""

from __future__ import annotations

import asyncio
import inspect
import json
import time

import pytest

from promptmill.manager import OllamaManager
from promptmill.simulator import Speed, answer_text, running_in_thread
from tests.manager.pretended import (
    ENDLESS,
    INSTANT,
    PATIENCE_S,
    given_up,
    listening,
    pretended,
    until,
)
from tests.ollama.raw_host import END, LAST, NDJSON, WORD, always, chunk, raw_host

ANSWER = NDJSON + chunk(WORD) + chunk(LAST) + END
KEYS = ["prompt", "response", "model", "success", "error", "eval_count", "eval_duration"]


def plain(signature: inspect.Signature) -> str:
    """The signature without its types."""
    parameters = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
        if parameter.name != "self"
    ]
    return str(inspect.Signature(parameters)).replace("'", '"')


def test_the_signatures_are_those_that_users_of_the_original_know():
    assert plain(inspect.signature(OllamaManager)) == (
        '(base_url="http://localhost:11434", timeout=30, *, api_key=None, basic_auth=None)'
    )
    assert plain(inspect.signature(OllamaManager.batch_generate)) == (
        '(prompts, model="qwen3:8b", max_concurrent=5, rate_limit_delay=0.1, *, progress=False,'
        " **generate_kwargs)"
    )
    assert plain(inspect.signature(OllamaManager.batch_benchmark)) == (
        '(models, prompt="Hello, how are you?", num_runs=3)'
    )
    assert inspect.iscoroutinefunction(OllamaManager.batch_generate)
    assert inspect.iscoroutinefunction(OllamaManager.batch_benchmark)


# --- Results --------------------------------------------------------------------------------------


async def test_progress_is_shown_when_asked_for_and_results_are_the_same(capsys):
    prompts = ["a", "[[fault:500]] b", "c"]
    async with listening(speed=INSTANT) as (url, _):
        plain_results = await OllamaManager(url).batch_generate(prompts, "tiny", rate_limit_delay=0)
        assert capsys.readouterr() == ("", "")
        results = await OllamaManager(url).batch_generate(
            prompts, "tiny", rate_limit_delay=0, progress=True
        )

    assert [one["response"] for one in results] == [one["response"] for one in plain_results]
    printed = capsys.readouterr()
    assert printed.out == ""
    # The first and the last are told at once, others every few seconds.
    first, *_, last = printed.err.splitlines()
    assert first.startswith("running: 1/3")
    assert last == "done: 3/3, 1 failed"


async def test_results_are_in_the_order_of_the_prompts_and_each_has_its_own_answer():
    # Answers have different lengths, so they end in another order than they began.
    prompts = [f"[[tokens:{1 + number * 37 % 60}]] prompt {number}" for number in range(60)]
    async with listening(speed=Speed(decode_tokens_per_s=2000)) as (url, simulator):
        results = await OllamaManager(url).batch_generate(
            prompts, model="tiny", max_concurrent=20, rate_limit_delay=0
        )
        await until(simulator, lambda tally: tally.in_flight == 0)
        by_end = sorted(simulator.calls, key=lambda call: call.ended)
    assert [call.prompt for call in by_end] != prompts
    assert [result["prompt"] for result in results] == prompts
    assert [result["response"] for result in results] == [
        answer_text("tiny", prompt) for prompt in prompts
    ]
    assert [result["eval_count"] for result in results] == [
        1 + number * 37 % 60 for number in range(60)
    ]


async def test_a_result_has_exactly_the_keys_of_the_original():
    async with listening(speed=Speed(decode_tokens_per_s=1000)) as (url, _):
        (result,) = await OllamaManager(url).batch_generate(["[[tokens:9]] why?"], model="Tiny")
    assert list(result) == KEYS
    duration = result.pop("eval_duration")
    assert type(duration) is int
    assert duration >= 8_000_000 * 0.99
    assert result == {
        "prompt": "[[tokens:9]] why?",
        "response": answer_text("tiny", "[[tokens:9]] why?"),
        "model": "Tiny",
        "success": True,
        "error": None,
        "eval_count": 9,
    }


async def test_no_prompts_give_no_results_and_send_nothing():
    async with listening() as (url, simulator):
        assert await OllamaManager(url).batch_generate([], model="tiny") == []
        assert simulator.stats()["paths"] == {}


async def test_prompts_may_come_from_any_iterable_and_may_repeat():
    async with listening() as (url, _):
        results = await OllamaManager(url).batch_generate(
            (text for text in ("a", "b", "a")), model="tiny", rate_limit_delay=0
        )
    assert [result["response"] for result in results] == [
        answer_text("tiny", text) for text in ("a", "b", "a")
    ]


# --- Failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("[[fault:500]]", "answered 500"),
        ("[[fault:503]]", "answered 503"),
        ("[[fault:cut]]", "broke during the answer"),
        ("[[fault:no_done]]", "without 'done'"),
        ("[[fault:error]]", "failed while it worked"),
        ("[[fault:close]]", "broke before any answer"),
    ],
)
async def test_a_failed_prompt_is_a_result_and_the_others_have_their_answers(word, said):
    async with listening(speed=Speed(decode_tokens_per_s=5000)) as (url, simulator):
        results = await OllamaManager(url).batch_generate(
            ["before", f"{word} this", "after"], model="tiny", rate_limit_delay=0
        )
        assert simulator.calls.tally.calls == 3, "nothing is tried again"
    before, failed, after = results
    assert said in failed.pop("error")
    assert failed == {
        "prompt": f"{word} this",
        "response": None,
        "model": "tiny",
        "success": False,
        "eval_count": None,
        "eval_duration": None,
    }
    assert before["response"] == answer_text("tiny", "before")
    assert after["response"] == answer_text("tiny", "after")
    assert before["success"] is after["success"] is True
    assert before["error"] is after["error"] is None


async def test_a_model_that_is_not_installed_fails_every_prompt_and_says_so():
    async with listening() as (url, _):
        results = await OllamaManager(url).batch_generate(["a", "b"], model="absent:7b")
    assert [result["success"] for result in results] == [False, False]
    assert all("model 'absent:7b' not found" in result["error"] for result in results)


async def test_a_host_that_is_down_fails_every_prompt_without_an_exception(unused_port):
    url = f"http://127.0.0.1:{unused_port}"
    results = await OllamaManager(url).batch_generate(["a", "b"], rate_limit_delay=0)
    assert [list(result) for result in results] == [KEYS, KEYS]
    assert all(f"No connection to {url}" in result["error"] for result in results)


@pytest.mark.parametrize("fault", ["hang", "stall"])
async def test_a_prompt_fails_when_its_answer_is_not_complete_within_the_timeout(fault):
    async with listening() as (url, _), asyncio.timeout(PATIENCE_S):
        first, second = await OllamaManager(url, timeout=0.5).batch_generate(
            [f"[[fault:{fault}]]", "quick"], model="tiny", max_concurrent=1
        )
    assert first["success"] is False
    assert first["response"] is None
    assert first["error"].startswith("Timeout: ")
    assert "0.5 s" in first["error"]
    assert second["response"] == answer_text("tiny", "quick")


async def test_an_answer_that_comes_slowly_has_the_timeout_as_a_whole():
    async def drip(exchange):
        await exchange.send(NDJSON)
        while True:
            await exchange.send(chunk(WORD))
            await asyncio.sleep(0.02)

    async with raw_host(drip) as host, asyncio.timeout(PATIENCE_S):
        manager = OllamaManager(host.url, timeout=0.5)
        (result,) = await manager.batch_generate(["a"])
        assert result["error"].startswith("Timeout: the answer was not complete within 0.5 s")
        assert result["response"] is None
        found = await asyncio.to_thread(manager.benchmark_model, "tiny")
        assert found["error"].startswith("Timeout: the answer was not complete within 0.5 s")


async def test_a_batch_that_is_cancelled_leaves_none_of_its_five_prompts_running():
    async with listening(speed=ENDLESS) as (url, simulator):
        batch = asyncio.create_task(
            OllamaManager(url).batch_generate(["p"] * 8, model="tiny", rate_limit_delay=0)
        )
        await until(simulator, lambda tally: tally.models["tiny:latest"].in_slots == 5)
        await given_up(batch)
        await until(simulator, lambda tally: tally.outcomes["client_left"] == 5)
        assert simulator.calls.tally.calls == 5


# --- Limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 7, 50])
async def test_as_many_prompts_as_allowed_are_in_flight_and_never_more(most):
    # Nobody is answered before the limit is reached; then a new prompt comes for each answer.
    prompts = [str(number) for number in range(3 * most)]
    in_flight = peak = 0
    reached = asyncio.Event()

    async def respond(exchange):
        nonlocal in_flight, peak
        in_flight += 1
        peak = max(peak, in_flight)
        if in_flight == most:
            reached.set()
        await reached.wait()
        # A turn of the loop, in which one too many would arrive.
        await asyncio.sleep(0.005)
        in_flight -= 1
        await exchange.send(ANSWER)

    async with raw_host(respond) as host, asyncio.timeout(PATIENCE_S):
        results = await OllamaManager(host.url).batch_generate(
            prompts, max_concurrent=most, rate_limit_delay=0
        )
    assert peak == most
    assert [result["success"] for result in results] == [True] * 3 * most


async def test_fifty_prompts_are_in_the_slots_of_a_server_at_a_time():
    async with listening(speed=ENDLESS, num_parallel=64) as (url, simulator):
        batch = asyncio.create_task(
            OllamaManager(url).batch_generate(
                ["p"] * 80, model="tiny", max_concurrent=50, rate_limit_delay=0
            )
        )
        await until(simulator, lambda tally: tally.models["tiny:latest"].in_slots == 50)
        await given_up(batch)
        await until(simulator, lambda tally: tally.outcomes["client_left"] == 50)
        assert simulator.calls.tally.models["tiny:latest"].peak_in_flight == 50


@pytest.mark.parametrize(("given", "delay_s"), [({}, 0.1), ({"rate_limit_delay": 0.0605}, 0.0605)])
async def test_no_prompt_reaches_the_server_before_its_turn(given, delay_s):
    began = time.monotonic()
    async with listening() as (url, simulator):
        await OllamaManager(url).batch_generate(
            [f"p{number}" for number in range(8)], model="tiny", max_concurrent=8, **given
        )
        arrived = [call.arrived for call in simulator.calls]
    # What a busy machine adds comes on top; starts that are too close together would fall short.
    for number, at in enumerate(sorted(arrived)):
        assert at - began >= number * delay_s


@pytest.mark.proof
async def test_starts_that_were_held_up_are_not_caught_up_with_at_once():
    delay_s = 0.04
    with running_in_thread(simulator := pretended()) as url:
        batch = asyncio.create_task(
            OllamaManager(url).batch_generate(
                ["p"] * 14, model="tiny", max_concurrent=14, rate_limit_delay=delay_s
            )
        )
        for _ in range(5):
            await asyncio.sleep(0)
        # The program itself does something long; ten starts would have been due meanwhile.
        time.sleep(10 * delay_s)
        free = time.monotonic()
        await batch
        late = sorted(call.arrived for call in simulator.calls if call.arrived > free)
    assert len(late) >= 12
    # One may have been on its way already, and one is due at once.
    for number, at in enumerate(late):
        assert at - free >= (number - 1) * delay_s


async def test_without_a_delay_nothing_is_held_back():
    usual_delay_s, prompts = 0.1, 200
    async with listening(speed=ENDLESS, num_parallel=64) as (url, simulator):
        batch = asyncio.create_task(
            OllamaManager(url).batch_generate(
                ["p"] * prompts, model="tiny", max_concurrent=prompts, rate_limit_delay=0
            )
        )
        await until(simulator, lambda tally: tally.calls == prompts)
        await given_up(batch)
        arrived = [call.arrived for call in simulator.calls]
    assert max(arrived) - min(arrived) < (prompts - 1) * usual_delay_s / 2


# --- What reaches Ollama --------------------------------------------------------------------------


async def test_further_fields_reach_ollama_as_they_are():
    fields = {
        "system": "Be brief.",
        "options": {"temperature": 0, "num_ctx": 4096, "stop": ["\n"]},
        "format": {"type": "object", "properties": {"a": {"type": "string"}}},
        "think": False,
        "keep_alive": "10m",
    }
    async with raw_host(always(ANSWER)) as host:
        await OllamaManager(host.url).batch_generate(["Wie groß?"], model="Llama3.2:3B", **fields)
    ((head, body),) = host.requests
    assert head.startswith(b"POST /api/generate HTTP/1.1\r\n")
    assert json.loads(body) == {
        "model": "Llama3.2:3B",
        "prompt": "Wie groß?",
        "stream": True,
        **fields,
    }


async def test_the_model_by_default_is_qwen3_8b():
    async with raw_host(always(ANSWER)) as host:
        await OllamaManager(host.url).batch_generate(["a"])
    assert json.loads(host.requests[0][1]) == {"model": "qwen3:8b", "prompt": "a", "stream": True}


async def test_further_fields_cannot_make_an_unstreamed_request_of_it():
    async with raw_host(always(ANSWER)) as host:
        (result,) = await OllamaManager(host.url).batch_generate(["a"], stream=False)
    assert json.loads(host.requests[0][1])["stream"] is True
    assert result["response"] == " ton"


async def test_slots_use_their_connections_again():
    async with raw_host(always(ANSWER)) as host:
        await OllamaManager(host.url).batch_generate(
            ["a"] * 30, max_concurrent=3, rate_limit_delay=0
        )
    assert len(host.requests) == 30
    assert host.connections <= 3


@pytest.mark.parametrize("spell", ["{address}", "http://{address}/", " {address} "])
async def test_the_address_may_be_spelled_as_ollama_takes_it(spell):
    async with listening() as (url, _):
        manager = OllamaManager(spell.format(address=url.removeprefix("http://")))
        assert manager.base_url == url
        (result,) = await manager.batch_generate(["a"], model="tiny")
    assert result["success"] is True


def test_one_manager_serves_several_event_loops():
    with running_in_thread(pretended(speed=INSTANT)) as url:
        manager = OllamaManager(url)
        for text in ("first", "second", "third"):
            (result,) = asyncio.run(manager.batch_generate([text], model="tiny"))
            assert result["response"] == answer_text("tiny", text)
            figures = asyncio.run(manager.batch_benchmark(["tiny"], prompt=text, num_runs=1))
            assert figures["tiny"]["response"] == answer_text("tiny", text)


async def test_one_manager_serves_several_batches_at_a_time():
    async with listening() as (url, _):
        manager = OllamaManager(url)
        first, second = await asyncio.gather(
            manager.batch_generate(["a", "b"], model="tiny"),
            manager.batch_generate(["c"], model="tiny"),
        )
    assert [result["response"] for result in first + second] == [
        answer_text("tiny", text) for text in ("a", "b", "c")
    ]

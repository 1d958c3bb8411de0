"""Faults on purpose: each kind as a client sees it, and which calls are struck."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

import httpx
import pytest

from promptmill.simulator import (
    Fault,
    FaultKind,
    FaultRule,
    FaultSyntaxError,
    ModelSpec,
    Refusing,
    Speed,
    answer_text,
)

TINY = "tiny:latest"
RUNNER_LOST = "an error was encountered while running the model: unexpected EOF"


async def outcome(server, prompt, **fields):
    """What a client gets: the name of its error, or the status and the text."""
    try:
        answer = await server.generate(prompt, **fields)
    except httpx.HTTPError as error:
        return type(error).__name__
    return answer.status_code, answer.text


@pytest.mark.parametrize("word", ["close", "cut"])
async def test_an_unstreamed_answer_that_is_cut_never_begins(simulated, word):
    async with simulated() as server:
        assert await outcome(server, f"x [[fault:{word}]]", stream=False) == "RemoteProtocolError"


async def test_a_reset_connection_is_reset(simulated):
    async with simulated() as server:
        assert await outcome(server, "x [[fault:reset]]") == "ReadError"


async def test_a_stream_is_cut_after_the_tokens_that_were_asked_for(simulated):
    async with simulated() as server:
        body = {"model": "tiny", "prompt": "x [[fault:cut after=5]]"}
        said = ""
        async with server.client.stream("POST", "/api/generate", json=body) as response:
            texts = response.aiter_text()
            while said.count("\n") < 5:
                said += await anext(texts)
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(texts)
        assert response.status_code == 200
    pieces = [json.loads(line) for line in said.splitlines()]
    assert "".join(piece["response"] for piece in pieces) == answer_text(
        "tiny", body["prompt"], num_predict=5
    )
    assert not any(piece["done"] for piece in pieces)


@pytest.mark.parametrize(
    ("word", "status", "media_type", "text"),
    [
        (
            "503",
            503,
            "application/json; charset=utf-8",
            '{"error":"server busy, please try again.  maximum pending requests exceeded"}',
        ),
        ("404", 404, "application/json; charset=utf-8", '{"error":"model \'tiny\' not found"}'),
        (
            "400",
            400,
            "application/json; charset=utf-8",
            '{"error":"the input length exceeds the context length"}',
        ),
        (
            "401",
            401,
            "application/json; charset=utf-8",
            '{"error":"unauthorized","signin_url":"https://ollama.com/connect?name=x\\u0026key=y"}',
        ),
        ("429", 429, "application/json; charset=utf-8", '{"error":"too many requests"}'),
        (
            "502",
            502,
            "application/json; charset=utf-8",
            '{"error":"the cloud model cannot be reached"}',
        ),
        ("403", 403, "text/plain", "403 Forbidden"),
    ],
)
async def test_a_refusal_has_its_status_type_and_text(simulated, word, status, media_type, text):
    async with simulated() as server:
        answer = await server.generate(f"x [[fault:{word}]]")
        assert (answer.status_code, answer.headers["content-type"], answer.text) == (
            status,
            media_type,
            text,
        )


async def test_a_bad_gateway_is_a_page_of_html(simulated):
    async with simulated() as server:
        answer = await server.generate("x [[fault:bad_gateway]]")
        assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
        assert "<h1>502 Bad Gateway</h1>" in answer.text


async def test_a_page_of_html_may_come_under_status_200(simulated):
    async with simulated() as server:
        answer = await server.generate("x [[fault:page]]")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html")
        assert "<title>Sign in</title>" in answer.text


async def test_a_line_that_is_no_json_stands_in_the_middle_of_a_stream(simulated):
    async with simulated() as server:
        prompt = "x [[fault:not_json after=2]]"
        before, _, rest = (await server.generate(prompt)).text.partition('{"model":"\n')
        whole = await server.generate("x [[fault:not_json]]", stream=False)
        (call, _) = server.simulator.calls
    said = [json.loads(line) for line in (*before.splitlines(), *rest.splitlines())]
    assert before.count("\n") == 2
    assert "".join(line["response"] for line in said) == answer_text("tiny", prompt)
    assert said[-1]["done"]
    assert (whole.status_code, whole.text) == (200, '{"model":"\n')
    assert (call.fault, call.outcome) == ("not_json", "broken")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_stopped_runner_is_a_500_before_anything_is_said(simulated, stream):
    async with simulated() as server:
        answer = await server.generate("x [[fault:500]]", stream=stream)
        assert answer.status_code == 500
        assert answer.json()["error"].startswith("model runner has unexpectedly stopped")


async def test_an_error_in_mid_stream_is_a_line_under_status_200(simulated, lines):
    async with simulated() as server:
        streamed = await server.generate("x [[fault:error after=2]]")
        whole = await server.generate("x [[fault:error]]", stream=False)
    assert streamed.status_code == 200
    assert [set(line) for line in lines(streamed)[:2]] == [
        {"model", "created_at", "response", "done"}
    ] * 2
    assert lines(streamed)[2:] == [{"error": RUNNER_LOST}]
    assert (whole.status_code, whole.json()) == (500, {"error": RUNNER_LOST})


async def test_an_answer_without_done_ends_in_order(simulated, lines):
    async with simulated() as server:
        streamed = await server.generate("x [[fault:no_done]]")
        whole = (await server.generate("x [[fault:no_done]]", stream=False)).json()
    assert not any(line["done"] for line in lines(streamed))
    assert list(whole) == ["model", "created_at", "response", "done"]
    assert whole["done"] is False


async def test_a_cut_length_an_empty_text_and_both(simulated):
    async with simulated() as server:

        async def ask(word):
            answer = (await server.generate(f"x [[fault:{word}]]", stream=False)).json()
            return bool(answer["response"]), answer["done_reason"]

        assert await ask("length") == (True, "length")
        assert await ask("empty") == (False, "stop")
        assert await ask("empty_length") == (False, "length")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_of_one_token_has_no_time_for_it(simulated, lines, stream):
    async with simulated(speed=Speed(decode_tokens_per_s=1000)) as server:
        end = lines(await server.generate("x [[fault:one_token]]", stream=stream))[-1]
    assert (end["done_reason"], end["eval_count"]) == ("stop", 1)
    assert "eval_duration" not in end
    assert "prompt_eval_duration" in end


async def test_a_thinking_model_thinks_nothing_before_one_token(simulated, lines):
    thinker = ModelSpec(name="thinker", capabilities=("completion", "thinking"), speed=Speed())
    async with simulated(models=(thinker,)) as server:
        first, end = lines(await server.generate("x [[fault:one_token]]", model="thinker"))
    assert ("thinking" in first, len(first["response"])) == (False, 8)
    assert end["eval_count"] == 1


async def test_a_reload_in_the_middle_shows_as_a_real_load(simulated, lines):
    async with simulated(speed=Speed(load_s=0.05)) as server:
        prompts = ("a", "b", "c [[fault:reload]]", "d")
        ends = [lines(await server.generate(prompt))[-1] for prompt in prompts]
        model = server.simulator.calls.tally.models[TINY]
        assert (model.loads, model.unloads) == (2, 1)
    assert [end["load_duration"] / 1e9 > 0.049 for end in ends] == [True, False, True, False]


async def test_a_reload_waits_until_the_model_is_idle(simulated):
    async with simulated(speed=Speed(request_s=0.05), num_parallel=2) as server:
        before = server.start("a")
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        answer = await server.generate("b [[fault:reload]]")
        assert answer.status_code == 200
        await before
        first, second = server.simulator.calls
    assert second.slot_at >= first.ended


async def test_a_reload_of_a_model_that_is_not_loaded_is_its_load(simulated):
    async with simulated() as server:
        assert (await server.generate("[[fault:reload]]")).status_code == 200
        assert server.simulator.calls.tally.models[TINY].loads == 1


async def test_an_embedding_model_can_be_reloaded_too(simulated):
    async with simulated() as server:
        for text in ("a", "b [[fault:reload]]"):
            await server.client.post("/api/embed", json={"model": "tiny", "input": text})
        assert server.simulator.calls.tally.models[TINY].loads == 2


@pytest.mark.proof
@pytest.mark.parametrize("prefix_cache", [True, False])
async def test_a_cache_hit_spares_all_but_the_last_token_of_the_prompt(
    simulated, lines, prefix_cache
):
    speed = Speed(prefill_tokens_per_s=100)
    prompt = "a b c d e f g h"
    async with simulated(speed=speed, prefix_cache=prefix_cache) as server:
        end = lines(await server.generate(f"{prompt} [[fault:cache_hit]]"))[-1]
        call = next(iter(server.simulator.calls))
    assert end["prompt_eval_count"] == call.prompt_tokens == 17
    assert call.cached_tokens == 16
    assert 0.009 < end["prompt_eval_duration"] / 1e9 < 0.03


async def test_a_stall_leaves_thinking_and_answer_apart(simulated, lines):
    thinker = ModelSpec(
        name="thinker",
        capabilities=("completion", "thinking"),
        speed=Speed(decode_tokens_per_s=5000),
    )
    async with simulated(models=(thinker,)) as server:
        prompt = "x [[fault:stall after=2 s=0]]"
        pieces = lines(await server.generate(prompt, model="thinker"))
    assert "".join(piece["response"] for piece in pieces) == answer_text("thinker", prompt)


async def test_bad_json_is_no_json(simulated):
    async with simulated() as server:
        answer = (await server.generate("x [[fault:bad_json]]", format="json", stream=False)).json()
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer["response"])


@pytest.mark.proof
async def test_a_slow_start_delays_the_first_token_only(simulated, lines):
    async with simulated() as server:
        end = lines(await server.generate("x [[fault:slow_start s=0.08]]"))[-1]
    assert 0.08 < end["prompt_eval_duration"] / 1e9 < 0.13
    assert end["eval_duration"] / 1e9 < 0.03


@pytest.mark.proof
async def test_a_stall_holds_the_stream_and_then_goes_on(simulated):
    async with simulated(speed=Speed(decode_tokens_per_s=5000)) as server:
        body = {"model": "tiny", "prompt": "x [[tokens:8]] [[fault:stall after=2 s=0.1]]"}
        moments, said = [], ""
        async with server.client.stream("POST", "/api/generate", json=body) as response:
            async for text in response.aiter_text():
                moments.append(time.monotonic())
                said += text
    assert max(late - early for early, late in itertools.pairwise(moments)) > 0.09
    pieces = [json.loads(line) for line in said.splitlines()]
    assert "".join(piece["response"] for piece in pieces) == answer_text("tiny", body["prompt"])
    assert pieces[-1]["done"] is True


@pytest.mark.parametrize("word", ["hang", "stall"])
async def test_a_silent_server_is_silent_until_the_client_leaves(simulated, word):
    async with simulated() as server:
        task = server.start(f"x [[fault:{word}]]")
        await server.until(lambda tally: tally.calls == 1)
        assert not (await asyncio.wait([task], timeout=0.05))[0]
        task.cancel()
        await server.until(lambda tally: tally.outcomes["client_left"] == 1)
        assert (await server.generate("y")).status_code == 200


@pytest.mark.proof
async def test_a_crash_takes_all_requests_of_its_model_and_the_next_one_loads_anew(
    simulated, lines
):
    async with simulated(speed=Speed(decode_tokens_per_s=200), num_parallel=2) as server:
        await server.generate("[[tokens:1]]", model="small")
        bystander = server.start("[[tokens:500]]")
        await server.until(lambda tally: tally.models[TINY].in_slots == 1)
        struck = server.start("x [[fault:crash]]")
        await server.until(lambda tally: tally.models[TINY].in_slots == 2)
        waiting = await server.generate("z")
        assert lines(await struck)[-1] == lines(await bystander)[-1] == {"error": RUNNER_LOST}
        assert (waiting.status_code, waiting.json()["error"]) == (
            500,
            "llama runner process no longer running: -1 ",
        )
        assert server.loaded == ["small:latest"]
        assert (await server.generate("[[tokens:1]]")).status_code == 200
        assert server.simulator.calls.tally.models[TINY].loads == 2


async def test_a_crash_of_all_unloads_every_model(simulated):
    async with simulated() as server:
        await server.generate("x", model="small")
        await server.generate("x [[fault:crash_all]]", model="tiny")
        assert server.loaded == []


async def test_no_memory_fails_the_load(simulated):
    async with simulated(speed=Speed(load_s=0.01)) as server:
        answer = await server.generate("x [[fault:oom times=1]]")
        assert answer.status_code == 500
        assert "out-of-memory" in answer.json()["error"]
        assert server.loaded == []
        assert (await server.generate("x [[fault:oom times=1]]")).status_code == 200


@pytest.mark.proof
async def test_a_refusing_port_opens_again(simulated):
    async with simulated() as server:
        assert await outcome(server, "x [[fault:refuse s=0.2 times=1]]") == "RemoteProtocolError"
        assert await outcome(server, "y") == "ConnectError"
        began = time.monotonic()
        while await outcome(server, "y") == "ConnectError":
            assert time.monotonic() - began < 2
            await asyncio.sleep(0.02)
        assert (await outcome(server, "y"))[0] == 200


async def test_a_fault_with_times_strikes_the_first_attempts_of_each_prompt(simulated):
    async with simulated() as server:
        word = "[[fault:500 times=2]]"
        first = [(await server.generate(f"first {word}")).status_code for _ in range(4)]
        second = [(await server.generate(f"second {word}")).status_code for _ in range(3)]
    assert first == [500, 500, 200, 200]
    assert second == [500, 500, 200]


async def test_several_faults_with_times_strike_one_after_the_other(simulated):
    async with simulated() as server:
        prompt = "x [[fault:503 times=1]] [[fault:cut times=1]]"
        seen = [await outcome(server, prompt) for _ in range(3)]
    assert [seen[0][0], seen[1], seen[2][0]] == [503, "RemoteProtocolError", 200]


@pytest.mark.parametrize("path", ["/api/chat", "/api/embed"])
async def test_a_word_works_on_every_route(simulated, path):
    text = "x [[fault:503]]"
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": text}],
        "input": text,
        "prompt": text,
    }
    async with simulated() as server:
        answer = await server.client.post(path, json=body)
    assert answer.status_code == 503
    assert "maximum pending requests exceeded" in answer.text


async def statuses(server, count):
    answers = await asyncio.gather(
        *[server.generate(f"prompt {number}") for number in range(count)]
    )
    return [answer.status_code for answer in answers]


async def test_a_rate_strikes_the_same_prompts_every_time(simulated):
    rule = FaultRule.parse("503 rate=0.3")
    runs = []
    for seed in (1, 1, 2):
        async with simulated(faults=(rule,), seed=seed) as server:
            runs.append(await statuses(server, 100))
    assert runs[0] == runs[1] != runs[2]
    assert 15 < runs[0].count(503) < 45


async def test_a_rate_decides_anew_for_each_attempt(simulated):
    async with simulated(faults=(FaultRule.parse("503 rate=0.5"),)) as server:
        seen = {(await server.generate("same")).status_code for _ in range(20)}
    assert seen == {200, 503}


async def test_a_rule_for_the_first_calls_ends(simulated):
    async with simulated(faults=(FaultRule.parse("500 first=3 model=tiny"),)) as server:
        assert (await server.generate("x", model="small")).status_code == 200
        assert [(await server.generate("x")).status_code for _ in range(5)] == [
            500,
            500,
            500,
            200,
            200,
        ]


async def test_the_rules_can_be_changed_while_it_runs(simulated):
    async with simulated() as server:
        await server.client.post("/simulator/faults", json={"rules": ["429"]})
        assert (await server.generate("x")).status_code == 429
        wrong = await server.client.post("/simulator/faults", json={"rules": ["nonsense"]})
        assert wrong.status_code == 400
        await server.client.post("/simulator/faults", json={"rules": []})
        assert (await server.generate("x")).status_code == 200


@pytest.mark.parametrize("kind", list(Refusing))
async def test_a_host_that_refuses_answers_every_request_so_until_it_is_told_to_stop(
    simulated, kind
):
    async with simulated() as server:
        await server.client.post("/simulator/refuses", json={"with": kind.value})
        answers = [await server.generate("x"), await server.client.get("/api/version")]
        status = {"page": 200}.get(kind.value) or int(kind.value)
        assert [one.status_code for one in answers] == [status, status]
        await server.client.post("/simulator/refuses", json={"with": None})
        assert (await server.generate("x", stream=False)).json()["done"] is True


async def test_an_unknown_way_to_refuse_is_named_with_those_that_there_are(simulated):
    async with simulated() as server:
        wrong = await server.client.post("/simulator/refuses", json={"with": "402"})
        assert wrong.status_code == 400
        assert "401, 403, 302, 404, page" in wrong.json()["error"]


async def test_the_log_names_the_fault(simulated):
    async with simulated() as server:
        await server.generate("x [[fault:503]]")
        call = next(iter(server.simulator.calls))
    assert (call.fault, call.outcome, call.status) == ("503", "refused", 503)


def test_a_rule_is_written_like_a_word():
    assert FaultRule.parse("cut rate=0.25 first=2 model=tiny times=1 after=7 s=3") == FaultRule(
        fault=Fault(kind=FaultKind.CUT, after=7, seconds=3.0, times=1),
        rate=0.25,
        first=2,
        model="tiny",
    )


@pytest.mark.parametrize("text", ["", "nonsense", "cut rate=x", "cut colour=red"])
def test_a_misspelled_rule_is_refused(text):
    with pytest.raises(FaultSyntaxError):
        FaultRule.parse(text)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_ends_with_a_long_reason(simulated, lines, stream):
    async with simulated() as server:
        *_, end = lines(await server.generate("x [[fault:long_reason]]", stream=stream))
    assert (end["done"], len(end["done_reason"])) == (True, 200)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_ends_with_odd_numbers(simulated, stream):
    async with simulated() as server:
        answer = await server.generate("x [[fault:odd_numbers]]", stream=stream)
    end = answer.text.splitlines()[-1]
    assert f'"eval_count":{2**63 - 1}' in end
    assert all(f'"logprob":{odd}' in end for odd in ("-Infinity", "NaN", "1e999"))

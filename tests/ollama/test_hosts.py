"""When a host is put aside, for how long, and what takes it back."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
import respx

from promptmill.domain.calls import Call
from promptmill.domain.outcomes import Blame, CallMetrics, ErrorCode, Failed, Outcome, Succeeded
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.health import (
    PROMPTS_FAILED_IN_A_ROW,
    CallStatistics,
    Health,
    after_call,
    after_look,
    after_probe,
    counted,
    fingerprint_of,
)
from promptmill.ollama.hosts import Host

OK = Succeeded(response="x")
DOWN = Failed(code=ErrorCode.HOST_UNREACHABLE, message="refused", blame=Blame.HOST)
WRONG = Failed(code=ErrorCode.MODEL_NOT_FOUND, message="404", blame=Blame.PROMPT)
BUSY = Failed(code=ErrorCode.SERVER_BUSY, message="503", blame=Blame.HOST)
UNLUCKY = Failed(code=ErrorCode.SERVER_ERROR, message="500", blame=Blame.ATTEMPT)


def after_all(health: Health, *outcomes: tuple[Outcome, int]) -> Health:
    """The state after outcomes of prompts, all of calls begun as things stood then."""
    for outcome, fingerprint in outcomes:
        health = after_call(
            health,
            outcome,
            returns_at_start=health.returns,
            now=0.0,
            fingerprint=fingerprint,
        )
    return health


ROW = [(UNLUCKY, prompt) for prompt in range(PROMPTS_FAILED_IN_A_ROW)]


def test_a_failure_of_the_prompt_leaves_the_host_alone() -> None:
    assert after_all(Health(), *[(WRONG, prompt) for prompt in range(99)]) == Health()


def test_the_failures_of_one_prompt_however_often_it_is_tried_leave_the_host_alone() -> None:
    assert after_all(Health(), *[(UNLUCKY, 7)] * 99).available


@pytest.mark.parametrize(
    "code",
    [
        ErrorCode.SERVER_ERROR,
        ErrorCode.INCOMPLETE,
        ErrorCode.TIMEOUT,
        ErrorCode.HOST_UNREACHABLE,
    ],
)
def test_failures_of_different_prompts_in_a_row_put_the_host_aside(code: ErrorCode) -> None:
    row = [(replace(UNLUCKY, code=code), prompt) for _, prompt in ROW]
    almost = after_all(Health(), *row[:-1])
    health = after_all(almost, row[-1])

    assert almost.available
    assert health.trouble is not None
    assert (health.trouble.code, health.trouble.blame) == (code, Blame.HOST)
    assert health.trouble.message == "5 different prompts failed in a row; the last: 500"
    assert health.rest_until == 0.5


def test_an_answer_between_the_failures_begins_the_row_anew() -> None:
    health = after_all(Health(), *ROW[:-1], (OK, 0), *ROW[:-1])
    assert health.available
    assert not after_all(health, ROW[-1]).available


def test_refused_prompts_between_the_failures_do_not_begin_the_row_anew() -> None:
    assert not after_all(Health(), *ROW[:-1], (WRONG, 99), ROW[-1]).available


def test_defects_of_answers_are_no_failures_of_the_host() -> None:
    empty = Failed(code=ErrorCode.EMPTY, message="empty", blame=Blame.ATTEMPT)
    assert after_all(Health(), *[(empty, prompt) for prompt in range(99)]) == Health()


def test_after_a_row_of_failures_the_host_is_on_trial_until_a_call_goes_through() -> None:
    back = after_probe(after_all(Health(), *ROW), None, now=1.0)
    assert (back.available, back.on_trial) == (True, True)

    again = after_all(back, (UNLUCKY, 0))
    assert (again.available, again.rest_until) == (False, 1.0)
    assert len(again.failing) == PROMPTS_FAILED_IN_A_ROW

    well = after_all(back, (OK, 0))
    assert (well.on_trial, well.rests, well.failing) == (False, 0, frozenset())


def test_answers_of_calls_begun_beside_those_that_failed_undo_the_row_but_not_the_rest() -> None:
    aside = after_all(Health(), *ROW)
    answered = after_call(aside, OK, returns_at_start=aside.returns, now=0.1)
    assert (answered.available, answered.rest_until) == (False, aside.rest_until)
    assert (answered.rests, answered.failing) == (0, frozenset())
    back = after_probe(answered, None, now=0.5)
    assert after_all(back, (UNLUCKY, 0)).available, "a row has to come together anew"

    down = after_call(Health(), DOWN, returns_at_start=0, now=0.0)
    assert after_call(down, OK, returns_at_start=0, now=0.1) == down


def test_a_look_that_cannot_connect_puts_the_host_aside_and_late_ones_only_in_a_row() -> None:
    late = Failed(code=ErrorCode.TIMEOUT, message="late", blame=Blame.ATTEMPT)
    assert not after_look(Health(), DOWN, now=0.0).available

    health = after_look(after_look(Health(), late, now=0.0), late, now=1.0)
    assert health.available
    assert after_look(health, None, now=2.0) == Health()
    third = after_look(health, late, now=2.0)
    assert (third.available, third.rest_until, third.missed) == (False, 2.5, 0)


def test_a_look_at_a_host_that_is_put_aside_changes_nothing() -> None:
    down = after_call(Health(), DOWN, returns_at_start=0, now=0.0)
    assert after_look(down, None, now=9.0) == after_look(down, DOWN, now=9.0) == down


def test_an_answer_that_outlasts_its_batch_s_time_is_the_prompt_s_own_failure() -> None:
    call = Call(model="m", prompt="x", timeout_s=2.0)
    cut = Failed(
        code=ErrorCode.TIMEOUT,
        message="late",
        blame=Blame.ATTEMPT,
        metrics=CallMetrics(latency_s=2.001, ttft_s=0.1),
    )
    stalled = replace(cut, metrics=CallMetrics(latency_s=1.2, ttft_s=0.1))
    silent = replace(cut, metrics=CallMetrics(latency_s=2.001))

    assert isinstance(told := counted(cut, call), Failed)
    assert told.blame is Blame.PROMPT
    assert (counted(stalled, call), counted(silent, call)) == (stalled, silent)
    assert counted(OK, call) is OK


def test_every_attempt_of_a_prompt_has_one_fingerprint_and_other_prompts_have_others() -> None:
    chat = Call(model="m", messages=({"role": "user", "content": "x"},))
    calls = [
        Call(model="m", prompt="x"),
        Call(model="n", prompt="x"),
        Call(model="m", prompt="y"),
        chat,
    ]
    assert len({fingerprint_of(call) for call in calls}) == 4
    assert fingerprint_of(replace(chat, timeout_s=1.0)) == fingerprint_of(chat)


def test_the_tally_counts_calls_and_failures_and_keeps_the_median_of_the_last_64() -> None:
    tally = CallStatistics()
    assert (tally.calls, tally.failed, tally.latency_s) == (0, 0, None)
    for latency_s in [100.0] * 9 + [float(number) for number in range(64)]:
        answer = Succeeded(response="x", metrics=CallMetrics(latency_s=latency_s))
        tally.note(answer, model="m", now=1.0)
    for outcome in (WRONG, UNLUCKY, DOWN):
        tally.note(outcome, model="m", now=2.0)

    assert (tally.calls, tally.failed, tally.latency_s) == (76, 2, 31.5)


def test_the_tally_has_the_mean_of_each_model_without_its_loading() -> None:
    tally = CallStatistics()
    for model, latency_s, loading_s in (
        ("qwen3", 9.0, 8.0),
        ("Qwen3:latest", 3.0, 0.0),
        ("gemma3:4b", 0.5, 0.6),
    ):
        metrics = CallMetrics(latency_s=latency_s, load_duration=round(loading_s * 1e9))
        tally.note(Succeeded(response="x", metrics=metrics), model=model, now=5.0)
    tally.note(DOWN, model="qwen3", now=6.0)

    assert {model: own.call_s for model, own in tally.models.items()} == {
        "qwen3:latest": 2.0,
        "gemma3:4b": 0.0,
    }
    assert [(own.answered, own.answered_at) for own in tally.models.values()] == [
        (2, 5.0),
        (1, 5.0),
    ]


def test_the_tally_keeps_the_models_that_answered_last() -> None:
    tally = CallStatistics()
    answer = Succeeded(response="x", metrics=CallMetrics(latency_s=1.0))
    for number in (*range(64), 0, 64):
        tally.note(answer, model=f"m{number}", now=0.0)

    assert len(tally.models) == 64
    assert {"m0:latest", "m64:latest"} <= tally.models.keys()
    assert "m1:latest" not in tally.models


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


async def test_a_host_that_fails_everything_is_put_aside_and_tried_again() -> None:
    ollama = respx.Router(base_url="http://gpu:11434")
    prompts = ollama.post("/api/generate").respond(500, json={"error": "the process died"})
    ollama.get("/api/version").respond(json={"version": "1"})
    now = 0.0
    client = OllamaClient("gpu", transport=httpx.MockTransport(ollama.async_handler))
    host = Host(client, clock=lambda: now)
    for _ in range(9):
        await host.run(Call(model="m", prompt="poison"))
    assert host.available
    for number in range(4):
        await host.run(Call(model="m", prompt=f"prompt {number}"))
    assert not host.available
    assert (host.tally.calls, host.tally.failed) == (13, 13)

    now += 0.5
    await host.probe()
    assert host.health.on_trial
    done = {"model": "m", "response": "yes", "done": True}
    prompts.mock(return_value=httpx.Response(200, json=done))
    assert isinstance(await host.run(Call(model="m", prompt="again")), Succeeded)
    assert host.health == Health(returns=1, rest_until=0.5)
    await client.aclose()

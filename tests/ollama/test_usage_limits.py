"""A host that limits the requests for a model (429): how long, and for which model."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
import respx
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.calls import Call
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Succeeded
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.failures.usage_limits import LONGEST_WAIT_S, UsageLimits, retry_after_s
from promptmill.ollama.hosts import Host

LIMITED = Failed(code=ErrorCode.SERVER_BUSY, message="hourly usage limit", blame=Blame.LIMIT)
OK = Succeeded(response="x")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3600", 3600.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        ("604800", 604800.0),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 3600.0),
        ("Sunday, 29-Nov-26 11:00:00 GMT", 3600.0),
        ("Sun Nov 29 11:00:00 2026", 3600.0),
        ("Sun, 29 Nov 2026 12:00:00 +0100", 3600.0),
        ("Sun, 29 Nov 2026 09:00:00 GMT", 0.0),
        ("", None),
        (None, None),
        ("-5", None),
        ("soon", None),
        ("1e3", None),
        ("٣", None),
        ("inf", None),
        ("9" * 400, None),
        ("Sun, 99 Nov 2026 11:00:00 GMT", None),
    ],
)
def test_a_retry_after_is_read_as_seconds_or_as_a_date_by_the_hosts_own_clock(
    value: str | None, seconds: float | None
) -> None:
    assert retry_after_s(value, date="Sun, 29 Nov 2026 10:00:00 GMT") == seconds


@given(st.text(), st.text())
def test_no_text_in_a_header_is_an_error(value: str, date: str) -> None:
    seconds = retry_after_s(value, date=date)
    assert seconds is None or seconds >= 0


def test_a_limit_holds_for_its_model_alone_and_as_long_as_the_host_says() -> None:
    limits = UsageLimits()
    limits.after_call(replace(LIMITED, retry_after_s=3600.0), model="cloud", now=10.0)
    assert (refusal := limits.refusal("cloud:latest", now=10.0)) is not None
    assert (refusal.message, refusal.retry_after_s) == ("hourly usage limit", 3600.0)
    assert limits.refusal("cloud", now=3609.9) is not None
    assert limits.refusal("cloud", now=3610.0) is None
    assert limits.refusal("tiny", now=10.0) is None


def test_a_limit_ends_at_the_latest_when_the_settings_say_so() -> None:
    limits = UsageLimits(longest_told_s=60.0)
    limits.after_call(replace(LIMITED, retry_after_s=1e9), model="cloud", now=0.0)
    assert limits.refusal("cloud", now=59.9) is not None
    assert limits.refusal("cloud", now=60.0) is None


@pytest.mark.parametrize("told_s", [None, 0.0])
def test_without_a_moment_each_wait_is_twice_as_long_until_the_model_answers(told_s) -> None:
    limits, now, waits = UsageLimits(), 0.0, []
    for _ in range(12):
        limits.after_call(replace(LIMITED, retry_after_s=told_s), model="m", now=now)
        waits.append(limits.standing["m:latest"].until - now)
        now = limits.standing["m:latest"].until
    assert waits[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert waits[-1] == LONGEST_WAIT_S
    limits.after_call(OK, model="m", now=now)
    assert limits.standing == {}


def test_calls_that_are_turned_away_together_count_as_one_wait() -> None:
    limits = UsageLimits()
    for _ in range(20):
        limits.after_call(LIMITED, model="m", now=5.0)
    assert (limits.standing["m:latest"].until, limits.standing["m:latest"].waits) == (6.0, 1)


def test_an_answer_to_a_call_that_was_under_way_does_not_end_the_limit() -> None:
    limits = UsageLimits()
    limits.after_call(replace(LIMITED, retry_after_s=60.0), model="m", now=0.0)
    limits.after_call(OK, model="m", now=1.0)
    assert limits.refusal("m", now=2.0) is not None


async def test_a_limited_model_is_not_asked_for_and_the_others_of_its_host_are() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if b'"cloud"' in request.content:
            return httpx.Response(429, json={"error": "limit"}, headers={"Retry-After": "60"})
        return httpx.Response(200, json={"model": "m", "response": "yes", "done": True})

    ollama = respx.Router(base_url="http://gpu:11434")
    asked = ollama.post("/api/generate").mock(side_effect=answer)
    now = 0.0
    client = OllamaClient("gpu", transport=httpx.MockTransport(ollama.async_handler))
    host = Host(client, clock=lambda: now)
    for number in range(5):
        outcome = await host.run(Call(model="cloud", prompt=f"prompt {number}"))
        assert isinstance(outcome, Failed)
        assert (outcome.blame, outcome.retry_after_s) == (Blame.LIMIT, 60.0)
    assert isinstance(await host.run(Call(model="tiny", prompt="x")), Succeeded)
    assert host.available
    assert len(asked.calls) == 2

    now += 60.0
    await host.run(Call(model="cloud", prompt="again"))
    assert len(asked.calls) == 3
    await client.aclose()

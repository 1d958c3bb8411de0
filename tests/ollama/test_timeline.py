"""What a timeline says of a call: when its first text, its answer and each of its chunks came."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
import respx

from promptmill.domain.benchmarks.timeline import Timeline
from promptmill.domain.calls import Call
from promptmill.domain.outcomes import Blame, Failed, Succeeded
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.deadlines import Timeouts
from promptmill.ollama.hosts import Host
from promptmill.ollama.timed_answer import TimedAnswer
from tests.ollama.raw_host import END, LAST, NDJSON, WORD, always, chunk, raw_host
from tests.ollama.recordings import exchanges

CALL = Call(model="tiny", prompt="How many apples?", timeout_s=20.0)


def line(**fields):
    return json.dumps(fields).encode() + b"\n"


def thought(text, response=""):
    return line(response=response, thinking=text, done=False)


def timeline_of(*reads, chat=False):
    """The timeline of an answer that is read at 0, 1, 2, ..."""
    timeline = Timeline(sent_at=-1.0)
    answer = TimedAnswer(timeline, chat=chat)
    for now, data in enumerate(reads):
        if answer.feed(data, float(now)):
            break
    else:
        answer.end(float(len(reads)))
    return timeline


async def timed(url, call=CALL, *, timeline=None, **settings):
    timeline = Timeline() if timeline is None else timeline
    client = OllamaClient(url, **settings)
    try:
        return await client.run(call, timeline=timeline), timeline
    finally:
        await client.aclose()


def test_the_first_answer_comes_after_the_thinking() -> None:
    timeline = timeline_of(thought("Let"), thought(" me"), WORD, LAST)
    assert (timeline.first_text_at, timeline.first_answer_at, timeline.done_at) == (0.0, 2.0, 3.0)
    assert (timeline.ttft_s, timeline.ttfo_s) == (1.0, 3.0)
    assert timeline.chunk_times == [0.0, 1.0, 2.0]


def test_the_first_answer_of_a_chat_comes_after_its_thinking() -> None:
    hm = line(message={"role": "assistant", "content": "", "thinking": "Hm"}, done=False)
    four = line(message={"role": "assistant", "content": "4"}, done=False)
    timeline = timeline_of(hm, four, LAST, chat=True)
    assert (timeline.first_text_at, timeline.first_answer_at) == (0.0, 1.0)


def test_chunks_are_lines_and_not_reads() -> None:
    timeline = timeline_of(WORD + WORD + WORD[:20], WORD[20:50], WORD[50:] + LAST)
    assert timeline.chunk_times == [0.0, 0.0, 2.0]
    assert timeline.done_at == 2.0


def test_lines_without_text_are_no_chunks() -> None:
    empty = line(response="", done=False)
    assert timeline_of(empty, WORD, b"\n", empty, LAST).chunk_times == [1.0]


def test_text_in_the_last_line_is_a_chunk_too() -> None:
    timeline = timeline_of(WORD, line(response=" end", done=True))
    assert timeline.chunk_times == [0.0, 1.0]


def test_an_answer_without_text_has_no_first_text() -> None:
    timeline = timeline_of(LAST)
    assert (timeline.first_text_at, timeline.first_answer_at) == (None, None)
    assert (timeline.ttft_s, timeline.ttfo_s) == (None, None)
    assert (timeline.chunk_times, timeline.done_at) == ([], 0.0)


def test_thinking_alone_is_text_but_no_answer() -> None:
    timeline = timeline_of(thought("Hm"), LAST)
    assert (timeline.ttft_s, timeline.ttfo_s) == (1.0, None)


def test_an_answer_that_is_cut_keeps_what_came_and_has_no_end() -> None:
    timeline = timeline_of(WORD, WORD)
    assert (timeline.chunk_times, timeline.done_at) == ([0.0, 1.0], None)


def test_what_comes_after_the_end_or_an_error_is_not_timed() -> None:
    assert timeline_of(WORD, LAST + WORD).chunk_times == [0.0]
    assert timeline_of(WORD, b'{"error":"gone"}\n' + WORD).chunk_times == [0.0]


@pytest.mark.parametrize("name", ["remote_host", "remote_model"])
def test_an_answer_that_the_host_only_passed_on_is_remote(name) -> None:
    assert timeline_of(line(response="4", done=False, **{name: "ollama.com"}), LAST).remote
    assert timeline_of(WORD, line(response="", done=True, **{name: "ollama.com"})).remote
    assert not timeline_of(line(response="4", done=False, **{name: ""}), LAST).remote


async def test_a_call_with_a_timeline_has_the_times_that_its_outcome_tells() -> None:
    timeline, now = Timeline(), 0.0

    async def read(chunks: int) -> None:
        """Returns when so many chunks were read, a second before the next."""
        nonlocal now
        async with asyncio.timeout(30):
            while len(timeline.chunk_times) < chunks:
                await asyncio.sleep(0)
        now += 1

    async def respond(exchange):
        await exchange.send(NDJSON, chunk(thought("Hm")))
        await read(1)
        await exchange.send(chunk(WORD))
        await read(2)
        await exchange.send(chunk(WORD), chunk(LAST), END)

    async with raw_host(respond) as host:
        outcome, timeline = await timed(host.url, timeline=timeline, clock=lambda: now)
    assert isinstance(outcome, Succeeded)
    assert timeline.ttft_s == outcome.metrics.ttft_s
    assert timeline.done_at - timeline.sent_at == outcome.metrics.latency_s
    assert timeline.chunk_times == [0.0, 1.0, 2.0]
    assert (timeline.first_text_at, timeline.first_answer_at) == (0.0, 1.0)


async def test_the_timeline_uses_the_clock_of_the_client() -> None:
    ticks = iter(range(100))
    async with raw_host(always(NDJSON + chunk(WORD) + chunk(LAST) + END)) as host:
        _, timeline = await timed(host.url, clock=lambda: float(next(ticks)))
    assert timeline.sent_at == 0.0
    assert timeline.chunk_times[0] in {1.0, 2.0, 3.0}


async def test_a_call_whose_host_falls_silent_has_the_times_up_to_then() -> None:
    async def respond(exchange):
        await exchange.send(NDJSON, chunk(WORD))
        await exchange.until_client_leaves()

    async with raw_host(respond) as host:
        waits = Timeouts(between_chunks_s=0.02)
        outcome, timeline = await timed(host.url, timeouts=waits)
    assert isinstance(outcome, Failed)
    assert len(timeline.chunk_times) == 1
    assert timeline.done_at is None


async def test_a_call_that_cannot_be_sent_has_an_empty_timeline() -> None:
    bad = Call(model="tiny", prompt="x", parameters={"images": [b"raw"]})
    outcome, timeline = await timed("http://gpu:11434", bad)
    assert isinstance(outcome, Failed)
    assert timeline == Timeline()


@pytest.mark.parametrize(
    "entry",
    [entry for entry in exchanges("/api/generate", "/api/chat") if entry.status == 200],
    ids=lambda entry: entry.name,
)
async def test_a_recorded_answer_is_the_same_with_and_without_a_timeline(entry) -> None:
    if "ReadTimeout" in entry.ended:
        pytest.skip("the recorded client gave up; test_recordings has the outcome")
    async with raw_host(entry.replay) as host:
        client = OllamaClient(host.url)
        without = await client.run(entry.call)
        timeline = Timeline()
        outcome = await client.run(entry.call, timeline=timeline)
        await client.aclose()
    assert type(outcome) is type(without)
    assert (outcome.response, outcome.thinking) == (without.response, without.thinking)
    assert bool(timeline.chunk_times) is bool(outcome.response or outcome.thinking)
    assert timeline.chunk_times == sorted(timeline.chunk_times)
    assert not timeline.remote


async def test_a_host_fills_in_the_timeline_and_still_judges_its_health() -> None:
    ollama = respx.Router(base_url="http://gpu:11434")
    route = ollama.post("/api/generate").respond(content=WORD + LAST)
    client = OllamaClient("gpu", transport=httpx.MockTransport(ollama.async_handler))
    host, timeline = Host(client), Timeline()
    assert isinstance(await host.measure(CALL, timeline), Succeeded)
    assert len(timeline.chunk_times) == 1

    route.mock(side_effect=httpx.ConnectError("refused"))
    timeline = Timeline()
    failed = await host.measure(CALL, timeline)
    assert isinstance(failed, Failed)
    assert failed.blame is Blame.HOST
    assert not host.available
    assert timeline.sent_at is not None
    await client.aclose()

"""What a real Ollama sent, sent again over a socket: the client says what happened there."""

import asyncio
import json

import pytest

from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Succeeded
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.deadlines import Timeouts
from tests.ollama.raw_host import raw_host
from tests.ollama.recordings import exchanges

ANSWERED = exchanges("/api/generate", "/api/chat")
WHOLE = [entry for entry in ANSWERED if '"done":true' in entry.text and entry.status == 200]
REST = [entry for entry in ANSWERED if entry not in WHOLE]

INVALID = (ErrorCode.INVALID_REQUEST, Blame.PROMPT)
NO_MODEL = (ErrorCode.MODEL_NOT_FOUND, Blame.PROMPT)
ERROR = (ErrorCode.SERVER_ERROR, Blame.ATTEMPT)
CUT = (ErrorCode.INCOMPLETE, Blame.ATTEMPT)

# By status, and for the status alone the words or the kind of end that tell apart.
EXPECTED = {
    (400, ""): INVALID,
    (404, "not found"): NO_MODEL,
    (405, "method not allowed"): INVALID,
    (500, "option "): INVALID,
    (500, "invalid format"): INVALID,
    (500, "unclosed action"): INVALID,
    (500, "runner process no longer running"): ERROR,
    (503, "maximum pending requests exceeded"): (ErrorCode.SERVER_BUSY, Blame.HOST),
    (200, "error was encountered"): ERROR,
    (200, "incomplete chunked read"): CUT,
    (200, '"done":false'): CUT,
    (None, "disconnected without"): (ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT),
    (None, "connection attempts failed"): (ErrorCode.HOST_UNREACHABLE, Blame.HOST),
    (None, "ReadTimeout"): (ErrorCode.TIMEOUT, Blame.ATTEMPT),
}


def expected(entry):
    said = entry.ended + entry.text
    return next(
        verdict
        for (status, words), verdict in EXPECTED.items()
        if status == entry.status and words in said
    )


def test_the_recordings_are_all_here():
    assert len(WHOLE) == 62
    assert len(REST) == 45


@pytest.mark.parametrize("entry", WHOLE, ids=lambda entry: entry.name)
async def test_a_recorded_answer_gives_its_text_and_counters(entry):
    lines = [json.loads(line) for line in entry.text.splitlines()]
    last = lines[-1]
    texts = [line.get("message", {}).get("content", line.get("response")) for line in lines]
    async with raw_host(entry.replay) as host:
        client = OllamaClient(host.url)
        outcome = await client.run(entry.call)
        await client.aclose()
    assert isinstance(outcome, Succeeded)
    assert outcome.response == "".join(texts)
    assert outcome.thinking is None
    assert outcome.done_reason == last["done_reason"]
    metrics = outcome.metrics
    for name in (
        "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration",
    ):  # fmt: skip
        assert getattr(metrics, name) == last.get(name)
    assert metrics.latency_s > 0
    assert (metrics.ttft_s is None) == (outcome.response == "")
    assert metrics.ttft_s is None or metrics.ttft_s <= metrics.latency_s


@pytest.mark.parametrize("entry", REST, ids=lambda entry: entry.name)
async def test_a_recorded_failure_is_told_as_what_it_was(entry):
    async def replay(exchange):
        if "ReadTimeout" in entry.ended:
            await exchange.until_client_leaves()
        else:
            await entry.replay(exchange)

    async with raw_host(replay) as host:
        url = "http://127.0.0.1:1" if "connection attempts" in entry.ended else host.url
        client = OllamaClient(
            url, timeouts=Timeouts(first_byte_s=0.1 if "ReadTimeout" in entry.ended else 20)
        )
        outcome = await asyncio.wait_for(client.run(entry.call), 20)
        await client.aclose()
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.blame) == expected(entry)
    if entry.status not in {200, None} and entry.text.startswith("{"):
        assert " ".join(json.loads(entry.text)["error"].split()) in outcome.message
    assert outcome.metrics.latency_s > 0
    arrived = [json.loads(line) for line in entry.text.splitlines()] if entry.status == 200 else []
    partial = "".join(line.get("response", "") for line in arrived)
    assert outcome.response == (partial or None)

"""Whatever a host answers, each prompt ends after the tries that it has, and the others go on."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest

from promptmill.domain.batches import BatchDraft, PromptDraft, TaskResult
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from promptmill.runtime import open_resources
from promptmill.services import batches
from promptmill.settings import Settings
from promptmill.worker.runner import working
from tests.ollama.raw_host import END, LAST, NDJSON, WORD, Exchange, chunk, plain, raw_host

GOOD = WORD + LAST
PAGE = b"<html><head><title>Sign in</title></head><body>Sign in</body></html>"
TRIES = 2
PATIENCE_S = 60


def answer(*lines: bytes) -> bytes:
    return NDJSON + b"".join(map(chunk, lines)) + END


def last(**fields: object) -> bytes:
    """One line that is a whole answer, with odd fields."""
    return answer(json.dumps({**json.loads(LAST), "response": "x", **fields}).encode() + b"\n")


def encoded(body: bytes, encoding: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def status(number: int, body: bytes = PAGE) -> bytes:
    return plain(f"{number} Odd", body, "text/html")


REFUSED, ERROR = ErrorCode.HOST_REFUSED, ErrorCode.SERVER_ERROR
INCOMPLETE, INVALID = ErrorCode.INCOMPLETE, ErrorCode.INVALID_REQUEST
UNREACHABLE, LATE = ErrorCode.HOST_UNREACHABLE, ErrorCode.TIMEOUT

FAILING: dict[str, tuple[bytes, ErrorCode]] = {
    "a page": (plain("200 OK", PAGE, "text/html"), REFUSED),
    "events of a server": (plain("200 OK", b"data: " + LAST, "text/event-stream"), REFUSED),
    "null": (plain("200 OK", b"null\n"), REFUSED),
    "brackets without end": (plain("200 OK", b"[" * 100_000 + b"\n"), REFUSED),
    "nothing": (plain("200 OK", b""), INCOMPLETE),
    "a chunk cut in the middle": (NDJSON + b"ff\r\n" + WORD, INCOMPLETE),
    "no end": (answer(WORD), INCOMPLETE),
    "an end that is a text": (last(done="true"), INCOMPLETE),
    "gzip that is none": (encoded(GOOD, "gzip"), INCOMPLETE),
    "gzip that is cut": (encoded(gzip.compress(GOOD)[:40], "gzip"), INCOMPLETE),
    "gzip of very much": (encoded(gzip.compress(b" " * 20_000_000), "gzip"), ERROR),
    "a size of a chunk that is none": (NDJSON + b"zz\r\n" + WORD, ERROR),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\n", ERROR),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", ERROR),
    "a header without end": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", ERROR),
    "a reason that is no UTF-8": (b"HTTP/1.1 500 \xff\xfe\r\nContent-Length: 0\r\n\r\n", ERROR),
    "an error that is an object": (answer(b'{"error": {"message": "no", "code": 7}}\n'), ERROR),
    "an error that is empty": (answer(b'{"error": ""}\n'), ERROR),
    "a response that is a number": (last(response=5), ERROR),
    "thinking that is a number": (last(thinking=5), ERROR),
    "a response that is null": (last(response=None), ErrorCode.EMPTY),
    "a closed connection": (b"", UNREACHABLE),
    "a redirection to itself": (
        b"HTTP/1.1 302 Found\r\nLocation: /api/generate\r\nContent-Length: 0\r\n\r\n",
        REFUSED,
    ),
    "a proxy that wants a sign-in": (status(407), REFUSED),
    "a network that wants a sign-in": (status(511), REFUSED),
    "a payment": (status(402, b'{"error": "payment required"}'), REFUSED),
    "a teapot": (status(418), INVALID),
    "an error of Cloudflare": (status(520), UNREACHABLE),
    "a status of no standard": (status(599), LATE),
    "a status beyond all": (status(999), ERROR),
}
AT_ONCE = {"a teapot", "a payment"}
"""Another try would give the same."""
ANSWERING: dict[str, bytes] = {
    "true gzip": encoded(gzip.compress(GOOD), "gzip"),
    "lines of Windows and blank ones": answer(b"\r\n", GOOD.replace(b"\n", b"\r\n"), b"\n"),
    "no line end": answer(WORD, LAST[:-1]),
    "a length that is too large": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + GOOD,
    "HTTP of 1996": b"HTTP/1.0 200 OK\r\n\r\n" + GOOD,
    "bytes that are no UTF-8": answer(b'{"response": "\xff\xfe", "done": false}\n', LAST),
    "half of a surrogate pair": answer(b'{"response": "\\ud83d", "done": false}\n', LAST),
    "NUL": last(response="a\0b"),
    "counters beyond all": last(eval_count=10**400, total_duration=2**70),
    "counters below nothing": last(eval_count=-5, total_duration=-1, eval_duration=-3),
    "counters that are no numbers": last(eval_count="7", prompt_eval_count=True, total_duration={}),
    "NaN": answer(b'{"response": "a", "done": true, "eval_count": NaN}\n'),
    "a reason that is an object": last(done_reason={"a": 1}),
    "calls of tools that are a text": last(tool_calls="x"),
    "logprobs that are an object": last(logprobs={"a": 1}),
}
ODD = {name: raw for name, (raw, _) in FAILING.items()} | ANSWERING


class Tried(NamedTuple):
    """What came of a prompt whose answer is odd."""

    result: TaskResult
    calls: int


async def respond(exchange: Exchange) -> None:
    """A host that is as others are, unless a prompt has the name of something odd."""
    odd = re.search(rb"\[(.+?)\]", exchange.body)
    if b"/api/version" in exchange.head:
        await exchange.send(plain("200 OK", b'{"version": "0.24.0"}'))
    elif b"/api/tags" in exchange.head:
        await exchange.send(plain("200 OK", b'{"models": [{"name": "tiny:latest"}]}'))
    elif b"/api/ps" in exchange.head:
        await exchange.send(plain("200 OK", b'{"models": []}'))
    elif odd is None:
        await exchange.send(plain("200 OK", GOOD))
    else:
        await exchange.send(ODD[odd[1].decode()])
        raise ConnectionError  # closes it


@pytest.fixture
async def tried(sqlite_url: str) -> AsyncIterator[Callable[[str, int], Awaitable[Tried]]]:
    """A service before that host: `tried(name, most)` lets a batch meet one odd answer."""
    async with raw_host(respond) as host:
        settings = Settings(
            ollama_host=host.url,
            database_url=sqlite_url,
            poll_s=0.1,
            drain_s=1,
            retry_base_s=0.01,
            retry_most_s=0.05,
        )
        async with open_resources(settings) as resources, working(resources):

            async def once(name: str, most: int) -> Tried:
                texts = (f"[{name}]", "One.", "Two.", "Three.")
                draft = BatchDraft(
                    prompts=[PromptDraft(text) for text in texts],
                    model="tiny",
                    limits=Limits(max_concurrent=1, rate_limit_delay_s=0),
                    max_attempts=most,
                )
                batch_id = (await batches.submit(resources, draft)).batch.id
                batch = await batches.wait_until_ended(resources, batch_id, timeout_s=PATIENCE_S)
                assert batch.finished_at_ms is not None, (name, batch.counts, batch.waiting_for)
                odd, *others = (await batches.results_page(resources, batch_id, limit=9)).results
                assert {one.response for one in others} == {" ton"}, name
                asked = sum(f"[{name}]".encode() in body for _, body in host.requests)
                return Tried(odd, asked)

            yield once


async def test_each_odd_answer_ends_its_prompt_and_no_other(tried, subtests) -> None:
    for name, (_, code) in FAILING.items():
        with subtests.test(name):
            # A host that refuses is put aside each time, which takes a second.
            most = 1 if code is REFUSED else TRIES
            found = await tried(name, most)
            assert found.result.error_code == code, found.result.error
            assert found.calls == (1 if name in AT_ONCE else most)
            # Whatever the host sent, it is told in one line that can be stored and shown.
            assert found.result.error
            assert len(found.result.error) < 1000
            assert found.result.error.isprintable()


async def test_an_answer_that_can_be_read_is_taken(tried, subtests) -> None:
    for name in ANSWERING:
        with subtests.test(name):
            found = await tried(name, TRIES)
            assert (found.result.error, found.calls) == (None, 1)
            assert found.result.response

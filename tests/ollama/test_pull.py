"""Pulls that end badly: every way in which one can, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from promptmill.domain.outcomes import Blame, ErrorCode, Failed
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.deadlines import Timeouts
from promptmill.ollama.failures.table import OllamaError
from tests.ollama.raw_host import END, NDJSON, Exchange, always, chunk, plain, raw_host

MANIFEST = chunk(b'{"status":"pulling manifest"}\n')
LAYER = chunk(b'{"status":"pulling ab","digest":"sha256:ab","total":9,"completed":4}\n')
HASHING = chunk(b'{"status":"verifying sha256 digest"}\n')
SUCCESS = chunk(b'{"status":"success"}\n')
WITHOUT_END = Timeouts(between_chunks_s=600, pull_silence_s=600)


async def failure_of(respond, timeouts: Timeouts = WITHOUT_END) -> Failed:
    """How a pull fails at a host that answers so."""
    async with raw_host(respond) as host:
        client = OllamaClient(host.url, timeouts=timeouts)
        with pytest.raises(OllamaError) as caught:
            async for _ in client.pull("qwen3:8b"):
                pass
        await client.aclose()
    return caught.value.failed


def error_line(words: str) -> bytes:
    return chunk(b'{"error":"%b"}\n' % words.encode())


@pytest.mark.parametrize(
    ("pieces", "code", "blame", "words"),
    [
        (
            [NDJSON, MANIFEST, error_line("pull model manifest: file does not exist"), END],
            ErrorCode.MODEL_NOT_FOUND,
            Blame.PROMPT,
            "file does not exist",
        ),
        (
            [NDJSON, MANIFEST, LAYER, error_line("max retries exceeded: EOF"), END],
            ErrorCode.SERVER_ERROR,
            Blame.ATTEMPT,
            "max retries exceeded: EOF",
        ),
        (
            [plain("400 Bad Request", b'{"error":"invalid model name"}')],
            ErrorCode.INVALID_REQUEST,
            Blame.PROMPT,
            "invalid model name",
        ),
        (
            [plain("500 Internal Server Error", b'{"error":"no space left on device"}')],
            ErrorCode.SERVER_ERROR,
            Blame.ATTEMPT,
            "no space left on device",
        ),
        (
            [plain("503 Service Unavailable", b"<h1>busy</h1>", "text/html")],
            ErrorCode.HOST_UNREACHABLE,
            Blame.GATEWAY,
            "busy",
        ),
        (
            [plain("502 Bad Gateway", b"<title>Bad Gateway</title>", "text/html")],
            ErrorCode.HOST_UNREACHABLE,
            Blame.GATEWAY,
            "Bad Gateway",
        ),
        (
            [plain("200 OK", b"<html>\n<title>Hello</title>\n</html>", "text/html")],
            ErrorCode.HOST_REFUSED,
            Blame.REFUSAL,
            "does not speak Ollama's API",
        ),
        (
            [NDJSON, MANIFEST, LAYER, END],
            ErrorCode.INCOMPLETE,
            Blame.ATTEMPT,
            "ended without 'success'",
        ),
        ([NDJSON, END], ErrorCode.INCOMPLETE, Blame.ATTEMPT, "ended without 'success'"),
        # The connection is dropped, during the answer and before any.
        ([NDJSON, MANIFEST, LAYER], ErrorCode.INCOMPLETE, Blame.ATTEMPT, "during the answer"),
        ([], ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT, "before any answer"),
    ],
)
async def test_a_pull_that_fails_says_how(pieces, code, blame, words) -> None:
    failed = await failure_of(always(*pieces, close=True))

    assert (failed.code, failed.blame) == (code, blame), failed
    assert words in failed.message


async def test_a_layer_that_stands_still_is_given_up_sooner_than_the_hashing_of_one() -> None:
    """While a layer comes, Ollama tells of it many times a second."""

    async def stall(exchange: Exchange) -> None:
        await exchange.send(NDJSON, MANIFEST, LAYER)
        await exchange.until_client_leaves()

    failed = await failure_of(stall, Timeouts(between_chunks_s=0.1, pull_silence_s=600))

    assert (failed.code, failed.blame) == (ErrorCode.TIMEOUT, Blame.ATTEMPT)
    assert "stopped in the middle for 0.1 s" in failed.message


@pytest.mark.parametrize("last", [MANIFEST, HASHING])
async def test_a_silence_while_no_layer_comes_may_last_longer(last: bytes) -> None:
    async def hash_for_long(exchange: Exchange) -> None:
        await exchange.send(NDJSON, last)
        await asyncio.sleep(0.3)  # Longer than a layer may stand still.
        await exchange.send(SUCCESS, END)

    async with raw_host(hash_for_long) as host:
        client = OllamaClient(host.url, timeouts=Timeouts(between_chunks_s=0.1, pull_silence_s=600))
        lines = [line.status async for line in client.pull("m")]
        await client.aclose()
    assert lines[-1] == "success"

    async def never(exchange: Exchange) -> None:
        await exchange.send(NDJSON, last)
        await exchange.until_client_leaves()

    failed = await failure_of(never, Timeouts(between_chunks_s=600, pull_silence_s=0.1))
    assert failed.code is ErrorCode.TIMEOUT


async def test_a_pull_that_is_left_closes_its_connection() -> None:
    """It is what makes Ollama stop the download."""
    left = asyncio.Event()

    async def respond(exchange: Exchange) -> None:
        await exchange.send(NDJSON, MANIFEST, LAYER)
        await exchange.until_client_leaves()
        left.set()

    async with raw_host(respond) as host:
        client = OllamaClient(host.url, timeouts=WITHOUT_END)
        async with contextlib.aclosing(client.pull("m")) as lines:
            assert (await anext(lines)).status == "pulling manifest"
        async with asyncio.timeout(10):
            await left.wait()
        await client.aclose()

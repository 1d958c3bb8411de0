"""`OllamaClient.run` over real sockets: what is sent, the four timeouts, leaving, broken hosts."""

import asyncio
import contextlib
import json
import socket

import httpx
import pytest

from promptmill.domain.calls import Call
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Succeeded
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.deadlines import Timeouts
from tests.ollama.raw_host import END, LAST, NDJSON, WORD, always, chunk, plain, raw_host

ANSWER = NDJSON + chunk(WORD) + chunk(LAST) + END


def a_call(**fields):
    return Call(**{"model": "tiny", "prompt": "How many apples?", "timeout_s": 20.0, **fields})


async def run(url, call=None, **timeouts):
    client = OllamaClient(url, timeouts=Timeouts(**timeouts))
    try:
        return await client.run(call or a_call())
    finally:
        await client.aclose()


async def test_a_prompt_goes_to_generate_with_its_parameters_as_given():
    parameters = {
        "system": "Be brief.",
        "options": {"num_ctx": 512},
        "think": False,
        "format": {"type": "object"},
    }
    async with raw_host(always(ANSWER)) as host:
        await run(host.url, a_call(parameters=parameters))
    ((head, body),) = host.requests
    assert head.startswith(b"POST /api/generate HTTP/1.1\r\n")
    assert json.loads(body) == {
        "model": "tiny",
        "prompt": "How many apples?",
        "stream": True,
        **parameters,
    }


async def test_messages_go_to_chat():
    messages = ({"role": "user", "content": "Hi"},)
    async with raw_host(always(ANSWER)) as host:
        await run(host.url, a_call(prompt=None, messages=messages))
    ((head, body),) = host.requests
    assert head.startswith(b"POST /api/chat HTTP/1.1\r\n")
    assert json.loads(body) == {"model": "tiny", "messages": list(messages), "stream": True}


async def test_parameters_cannot_change_what_the_call_is():
    parameters = {"stream": False, "model": "other", "prompt": "other"}
    async with raw_host(always(ANSWER)) as host:
        await run(host.url, a_call(parameters=parameters))
    assert json.loads(host.requests[0][1]) == {
        "model": "tiny",
        "prompt": "How many apples?",
        "stream": True,
    }


async def test_a_path_in_the_address_is_kept_and_no_compression_is_asked_for():
    async with raw_host(always(ANSWER)) as host:
        await run(f"{host.url}/ollama/")
    head = host.requests[0][0].lower()
    assert head.startswith(b"post /ollama/api/generate ")
    assert b"\r\naccept-encoding: identity\r\n" in head
    assert head.count(b"\r\nhost: ") == 1
    assert b"cookie" not in head
    assert b"authorization" not in head


async def test_half_a_character_in_a_prompt_can_be_sent():
    async with raw_host(always(ANSWER)) as host:
        assert isinstance(await run(host.url, a_call(prompt="\ud800 日本 \U0001f600")), Succeeded)
    assert json.loads(host.requests[0][1])["prompt"] == "\ud800 日本 \U0001f600"


@pytest.mark.parametrize(
    "fields",
    [
        {"parameters": {"options": {"temperature": float("nan")}}},
        {"parameters": {"options": {"temperature": float("inf")}}},
        {"parameters": {"options": {1, 2}}},
        {"parameters": {"images": [b"raw"]}},
        {"prompt": None},
        {"messages": ({"role": "user", "content": "both"},)},
        {"prompt": None, "messages": (5,)},
    ],
)
async def test_what_cannot_be_written_as_a_request_fails_without_sending(fields):
    async with raw_host(always(ANSWER)) as host:
        outcome = await run(host.url, a_call(**fields))
    assert (outcome.code, outcome.blame) == (ErrorCode.INVALID_REQUEST, Blame.PROMPT)
    assert host.requests == []


async def test_a_large_prompt_arrives_whole_and_with_its_length():
    prompt = "x" * 9_000_000
    async with raw_host(always(ANSWER)) as host:
        assert isinstance(await run(host.url, a_call(prompt=prompt)), Succeeded)
    ((head, body),) = host.requests
    assert json.loads(body)["prompt"] == prompt
    assert b"chunked" not in head
    assert head.lower().count(b"\r\nhost: ") == 1


async def test_times_are_taken_with_the_given_clock():
    ticks = iter(range(100))
    async with raw_host(always(ANSWER)) as host:
        client = OllamaClient(host.url, clock=lambda: float(next(ticks)))
        metrics = (await client.run(a_call())).metrics
        await client.aclose()
    assert 0 < metrics.ttft_s <= metrics.latency_s < 5
    assert metrics.latency_s == int(metrics.latency_s)


async def test_calls_one_after_the_other_share_a_connection():
    async with raw_host(always(ANSWER)) as host:
        client = OllamaClient(host.url)
        for _ in range(3):
            assert isinstance(await client.run(a_call()), Succeeded)
        await client.aclose()
    assert (len(host.requests), host.connections) == (3, 1)


async def test_the_number_of_connections_is_no_limit():
    everyone = asyncio.Barrier(150)

    async def respond(exchange):
        await everyone.wait()
        await exchange.send(ANSWER)

    async with raw_host(respond) as host:
        client = OllamaClient(host.url)
        outcomes = await asyncio.gather(*(client.run(a_call()) for _ in range(150)))
        await client.aclose()
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with raw_host(always(ANSWER)) as host:
        assert isinstance(await run(host.url), Succeeded)


async def test_a_redirect_is_not_followed_but_told():
    redirect = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n"
    async with raw_host(always(redirect)) as host:
        outcome = await run(host.url)
    assert (outcome.code, outcome.blame) == (ErrorCode.HOST_REFUSED, Blame.REFUSAL)
    assert len(host.requests) == 1


# --- The four timeouts ---


async def test_no_connection_in_time_is_the_connect_timeout_and_the_hosts_fault():
    # A full backlog drops further attempts without a word, as a firewall does.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        outcome = await run(url, connect_s=0.2)
        for filler in fillers:
            filler.close()
    assert (outcome.code, outcome.blame) == (ErrorCode.TIMEOUT, Blame.HOST)
    assert "connect" in outcome.message
    assert "0.2 s" in outcome.message


async def test_silence_before_the_answer_is_the_first_byte_timeout():
    async def respond(exchange):
        await exchange.until_client_leaves()

    async with raw_host(respond) as host:
        outcome = await run(host.url, first_byte_s=0.05, between_chunks_s=10)
        await host_is_left(host)
    assert (outcome.code, outcome.blame) == (ErrorCode.TIMEOUT, Blame.ATTEMPT)
    assert "first byte" in outcome.message
    assert "0.05 s" in outcome.message
    assert outcome.response is None
    assert outcome.metrics.latency_s >= 0.05


async def test_silence_in_the_middle_is_the_timeout_between_chunks():
    async def respond(exchange):
        await exchange.send(NDJSON, chunk(WORD))
        await exchange.until_client_leaves()

    async with raw_host(respond) as host:
        outcome = await run(host.url, first_byte_s=10, between_chunks_s=0.05)
        await host_is_left(host)
    assert (outcome.code, outcome.blame) == (ErrorCode.TIMEOUT, Blame.ATTEMPT)
    assert "between chunks" in outcome.message
    assert "0.05 s" in outcome.message
    assert outcome.response == " ton"
    assert outcome.metrics.ttft_s is not None


async def test_an_answer_without_end_is_the_timeout_of_the_whole_call():
    async def respond(exchange):
        await exchange.send(NDJSON)
        while True:
            await exchange.send(chunk(WORD))
            await asyncio.sleep(0.01)

    async with raw_host(respond) as host:
        outcome = await run(
            host.url, a_call(timeout_s=0.15), first_byte_s=0.1, between_chunks_s=0.1
        )
        await host_is_left(host)
    assert (outcome.code, outcome.blame) == (ErrorCode.TIMEOUT, Blame.ATTEMPT)
    assert "whole call" in outcome.message
    assert "0.15 s" in outcome.message
    assert outcome.response.startswith(" ton ton")


async def test_chunks_that_keep_coming_outlast_the_other_timeouts():
    async def respond(exchange):
        await exchange.send(NDJSON)
        for _ in range(15):
            await exchange.send(chunk(WORD))
            await asyncio.sleep(0.01)
        await exchange.send(chunk(LAST), END)

    async with raw_host(respond) as host:
        outcome = await run(host.url, first_byte_s=0.1, between_chunks_s=0.1)
    assert isinstance(outcome, Succeeded)


async def host_is_left(host):
    await asyncio.wait_for(host.left.wait(), 5)


# --- Leaving ---


@pytest.mark.parametrize(
    "sent", [b"", NDJSON + chunk(WORD)], ids=["before any answer", "in the middle"]
)
async def test_a_cancelled_call_closes_its_connection_and_raises(sent):
    answering = asyncio.Event()

    async def respond(exchange):
        await exchange.send(sent)
        answering.set()
        await exchange.until_client_leaves()

    async with raw_host(respond) as host:
        client = OllamaClient(host.url)
        call = asyncio.create_task(client.run(a_call()))
        await answering.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await host_is_left(host)
        await client.aclose()


async def test_a_callers_own_timeout_is_not_taken_for_the_clients():
    async def respond(exchange):
        await exchange.until_client_leaves()

    async with raw_host(respond) as host:
        client = OllamaClient(host.url)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.run(a_call())
        await client.aclose()


async def test_a_timeout_leaves_no_cancellation_behind():
    async def respond(exchange):
        await exchange.until_client_leaves()

    async with raw_host(respond) as host:
        client = OllamaClient(host.url, timeouts=Timeouts(first_byte_s=0.02))
        for _ in range(3):
            assert (await client.run(a_call())).code is ErrorCode.TIMEOUT
        assert asyncio.current_task().cancelling() == 0
        await client.aclose()


# --- Ends that are not orderly ---


async def test_an_answer_that_is_done_counts_although_the_connection_breaks_after_it():
    async with raw_host(always(NDJSON, chunk(WORD), chunk(LAST), close=True)) as host:
        assert (await run(host.url)).response == " ton"


async def test_an_answer_that_is_done_does_not_wait_for_a_server_that_never_ends():
    async def respond(exchange):
        await exchange.send(NDJSON, chunk(WORD), chunk(LAST))
        await exchange.until_client_leaves()

    async with raw_host(respond) as host:
        outcome = await run(host.url)
        await host_is_left(host)
    assert outcome.response == " ton"


async def test_an_answer_that_ends_with_the_connection_is_read():
    close_delimited = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + WORD + LAST
    async with raw_host(always(close_delimited, close=True)) as host:
        assert (await run(host.url)).response == " ton"


@pytest.mark.parametrize(
    ("sent", "code", "blame"),
    [
        (b"", ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT),
        (b"HTTP/1.1 200", ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT),
        (NDJSON, ErrorCode.INCOMPLETE, Blame.ATTEMPT),
        (NDJSON + chunk(WORD), ErrorCode.INCOMPLETE, Blame.ATTEMPT),
        (NDJSON + chunk(WORD)[:-9], ErrorCode.INCOMPLETE, Blame.ATTEMPT),
        (NDJSON + chunk(WORD) + END, ErrorCode.INCOMPLETE, Blame.ATTEMPT),
        (NDJSON + END, ErrorCode.INCOMPLETE, Blame.ATTEMPT),
        (NDJSON + b"zz\r\n", ErrorCode.SERVER_ERROR, Blame.ATTEMPT),
        (b"220 mail ready\r\n", ErrorCode.SERVER_ERROR, Blame.ATTEMPT),
        (plain("200 OK", WORD + LAST).replace(b"Length: ", b"Length: 1"), None, None),
        (plain("200 OK", WORD).replace(b"Length: ", b"Length: 1"), ErrorCode.INCOMPLETE, Blame.ATTEMPT),
        (plain("500 Oops", b'{"error":"x"}').replace(b"Length: ", b"Length: 9"), ErrorCode.SERVER_ERROR, Blame.ATTEMPT),
    ],
)  # fmt: skip
async def test_a_connection_that_breaks_is_told_by_how_far_it_came(sent, code, blame):
    async with raw_host(always(sent, close=True)) as host:
        outcome = await run(host.url)
    if code is None:
        assert isinstance(outcome, Succeeded)
    else:
        assert (outcome.code, outcome.blame) == (code, blame), outcome
        assert outcome.message


async def test_a_connection_that_is_reset_before_the_answer_costs_an_attempt():
    async def respond(exchange):
        exchange.writer.transport.abort()

    async with raw_host(respond) as host:
        outcome = await run(host.url)
    assert (outcome.code, outcome.blame) == (ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT)


async def test_a_refused_connection_is_the_hosts_fault():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    outcome = await run(f"http://127.0.0.1:{port}")
    assert (outcome.code, outcome.blame) == (ErrorCode.HOST_UNREACHABLE, Blame.HOST)
    assert "refused" in outcome.message.lower()
    assert f"127.0.0.1:{port}" in outcome.message


async def test_a_name_that_is_none_is_the_hosts_fault():
    outcome = await run("http://no-such-host.invalid")
    assert (outcome.code, outcome.blame) == (ErrorCode.HOST_UNREACHABLE, Blame.HOST)


async def test_https_to_a_server_without_it_is_the_hosts_fault():
    async def serve(reader, writer):
        await reader.read(1)
        writer.write(plain("400 Bad Request", b"this is http"))
        writer.close()

    async with served(serve) as url:
        outcome = await run(url.replace("http:", "https:"))
    assert (outcome.code, outcome.blame) == (ErrorCode.HOST_UNREACHABLE, Blame.HOST)
    assert "secure" in outcome.message


@contextlib.asynccontextmanager
async def served(serve):
    ended = asyncio.Event()

    async def once(reader, writer):
        try:
            await serve(reader, writer)
        finally:
            writer.close()
            ended.set()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.wait_for(ended.wait(), 5)


async def test_a_refusal_before_the_whole_prompt_was_taken_is_heard():
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            plain("413 Too Large", b"<html><title>Request Entity Too Large</title>", "text/html")
        )
        await writer.drain()
        await reader.read()
        writer.close()

    async with served(serve) as url:
        outcome = await asyncio.wait_for(run(url, a_call(prompt="x" * 20_000_000)), 10)
    assert (outcome.code, outcome.blame) == (ErrorCode.INVALID_REQUEST, Blame.PROMPT)
    assert "Request Entity Too Large" in outcome.message


async def test_a_stalled_error_body_ends_with_the_timeout_between_chunks():
    async def respond(exchange):
        await exchange.send(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{")
        await exchange.until_client_leaves()

    async with raw_host(respond) as host:
        outcome = await run(host.url, between_chunks_s=0.05)
    assert isinstance(outcome, Failed)
    assert outcome.blame is Blame.ATTEMPT


async def test_an_endless_error_body_is_read_only_so_far():
    async def respond(exchange):
        await exchange.send(NDJSON.replace(b"200 OK", b"500 Oops"))
        while True:
            await exchange.send(chunk(b"x" * 10_000))

    async with raw_host(respond) as host:
        outcome = await run(host.url)
    assert outcome.code is ErrorCode.SERVER_ERROR
    assert len(outcome.message) < 700


async def test_a_compressed_answer_that_nobody_asked_for_is_read():
    import gzip

    packed = gzip.compress(WORD + LAST)
    answer = plain("200 OK", packed).replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1)
    async with raw_host(always(answer)) as host:
        assert (await run(host.url)).response == " ton"


async def test_a_call_on_a_closed_client_fails_and_does_not_raise():
    async with raw_host(always(ANSWER)) as host:
        client = OllamaClient(host.url)
        await client.run(a_call())
        await client.aclose()
        outcome = await client.run(a_call())
    assert isinstance(outcome, Failed)
    assert outcome.blame is Blame.ATTEMPT


async def test_an_error_of_the_transport_that_nobody_foresaw_is_still_a_value():
    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            raise KeyError("a bug")

    outcome = await OllamaClient("h", transport=Broken()).run(a_call())
    assert (outcome.code, outcome.blame) == (ErrorCode.SERVER_ERROR, Blame.ATTEMPT)
    assert "a bug" in outcome.message


def test_a_client_for_what_is_no_address_is_refused():
    with pytest.raises(ValueError, match="port"):
        OllamaClient("h:x")

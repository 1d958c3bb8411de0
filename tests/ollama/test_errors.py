"""The failure table: nothing that a transport raises and nothing that Ollama answers is left out."""

from __future__ import annotations

import inspect
import json
import re
import socket
from pathlib import Path

import aiohttp
import httpx
import pytest

from promptmill.domain.outcomes import Blame, ErrorCode
from promptmill.ollama.failures.exceptions import EXCEPTIONS, CallPhase, failed_exception
from promptmill.ollama.failures.table import (
    ANSWERS,
    BREAKS,
    TIMEOUTS,
    Break,
    Timeout,
    failed_answer,
    failed_break,
    failed_pull,
    failed_timeout,
)
from tests.ollama.failure_tables import TABLES

URL = "http://gpu:11434"
PAGE = Path(__file__).parents[2] / "docs" / "ollama-failures.md"


def exceptions_of(module) -> set[type[BaseException]]:
    return {
        value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, BaseException) and not name.startswith("_")
    }


def test_every_exception_of_httpx_has_a_row_of_its_own() -> None:
    assert exceptions_of(httpx) - set(EXCEPTIONS) == set()


def test_every_exception_of_aiohttp_has_a_row_or_that_of_its_kin() -> None:
    others = exceptions_of(aiohttp) - set(EXCEPTIONS)
    strangers = {kind.__name__ for kind in others if not issubclass(kind, aiohttp.ClientError)}
    # WebSockets, forms in several parts, and a mark inside aiohttp's own reader.
    assert strangers <= {
        "WebSocketError",
        "WSMessageTypeError",
        "BadContentDispositionHeader",
        "BadContentDispositionParam",
        "EofStream",
    }


@pytest.mark.parametrize("phase", CallPhase)
@pytest.mark.parametrize("kind", EXCEPTIONS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_exception_becomes_the_outcome_of_its_row(kind, phase) -> None:
    # Made without its arguments, which differ from kind to kind and may be anything.
    spoken = {"__str__": lambda _: "its words", "os_error": OSError("its words")}
    bare = type(kind.__name__, (kind,), spoken)
    failed = failed_exception(URL, bare.__new__(bare), phase)
    rule = EXCEPTIONS[kind]
    verdict = rule.before if phase is CallPhase.ASKED else rule.during
    assert (failed.code, failed.blame) == (verdict.code, verdict.blame)
    assert URL in failed.message
    assert "its words" in failed.message


def test_an_exception_that_nobody_named_takes_the_row_of_its_nearest_kin() -> None:
    class NewReadError(httpx.ReadError):
        pass

    failed = failed_exception(URL, NewReadError("gone"), CallPhase.ANSWERING)
    assert (failed.code, failed.blame) == (ErrorCode.INCOMPLETE, Blame.ATTEMPT)


def test_what_aiohttp_meant_goes_before_what_the_transport_made_of_it() -> None:
    # httpx-aiohttp turns a server that disconnects into a connect timeout.
    error = httpx.ConnectTimeout("timed out")
    error.__cause__ = aiohttp.ServerDisconnectedError()
    failed = failed_exception(URL, error, CallPhase.ASKED)
    assert (failed.code, failed.blame) == (ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT)
    assert "Server disconnected" in failed.message


def test_the_systems_own_words_are_told() -> None:
    failed = failed_exception(URL, ConnectionRefusedError(111, "x"), CallPhase.ASKED)
    assert failed.message == f"No connection to {URL} could be made: Connection refused"
    unknown = failed_exception(
        URL, socket.gaierror(-2, "Name or service not known"), CallPhase.ASKED
    )
    assert unknown.message.endswith("Name or service not known")


OLLAMA_ANSWERS = [
    # (status, words of Ollama, code, blame): reference of the API, checks of generate and chat
    (400, "missing request body", ErrorCode.INVALID_REQUEST, Blame.PROMPT),
    (400, "invalid model name", ErrorCode.INVALID_REQUEST, Blame.PROMPT),
    (400, '"x" does not support generate', ErrorCode.INVALID_REQUEST, Blame.PROMPT),
    (400, "the input length exceeds the context length", ErrorCode.INVALID_REQUEST, Blame.PROMPT),
    (401, "unauthorized", ErrorCode.HOST_REFUSED, Blame.REFUSAL),
    (403, "ollama cloud is disabled", ErrorCode.HOST_REFUSED, Blame.PROMPT),
    (404, "model 'x' not found", ErrorCode.MODEL_NOT_FOUND, Blame.PROMPT),
    (404, "model '' not found", ErrorCode.MODEL_NOT_FOUND, Blame.PROMPT),
    (429, "too many requests", ErrorCode.SERVER_BUSY, Blame.LIMIT),
    (499, "request canceled", ErrorCode.SERVER_ERROR, Blame.ATTEMPT),
    (500, 'option "num_ctx" must be of type integer', ErrorCode.INVALID_REQUEST, Blame.PROMPT),
    (500, 'invalid format: "\\"xml\\""', ErrorCode.INVALID_REQUEST, Blame.PROMPT),
    (500, "template: :1: unclosed action", ErrorCode.INVALID_REQUEST, Blame.PROMPT),
    (500, "model runner has unexpectedly stopped", ErrorCode.SERVER_ERROR, Blame.ATTEMPT),
    (500, "unexpected server status: 5", ErrorCode.SERVER_ERROR, Blame.ATTEMPT),
    (500, "timed out waiting for llama-server to start", ErrorCode.SERVER_ERROR, Blame.ATTEMPT),
    (500, "llama-server reported out-of-memory", ErrorCode.SERVER_ERROR, Blame.ATTEMPT),
    (500, "this model may be incompatible with", ErrorCode.SERVER_ERROR, Blame.PROMPT),
    (500, 'tensor "o" exceeds file size (7)', ErrorCode.SERVER_ERROR, Blame.PROMPT),
    (501, "this model cannot embed", ErrorCode.INVALID_REQUEST, Blame.PROMPT),
    (502, "cloud model unreachable", ErrorCode.SERVER_ERROR, Blame.ATTEMPT),
    (503, "server busy, please try again.", ErrorCode.SERVER_BUSY, Blame.HOST),
]


@pytest.mark.parametrize(("status", "words", "code", "blame"), OLLAMA_ANSWERS)
def test_every_refusal_of_ollama_is_told_by_its_code_and_words(status, words, code, blame) -> None:
    failed = failed_answer(URL, status, json.dumps({"error": words}).encode())
    assert (failed.code, failed.blame) == (code, blame)
    assert words in failed.message
    assert str(status) in failed.message


@pytest.mark.parametrize(
    ("status", "body", "code", "blame", "says"),
    [
        (302, b"", ErrorCode.HOST_REFUSED, Blame.REFUSAL, "redirects"),
        (403, b"", ErrorCode.HOST_REFUSED, Blame.REFUSAL, "denies"),
        (404, b"404 page not found", ErrorCode.HOST_REFUSED, Blame.REFUSAL, "no Ollama API"),
        (408, b"", ErrorCode.TIMEOUT, Blame.ATTEMPT, "gave up"),
        (
            502,
            b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
            ErrorCode.HOST_UNREACHABLE,
            Blame.GATEWAY,
            "502 Bad Gateway",
        ),
        (503, b"<title>503</title>", ErrorCode.HOST_UNREACHABLE, Blame.GATEWAY, "gave up"),
        (503, b"", ErrorCode.HOST_UNREACHABLE, Blame.GATEWAY, "gave up"),
        (504, b"upstream timed out", ErrorCode.TIMEOUT, Blame.GATEWAY, "upstream"),
        (504, b"", ErrorCode.TIMEOUT, Blame.GATEWAY, "proxy_read_timeout"),
        (521, b"", ErrorCode.HOST_UNREACHABLE, Blame.GATEWAY, "gave up"),
        (524, b"<html>", ErrorCode.TIMEOUT, Blame.GATEWAY, "gave up"),
        (599, b"\xff\xfe", ErrorCode.TIMEOUT, Blame.GATEWAY, "gave up"),
        (429, b"<title>429</title>", ErrorCode.SERVER_BUSY, Blame.LIMIT, "limits"),
        (510, b"\xff\xfe", ErrorCode.SERVER_ERROR, Blame.ATTEMPT, "failed"),
        (401, b"", ErrorCode.HOST_REFUSED, Blame.REFUSAL, "sign-in"),
        (405, b"", ErrorCode.HOST_REFUSED, Blame.REFUSAL, "no Ollama API"),
        (501, b"<title>x</title>", ErrorCode.HOST_REFUSED, Blame.REFUSAL, "no Ollama API"),
        (413, b"", ErrorCode.INVALID_REQUEST, Blame.PROMPT, "refused"),
        (200 + 26, b"", ErrorCode.HOST_REFUSED, Blame.REFUSAL, "no Ollama API"),
        (601, b"", ErrorCode.SERVER_ERROR, Blame.ATTEMPT, "unexpected"),
    ],
)
def test_what_a_proxy_says_is_not_taken_for_ollamas_word(status, body, code, blame, says) -> None:
    failed = failed_answer(URL, status, body)
    assert (failed.code, failed.blame) == (code, blame)
    assert says in failed.message


@pytest.mark.parametrize(("after_s", "says"), [(60.02, "60 s"), (2.04, "2 s"), (0.12, "0.12 s")])
@pytest.mark.parametrize("status", [502, 503, 504, 520, 524])
def test_a_proxy_that_gave_up_is_told_with_the_seconds_that_it_took(status, after_s, says) -> None:
    failed = failed_answer(URL, status, b"<title>A page</title>", after_s=after_s)
    assert f"A proxy before the host gave up after about {says} ({URL} answered" in failed.message
    assert "A page" in failed.message


@pytest.mark.parametrize("status", [502, 503, 504, 524])
def test_what_ollama_itself_says_under_the_status_of_a_proxy_is_no_proxys(status) -> None:
    failed = failed_answer(URL, status, b'{"error":"the cloud is away"}', after_s=3.0)
    assert failed.blame is not Blame.GATEWAY
    assert "proxy" not in failed.message


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error":"unauthorized","signin_url":"https://ollama.com/connect?name=x"}'),
        (403, b'{"error":"ollama cloud is disabled: remote model is unavailable"}'),
        (403, b'{"error":"no subscription","signin_url":"https://ollama.com/connect"}'),
    ],
)
def test_the_refusal_of_a_cloud_model_is_not_the_hosts(status: int, body: bytes) -> None:
    failed = failed_answer(URL, status, body)
    assert (failed.code, failed.blame) == (ErrorCode.HOST_REFUSED, Blame.PROMPT)


def test_every_status_has_a_row() -> None:
    assert all(any(status in rule.statuses for rule in ANSWERS) for status in range(100, 600))


def test_every_break_and_every_timeout_has_a_verdict() -> None:
    assert set(BREAKS) == set(Break)
    assert set(TIMEOUTS) == set(Timeout)


def test_words_of_a_server_are_one_line_of_bounded_length() -> None:
    failed = failed_break(Break.ERROR_LINE, "first\nsecond\x00 " + "x" * 100_000)
    assert "\n" not in failed.message
    assert "\x00" not in failed.message
    assert len(failed.message) < 700


def test_a_timeout_tells_which_one_and_how_long() -> None:
    failed = failed_timeout(URL, Timeout.BETWEEN_CHUNKS, 120.0)
    assert "120 s" in failed.message
    assert "between chunks" in failed.message


def test_a_pull_of_what_no_registry_has_is_a_missing_model() -> None:
    assert failed_pull("pull model manifest: file does not exist").code is ErrorCode.MODEL_NOT_FOUND
    assert failed_pull("max retries exceeded: EOF").code is ErrorCode.SERVER_ERROR


@pytest.mark.parametrize("name", TABLES)
def test_the_page_shows_the_table_as_the_code_has_it(name) -> None:
    marked = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", PAGE.read_text(), re.DOTALL)
    assert marked is not None
    assert marked[1] == TABLES[name]()

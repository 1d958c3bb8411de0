"""Requests that no honest client sends, over a bare socket: each is refused, and nobody suffers."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.process.conftest import Service

pytestmark = pytest.mark.proof

KEY = "a-key-for-a-test-of-the-door"
BEARER = f"Authorization: Bearer {KEY}\r\n"


def send(url: str, request: str | bytes) -> bytes:
    """What the service answers to these bytes, until it closes the connection."""
    address = urlsplit(url)
    answer = b""
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        try:
            connection.sendall(request.encode("latin-1") if isinstance(request, str) else request)
            while part := connection.recv(65536):
                answer += part
        except ConnectionError:
            pass  # It was refused before all of it was sent.
    return answer


def get(path: str, *headers: str) -> str:
    lines = "".join(f"{header}\r\n" for header in ("Connection: close", *headers))
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n"


def test_the_door_holds_against_requests_that_no_honest_client_sends(
    serve: Callable[..., Service], simulate: Callable[..., object], tmp_path: Path
) -> None:
    host, _ = simulate()
    log = tmp_path / "serve.log"
    with log.open("w") as stderr:
        service = serve(
            host,
            stderr=stderr,
            PROMPTMILL_API_KEYS=f"alice={KEY}:admin",
            PROMPTMILL_ALLOWED_HOSTS="mill.example",
            PROMPTMILL_LOG_LEVEL="info",
        )
        url = str(service.http.base_url)
        own = ("Host: localhost", BEARER.strip())

        assert send(url, get("/batches", *own)).startswith(b"HTTP/1.1 200 ")
        for refused in (
            get("/batches", *own, "Host: localhost"),
            get("/batches", BEARER.strip()),
            get("/batches", "Host: localhost, evil.example", BEARER.strip()),
            get("/batches", *own, "Content-Length: 5", "Transfer-Encoding: chunked"),
            get("/batches", *own, "Content-Length: 5", "Content-Length: 6"),
            get("/batches", *own, "Content-Length : 0"),
            get("/batches", *own, "X-Folded: a\r\n b: c\r\n\x00d: e"),
            "GET /batches HTTP/1.1\nHost: localhost\n\x00\n\n",
        ):
            assert send(url, refused).startswith(b"HTTP/1.1 400 "), refused
        for path in (
            "//batches",
            "/batches/",
            "/./batches",
            "/x/../batches",
            "/batches%2f",
            "/%2fbatches",
            "/batches;a",
            "/BATCHES",
        ):
            assert send(url, get(path, "Host: localhost")).startswith(b"HTTP/1.1 401 "), path
            assert send(url, get(path, *own)).startswith(b"HTTP/1.1 404 "), path
        for path in ("/ui/assets/%2e%2e/main.py", "/ui/assets/x/..%2f..%2fmain.py"):
            assert b" 404 " in send(url, get(path, *own)).split(b"\r\n", 1)[0]
        foreign = send(url, get("http://localhost/batches", "Host: evil.example", BEARER.strip()))
        assert foreign.startswith(b"HTTP/1.1 421 ")

        huge = send(url, get("/health", "Host: localhost", f"X-Filler: {'x' * 8_000_000}"))
        assert huge.startswith(b"HTTP/1.1 400 ") or not huge
        body = json.dumps({"model": "tiny", "prompts": ["a"]})
        trailers = (
            "POST /batches HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            f"{len(body):x}\r\n{body}\r\n0\r\n{BEARER}\r\n"
        )
        assert send(url, trailers).startswith(b"HTTP/1.1 401 ")
        bomb = "POST /batches HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + BEARER
        bomb += "Content-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nxx"
        assert send(url, bomb).startswith(b"HTTP/1.1 415 ")

        escapes = send(url, get("/batches/%1b%5b2J%0aforged%20line", *own))
        assert escapes.startswith(b"HTTP/1.1 404 ")
        assert send(url, get("/health", "Host: localhost")).startswith(b"HTTP/1.1 200 ")
    told = log.read_text()
    assert "\x1b" not in told
    assert not any(line.startswith("forged") for line in told.splitlines())
    assert KEY not in told

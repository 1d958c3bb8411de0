"""The service behind nginx, with the very snippet of docs/operations/behind-a-proxy.md.

`NGINX_UPLOAD_MIB=1024` sends as much as that; the usual size shows the same.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.process.conftest import Service

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]
TLS = ROOT / "tests" / "data" / "tls"
KEY = "a-key-for-a-test-of-proxies"
LINE_BYTES = 64 * 1024
UPLOAD_MIB = int(os.environ.get("NGINX_UPLOAD_MIB", "32"))
LONGER_THAN_NGINX_WAITS_S = 63
"""A proxy that was told nothing waits 60 s for an answer."""


def snippet() -> str:
    page = (ROOT / "docs" / "operations" / "behind-a-proxy.md").read_text()
    found = re.search(r"```nginx\n(.*?)```", page, re.DOTALL)
    assert found is not None
    return found[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for before, after in pairs:
        assert before in text, f"the page has no {before!r} any more"
        text = text.replace(before, after)
    return text


@contextmanager
def nginx(folder: Path, service_url: str) -> Iterator[str]:
    """nginx as the page says, at a free port; the address of the service behind it."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("there is no nginx; on Debian `apt-get install nginx` brings it")
    port = free_port()
    server = replaced(
        snippet(),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/mill.example.com.pem", str(TLS / "certificate.pem")),
        ("/etc/ssl/mill.example.com.key", str(TLS / "key.pem")),
        ("http://127.0.0.1:8000/", f"{service_url}/"),
    )
    places = "".join(
        f"{name}_temp_path {folder / name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {folder / 'nginx.pid'};\n"
        f"error_log {folder / 'nginx.log'} warn;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{places}{server}\n}}\n"
    )
    process = subprocess.Popen([program, "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    try:
        until(lambda: connects(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "nginx.log").read_text()
        yield f"https://mill.example.com:{port}/promptmill"
    finally:
        process.kill()
        process.wait()


def connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def client(url: str, *, address: str = "127.0.0.1", key: str = KEY) -> httpx.Client:
    """A client at that address of this machine, for which the name points here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    port = httpx.URL(url).port
    return httpx.Client(
        base_url=url.replace(f"mill.example.com:{port}", f"127.0.0.1:{port}"),
        transport=httpx.HTTPTransport(verify=context, local_address=address),
        headers={"Host": f"mill.example.com:{port}", "Authorization": f"Bearer {key}"},
        timeout=120,
    )


def test_the_snippet_of_the_documentation_serves_streams_long_polls_uploads_and_logins(
    serve: Callable[..., Service], simulate: Callable[..., Any], tmp_path: Path
) -> None:
    host, _ = simulate()
    log = tmp_path / "serve.log"
    with log.open("w") as stderr, ThreadPoolExecutor() as threads:
        service = serve(
            host,
            stderr=stderr,
            PROMPTMILL_ROOT_PATH="/promptmill",
            PROMPTMILL_TRUSTED_PROXIES="127.0.0.1",
            PROMPTMILL_ALLOWED_HOSTS="mill.example.com",
            PROMPTMILL_API_KEYS=f"alice={KEY}:admin",
            PROMPTMILL_LOG_LEVEL="info",
        )
        with (
            nginx(tmp_path, str(service.http.base_url).rstrip("/")) as url,
            client(url) as http,
            client(url, address="127.0.0.2", key="wrong-wrong-wrong-wrong") as stranger,
        ):
            batch = http.post("/batches", json={"model": "tiny", "prompts": ["a"] * 50})
            assert batch.status_code == 202, batch.text
            location = batch.headers["location"]
            assert location == f"/promptmill/batches/{batch.json()['id']}"
            one = f"/batches/{batch.json()['id']}"
            assert http.post(f"{one}/pause").status_code == 202
            waiting = threads.submit(http.get, one, params={"wait_s": LONGER_THAN_NGINX_WAITS_S})

            streams_come_as_they_are_made(http, one)
            uploads_go_as_they_are_sent(http, service)
            pages_log_in_over_https(http, url)
            addresses_are_those_of_the_clients(http, stranger)
            assert http.get("/nowhere").json()["type"] == "/promptmill/problems/not-found"

            waited = waiting.result()
            assert (waited.status_code, waited.json()["status"]) == (200, "paused")
    assert "client=127.0.0.2" in log.read_text()


def streams_come_as_they_are_made(http: httpx.Client, one: str) -> None:
    # The batch is paused, so that the stream has no end: what is buffered would never come.
    with http.stream("GET", f"{one}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert next(line for line in stream.iter_lines() if line.startswith("event:"))


def uploads_go_as_they_are_sent(http: httpx.Client, service: Service) -> None:
    line = json.dumps("x" * LINE_BYTES).encode() + b"\n"
    number = UPLOAD_MIB * 1024 * 1024 // len(line)
    metrics = {"Authorization": f"Bearer {KEY}", "Host": "mill.example.com"}

    def database_bytes() -> float:
        told = service.http.get("/promptmill/metrics", headers=metrics).text
        return float(re.findall(r"^promptmill_wal_bytes (\S+)", told, re.MULTILINE)[0])

    def body() -> Iterator[bytes]:
        before = database_bytes()
        for _ in range(number // 2):
            yield line
        # The first half is stored before the second is sent: the proxy holds nothing back.
        until(lambda: database_bytes() != before)
        for _ in range(number - number // 2):
            yield line

    response = http.post(
        "/batches",
        params={"model": "tiny", "expires_in_s": 1},
        content=body(),
        headers={"Content-Type": "application/x-ndjson"},
    )

    assert response.status_code == 202, response.text
    assert response.json()["counts"]["total"] == number


def pages_log_in_over_https(http: httpx.Client, url: str) -> None:
    origin = url.removesuffix("/promptmill")
    without_key = {"Authorization": "", "Accept": "text/html"}
    sent_on = http.get("/ui/batches", headers=without_key)
    assert sent_on.headers["location"] == "/promptmill/ui/login?next=/ui/batches"
    login = http.post(
        "/ui/login",
        data={"key": KEY, "next": "/ui/batches"},
        headers={**without_key, "Origin": origin},
    )

    assert (login.status_code, login.headers["location"]) == (303, "/promptmill/ui/batches")
    cookie = login.headers["set-cookie"]
    assert "; Secure" in cookie
    assert "HttpOnly" in cookie
    assert "Path=/promptmill;" in cookie
    http.cookies.clear()
    foreign = http.post("/ui/login", data={"key": KEY}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403


def addresses_are_those_of_the_clients(http: httpx.Client, stranger: httpx.Client) -> None:
    forged = {"X-Forwarded-For": "127.0.0.1"}
    refused = [stranger.get("/batches", headers=forged).status_code for _ in range(6)]

    assert refused == [401] * 5 + [429]
    assert http.get("/batches").status_code == 200

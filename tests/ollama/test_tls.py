"""Hosts behind TLS: what is said of a certificate that is not trusted, and how it comes to be."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from promptmill.domain.calls import Call
from promptmill.domain.errors import Unavailable
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Succeeded
from promptmill.manager import OllamaManager
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.hosts import Host
from promptmill.ollama.transport import CertificatesError
from promptmill.runtime import open_resources
from promptmill.settings import Settings

FOLDER = Path(__file__).parents[1] / "data" / "tls"
CERTIFICATE = FOLDER / "certificate.pem"
"""Signed by itself, for the address 127.0.0.1 and nothing else, good for a hundred years."""
ANSWER = b'{"model":"m","response":"yes","version":"1","done":true}\n'


@contextlib.asynccontextmanager
async def host_behind_tls() -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [
            int(one.split(b":")[1]) for one in head.split(b"\r\n") if b"length" in one.lower()
        ]
        await reader.readexactly(sum(length))
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + ANSWER)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, FOLDER / "key.pem")
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def told_by(url: str) -> list[str]:
    """What every way to a host says of it: a prompt, a look, and both clients of the manager."""
    client = OllamaClient(url)
    host = Host(client)
    outcome = await host.run(Call(model="m", prompt="x"))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.blame) == (ErrorCode.HOST_UNREACHABLE, Blame.HOST)
    with pytest.raises(OllamaError) as caught:
        await client.version()
    await client.aclose()
    manager = OllamaManager(url)
    (result,) = await manager.batch_generate(["x"], model="m")
    figures = await asyncio.to_thread(manager.benchmark_model, "m")
    return [outcome.message, str(caught.value), result["error"], figures["error"]]


async def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do() -> None:
    async with host_behind_tls() as port:
        url = f"https://127.0.0.1:{port}"
        for message in await told_by(url):
            assert message.startswith(f"No secure connection to {url} could be made: ")
            assert "certificate verify failed: self-signed certificate; " in message
            assert "set SSL_CERT_FILE to its certificate" in message
            assert "not permitted" not in message


async def test_a_certificate_that_the_environment_names_is_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with host_behind_tls() as port:
        client = OllamaClient(f"https://127.0.0.1:{port}")
        assert isinstance(await client.run(Call(model="m", prompt="x")), Succeeded)
        await client.aclose()
        manager = OllamaManager(f"https://127.0.0.1:{port}")
        assert await asyncio.to_thread(manager.check_ollama_running)


async def test_a_certificate_of_another_name_is_not_helped_by_trusting_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    async with host_behind_tls() as port:
        for message in await told_by(f"https://localhost:{port}"):
            assert "certificate verify failed: " in message
            assert "not valid for 'localhost'" in message
            assert message.endswith("give the host the name that its certificate is for")


async def test_a_host_that_speaks_plain_http_is_told_from_one_with_a_bad_certificate() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        for message in await told_by(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"):
            assert message.endswith("the host may speak plain HTTP: write http://")


@pytest.mark.parametrize("named", ["/nonexistent", "/etc/passwd", "/etc"])
async def test_certificates_that_cannot_be_read_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, named: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", named)
    with pytest.raises(CertificatesError, match="SSL_CERT_FILE"):
        OllamaManager("https://gpu")
    settings = Settings(ollama_host="https://gpu", database_url=sqlite_url)
    with pytest.raises(Unavailable, match=r"https://gpu:443 can be made: .* SSL_CERT_FILE"):
        async with open_resources(settings):
            pass
    assert OllamaManager("http://gpu").base_url == "http://gpu:80"

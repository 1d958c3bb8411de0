"""Transport of the client: httpx's interface over aiohttp's connections."""

from __future__ import annotations

import contextlib
import ssl
from typing import cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from promptmill.domain.hosts.credentials import Credentials

_KEEPALIVE_S = 4.0
"""Seconds until an idle connection is closed, before uvicorn (5 s) or a proxy closes it.

A prompt sent on a connection that is just being closed would count as a failed attempt.
"""

HEADERS = {
    "Accept": "application/x-ndjson",
    # A compressed stream would be delayed until the compressor's block is full.
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "promptmill",
}
"""Headers of every request, set in the session, because httpx takes 7 µs per call to copy them."""


class CertificatesError(ValueError):
    """The certificates that the environment names cannot be read."""


def open_transport(
    base_url: str, *, credentials: Credentials | None = None
) -> httpx.AsyncBaseTransport:
    """Build a transport to one server; no connection is opened before the first request.

    Connections are not limited, because callers have limits. No proxy and no password file is taken
    from the environment, since prompts go where the address says and nowhere else; the certificates
    of `SSL_CERT_FILE` and `SSL_CERT_DIR` are used. Redirects are not followed, so that a key goes
    to this server only.
    """
    context = tls_for(base_url)
    headers = headers_with(credentials)

    def open_session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, ssl=context, keepalive_timeout=_KEEPALIVE_S, enable_cleanup_closed=False
            ),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    return AiohttpTransport(verify=context, trust_env=False, client=open_session)


def headers_with(credentials: Credentials | None) -> dict[str, str]:
    """Headers of every request to a host with these credentials."""
    if credentials is None:
        return HEADERS
    return HEADERS | {"Authorization": credentials.authorization}


def tls_for(base_url: str) -> ssl.SSLContext:
    """TLS context for an address, with the certificates of certifi or of the environment.

    For `http` it is empty and unused, which saves reading the certificates (20 ms).

    Raises:
        CertificatesError: The certificates of SSL_CERT_FILE or SSL_CERT_DIR cannot be read.
    """
    if base_url.startswith("https:"):
        try:
            return httpx.create_ssl_context()
        except OSError as error:
            words = error.strerror if not isinstance(error, ssl.SSLError) else error.reason
            raise CertificatesError(
                "the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read:"
                f" {(words or str(error)).replace('_', ' ').lower()}"
            ) from None
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def stream_of(response: httpx.Response) -> httpx.AsyncByteStream:
    """Bytes of a response as they arrive, neither decoded nor counted."""
    return cast("httpx.AsyncByteStream", response.stream)


def is_encoded(response: httpx.Response) -> bool:
    """Whether the body is compressed, although `Accept-Encoding` excludes it."""
    # `"…" in headers` would decode every name.
    return any(name.lower() == b"content-encoding" for name, _ in response.headers.raw)


async def close_answer(response: httpx.Response) -> None:
    """Close a response, whatever the state of its connection."""
    # An error while closing says nothing about the answer.
    with contextlib.suppress(Exception):
        await stream_of(response).aclose()

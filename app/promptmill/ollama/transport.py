"""The network under the client: httpx's transport interface over aiohttp's connections."""

from __future__ import annotations

import contextlib
import ssl
from typing import cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from promptmill.domain.hosts.credentials import Credentials

_KEEPALIVE_S = 4.0
"""An idle connection is closed after this, before a server behind uvicorn (5 s) or a proxy does:
a prompt sent on a connection that is just being closed would count as a failed attempt."""

HEADERS = {
    "Accept": "application/x-ndjson",
    # A compressed stream would be held back until the compressor's block is full.
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "promptmill",
}
"""Of every request; in the session, since httpx takes 7 µs per call to copy and decode them."""


class CertificatesError(ValueError):
    """The certificates that the environment names cannot be read."""


def open_transport(
    base_url: str, *, credentials: Credentials | None = None
) -> httpx.AsyncBaseTransport:
    """A transport to one server; nothing is opened before its first request.

    Connections are not limited, the callers' limits are the limit. No proxy and no password file
    is taken from the environment, since prompts go where the address says and nowhere else; the
    certificates of `SSL_CERT_FILE` and `SSL_CERT_DIR` are. Redirects are not followed, so a key
    goes to this server and to no other.
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
    """The headers of every request to a host that wants these credentials."""
    if credentials is None:
        return HEADERS
    return HEADERS | {"Authorization": credentials.authorization}


def tls_for(base_url: str) -> ssl.SSLContext:
    """What checks the certificate of an `https` address, against certifi's or the environment's.

    For `http` an empty one, which is never used and spares reading the certificates (20 ms).

    Raises:
        CertificatesError: What SSL_CERT_FILE or SSL_CERT_DIR names cannot be read.
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
    """The bytes of an answer as they come, neither decoded nor counted."""
    return cast("httpx.AsyncByteStream", response.stream)


def is_encoded(response: httpx.Response) -> bool:
    """Whether the body is compressed, although `Accept-Encoding` says not to."""
    # `"…" in headers` would decode every name.
    return any(name.lower() == b"content-encoding" for name, _ in response.headers.raw)


async def close_answer(response: httpx.Response) -> None:
    """Close an answer, whatever has become of its connection."""
    # An error while closing says nothing about the answer.
    with contextlib.suppress(Exception):
        await stream_of(response).aclose()

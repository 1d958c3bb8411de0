"""The network under the client: httpx's transport interface over aiohttp's connections."""

from __future__ import annotations

import ssl

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

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


def open_transport(base_url: str, *, api_key: str | None = None) -> httpx.AsyncBaseTransport:
    """A transport to one server; nothing is opened before its first request.

    Connections are not limited, the callers' limits are the limit. No proxy and no password file
    is taken from the environment, since prompts go where the address says and nowhere else; the
    certificates of `SSL_CERT_FILE` and `SSL_CERT_DIR` are. Redirects are not followed, so a key
    goes to this server and to no other.
    """
    context = tls_for(base_url)
    headers = HEADERS if api_key is None else HEADERS | {"Authorization": f"Bearer {api_key}"}

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


def tls_for(base_url: str) -> ssl.SSLContext:
    """What checks the certificate of an `https` address, against certifi's or the environment's.

    For `http` an empty one, which is never used and spares reading the certificates (20 ms).
    """
    if base_url.startswith("https:"):
        return httpx.create_ssl_context()
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

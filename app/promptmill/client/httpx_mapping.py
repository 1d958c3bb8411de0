"""Mapping of requests to httpx, and of httpx's responses and errors to this library."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from promptmill.client.errors import PromptmillError, ServiceUnreachable, UnexpectedAnswer
from promptmill.client.judgement import BrokenOff
from promptmill.client.requests.batches import Answer, Request

CONNECT_TIMEOUT_S: Final = 5.0

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def checked_base_url(base_url: str) -> httpx.URL:
    """Parse the address of a service, without the slash at its end.

    Raises:
        ValueError: The address is not an http or https URL.
    """
    try:
        url = httpx.URL(base_url.rstrip("/"))
    except httpx.InvalidURL as error:
        raise ValueError(f"{base_url!r} is not a URL: {error}") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"{base_url!r} must be a URL such as http://127.0.0.1:8000")
    _require_name(url.host, f"{base_url!r} is not a URL of a host")
    return url


def _require_name(host: str, otherwise: str) -> None:
    """Refuse a name that the system cannot even look up: it would raise what httpx does not map."""
    try:
        host.encode("idna")
    except UnicodeError as error:
        raise ValueError(f"{otherwise}: {error}") from None


def require_proxies() -> None:
    """Make sure that the proxies of the environment have names that can be looked up.

    Raises:
        ValueError: One has not.
    """
    for scheme, address in getproxies().items():
        if scheme != "no":
            host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
            _require_name(host, f"the proxy for {scheme} has no name of a host")


def proxy_of(url: httpx.URL) -> str | None:
    """The variable that names the proxy between here and an address; None without a proxy."""
    if not trusts_environment(url) or proxy_bypass(url.host):
        return None
    named = getproxies()
    return next((f"{one.upper()}_PROXY" for one in (url.scheme, "all") if named.get(one)), None)


def headers_of(api_key: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Build the headers that are sent with every request.

    Raises:
        ValueError: The key has characters that a header cannot hold.
    """
    own = {"user-agent": "promptmill-client"}
    if api_key is not None:
        if not (api_key.isascii() and api_key.isprintable() and api_key.strip() == api_key):
            raise ValueError("The API key must have visible ASCII characters only.")
        own["authorization"] = f"Bearer {api_key}"
    return {**own, **(headers or {})}


def trusts_environment(url: httpx.URL) -> bool:
    """Whether the environment's proxies apply; never to this machine, which no proxy can reach."""
    if url.host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return True


def arguments_of(request: Request[Any], timeout_s: float) -> dict[str, Any]:
    """Arguments of `httpx.Client.build_request` for a request."""
    return {
        "method": request.method,
        "url": request.path,
        "params": list(request.query) or None,
        "headers": dict(request.headers),
        "content": request.content,
        "timeout": httpx.Timeout(
            timeout_s + request.held_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)
        ),
    }


def async_arguments_of(request: Request[Any], timeout_s: float) -> dict[str, Any]:
    """Arguments of `httpx.AsyncClient.build_request`, whose blocks are an async iterator."""
    arguments = arguments_of(request, timeout_s)
    if request.content is not None and not isinstance(request.content, bytes):
        arguments["content"] = _asynchronous(request.content)
    return arguments


async def _asynchronous(blocks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


def answer_of(response: httpx.Response) -> Answer:
    """Convert a response that was read."""
    return Answer(
        status=response.status_code,
        headers={name.lower(): value for name, value in response.headers.items()},
        content=response.content,
    )


def broken_off(error: httpx.RequestError) -> BrokenOff:
    """Describe a request that ended in an error of httpx."""
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        reason = "no connection could be made in time"
    elif isinstance(error, httpx.TimeoutException):
        reason = "it did not answer in time"
    elif isinstance(error, httpx.ConnectError):
        reason = f"no connection could be made ({error})"
    else:
        reason = f"the connection broke ({error or type(error).__name__})"
    return BrokenOff(reason=reason, was_sent=not isinstance(error, _NEVER_SENT))


def stream_error(error: httpx.RequestError) -> PromptmillError:
    """Build the error to raise when a stream breaks off."""
    if isinstance(error, httpx.DecodingError):
        return UnexpectedAnswer(f"The answer cannot be decoded: {error}")
    return ServiceUnreachable(broken_off(error).reason)

"""Rules that protect the service from web pages, by a request's Host, Origin and Sec-Fetch headers.

A page of another site that a user has open can send requests to a service on the user's own
machine. Such a page cannot read the answers, unless its name is made to point to that machine (DNS
rebinding), but what the page asks for would be done. One pure function, `judge`, decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from promptmill.domain.access.authority import Authority, parse_authority
from promptmill.domain.errors import CrossOrigin, HostNotAllowed, MalformedHost

ANY_ORIGIN: Final = "*"
_DEFAULT_PORT: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules for web pages that the settings define."""

    needs_key: bool = False
    """Whether API keys exist; a page of another site has none."""
    allowed_hosts: Sequence[Authority] = ()
    """Names under which the service is reached, beside its addresses and `localhost`."""
    cors_origins: frozenset[str] = frozenset()
    """Origins whose pages may use the API, or `*`."""

    def trusts(self, origin: str) -> bool:
        """Whether pages of an origin may use the API."""
        if origin == "null":
            return False
        return origin in self.cors_origins or (self.needs_key and ANY_ORIGIN in self.cors_origins)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The parts of a request that show where it was sent from."""

    method: str = "GET"
    hosts: Sequence[str] = ("127.0.0.1:8000",)
    """Values of all `Host` headers; a valid request has exactly one."""
    origin: str | None = None
    fetch_site: str | None = None
    fetch_mode: str | None = None
    fetch_dest: str | None = None
    is_page: bool = False
    """Whether the path is a page for people, such as `/docs`."""


@dataclass(frozen=True, slots=True)
class Let:
    """Ruling that lets the request through."""

    cors_origin: str | None = None
    """Foreign origin whose page may read the response; None without one."""


Ruling = Let | MalformedHost | HostNotAllowed | CrossOrigin
"""Decision about a request: `Let`, or the error to respond with."""
_MALFORMED: Final = "The request must have exactly one Host header, of the form name or name:port."
_CROSS_ORIGIN: Final = (
    "A web page of another origin has sent this request, and only the service's own pages may. To"
    " let a page use the API, the operator adds its origin to PROMPTMILL_CORS_ORIGINS."
)


def judge(asked: Asked, policy: Policy) -> Ruling:
    """Decide about a request; the rules are numbered as in docs/operations/behind-a-proxy.md."""
    # 1
    host = parse_authority(asked.hosts[0]) if len(asked.hosts) == 1 else None
    if host is None:
        return MalformedHost(_MALFORMED)
    # 2
    if not _may_be_called(host, policy):
        return HostNotAllowed(
            f"The service does not answer under the name `{host.name[:100]}`. If that name is its"
            " own, the operator adds it to PROMPTMILL_ALLOWED_HOSTS; IP addresses and localhost"
            " need no setting."
        )
    # 3
    if asked.origin is not None and policy.trusts(asked.origin):
        return Let(cors_origin=asked.origin)
    # 4 and 5
    if asked.fetch_site is not None:
        is_own = asked.fetch_site in {"same-origin", "none"}
        return Let() if is_own or _opens_a_page(asked) else CrossOrigin(_CROSS_ORIGIN)
    # 6
    if asked.origin is not None:
        return Let() if _is_own_origin(asked.origin, host, policy) else CrossOrigin(_CROSS_ORIGIN)
    # 7
    return Let()


def _may_be_called(host: Authority, policy: Policy) -> bool:
    if any(allowed.fits(host) for allowed in policy.allowed_hosts):
        return True
    if policy.needs_key:
        return not policy.allowed_hosts or host.is_address or host.is_localhost
    return host.is_address or host.is_localhost


def _opens_a_page(asked: Asked) -> bool:
    """Whether the request opens one of the service's pages in a tab, as following a link does."""
    return (
        asked.is_page
        and asked.method == "GET"
        and asked.fetch_mode == "navigate"
        and asked.fetch_dest == "document"
    )


def _is_own_origin(origin: str, host: Authority, policy: Policy) -> bool:
    scheme, _, rest = origin.partition("://")
    default_port = _DEFAULT_PORT.get(scheme)
    found = parse_authority(rest)
    if default_port is None or found is None:
        return False
    same_port = (found.port or default_port) == (host.port or default_port)
    # A proxy may have put another Host in; the names that the operator has given are ours too.
    return (found.name == host.name and same_port) or any(
        allowed.fits(found) for allowed in policy.allowed_hosts
    )


_EVERYWHERE: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_PAGE: Final = (*_EVERYWHERE, (b"cross-origin-opener-policy", b"same-origin"))
_CORS_PREFLIGHT: Final[Mapping[str, str]] = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key, Last-Event-ID,"
    " X-Request-ID",
    "Access-Control-Max-Age": "600",
}
_CORS_READABLE: Final = "Location, Retry-After, X-Request-ID, Idempotent-Replayed"


def safety_headers(given: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers that make an answer safe in a browser, without those that it has already.

    `given` are the headers of the answer, with names in lower case, as in ASGI.
    """
    own = dict(given)
    is_page = own.get(b"content-type", b"").startswith(b"text/html")
    return [header for header in (_PAGE if is_page else _EVERYWHERE) if header[0] not in own]


def cors_headers(origin: str, *, preflight: bool) -> Mapping[str, str]:
    """CORS headers that let a page of a trusted origin read a response; never with credentials."""
    shared = {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Expose-Headers": _CORS_READABLE,
        "Vary": "Origin",
    }
    return shared | (_CORS_PREFLIGHT if preflight else {})

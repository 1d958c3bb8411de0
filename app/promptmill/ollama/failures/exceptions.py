"""Rows of the failure table for exceptions of the transport.

Two tests hold the table complete: one fails if httpx or aiohttp has an exception without a row,
another compares it with `docs/ollama-failures.md`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from enum import Enum

import aiohttp
import httpx

from promptmill.domain.outcomes import Failed
from promptmill.ollama.failures import verdicts
from promptmill.ollama.failures.table import Timeout, failed_timeout
from promptmill.ollama.failures.verdicts import FailureMeaning
from promptmill.ollama.failures.wording import WORDS_BOUND
from promptmill.ollama.text import one_line


class CallPhase(Enum):
    """Progress of a call at the moment of a failure."""

    ASKED = "before any answer"
    ANSWERING = "during the answer"


@dataclass(frozen=True, slots=True)
class ExceptionRule:
    """Row of `EXCEPTIONS`: the meaning before any answer, and during one."""

    before: FailureMeaning
    during: FailureMeaning
    meaning: str


_NO_CONNECTION = ExceptionRule(verdicts.GONE, verdicts.GONE, "No connection to {url} could be made")
_NO_TLS = ExceptionRule(verdicts.GONE, verdicts.GONE, "No secure connection to {url} could be made")
_NO_CONNECTION_IN_TIME = ExceptionRule(
    verdicts.NOT_CONNECTED, verdicts.NOT_CONNECTED, "No connection to {url} could be made in time"
)
_TOO_LATE = ExceptionRule(verdicts.LATE, verdicts.LATE, "{url} did not go on in time")
_BREAK = ExceptionRule(verdicts.BROKEN, verdicts.CUT, "The connection to {url} broke")
_NOT_HTTP = ExceptionRule(verdicts.ERROR, verdicts.CUT, "{url} did not answer in proper HTTP")
_OUR_REQUEST = ExceptionRule(
    verdicts.INVALID, verdicts.INVALID, "The request to {url} could not be formed"
)
_BUG = ExceptionRule(
    verdicts.ERROR, verdicts.ERROR, "The call to {url} failed in an unexpected way"
)

EXCEPTIONS: dict[type[BaseException], ExceptionRule] = {
    # httpx, the whole tree. With the aiohttp transport most of these only wrap an exception of
    # aiohttp, and not always the right one (a server that disconnects is a `ConnectTimeout`):
    # `failed_exception` therefore looks at the cause first.
    httpx.HTTPError: _BUG,
    httpx.RequestError: _BREAK,
    httpx.TransportError: _BREAK,
    httpx.TimeoutException: _TOO_LATE,
    httpx.ConnectTimeout: _NO_CONNECTION_IN_TIME,
    httpx.ReadTimeout: _TOO_LATE,
    httpx.WriteTimeout: _TOO_LATE,
    httpx.PoolTimeout: _NO_CONNECTION_IN_TIME,
    httpx.NetworkError: _BREAK,
    httpx.ConnectError: _NO_CONNECTION,
    httpx.ReadError: _BREAK,
    httpx.WriteError: _BREAK,
    httpx.CloseError: _BREAK,
    httpx.ProtocolError: _NOT_HTTP,
    httpx.LocalProtocolError: _OUR_REQUEST,
    httpx.RemoteProtocolError: _BREAK,
    httpx.ProxyError: _NO_CONNECTION,
    httpx.UnsupportedProtocol: _OUR_REQUEST,
    httpx.DecodingError: _NOT_HTTP,
    httpx.TooManyRedirects: _NOT_HTTP,
    httpx.HTTPStatusError: _BUG,
    httpx.InvalidURL: _OUR_REQUEST,
    httpx.CookieConflict: _BUG,
    httpx.StreamError: _BUG,
    httpx.StreamConsumed: _BUG,
    httpx.StreamClosed: _BUG,
    httpx.ResponseNotRead: _BUG,
    httpx.RequestNotRead: _BUG,
    # aiohttp, under the transport: as a cause, or as it is where the transport does not wrap it.
    aiohttp.ClientError: _BREAK,
    aiohttp.ClientConnectionError: _BREAK,
    aiohttp.ClientConnectionResetError: _BREAK,
    aiohttp.ClientOSError: _BREAK,
    aiohttp.ClientConnectorError: _NO_CONNECTION,
    aiohttp.ClientConnectorDNSError: _NO_CONNECTION,
    aiohttp.ClientProxyConnectionError: _NO_CONNECTION,
    aiohttp.ClientSSLError: _NO_TLS,
    aiohttp.ClientConnectorSSLError: _NO_TLS,
    aiohttp.ClientConnectorCertificateError: _NO_TLS,
    aiohttp.ServerFingerprintMismatch: _NO_TLS,
    aiohttp.ServerConnectionError: _BREAK,
    aiohttp.ServerDisconnectedError: _BREAK,
    aiohttp.ServerTimeoutError: _TOO_LATE,
    aiohttp.ConnectionTimeoutError: _NO_CONNECTION_IN_TIME,
    aiohttp.SocketTimeoutError: _TOO_LATE,
    aiohttp.ClientPayloadError: _BREAK,
    aiohttp.ClientResponseError: _NOT_HTTP,
    aiohttp.ClientHttpProxyError: _NO_CONNECTION,
    aiohttp.ContentTypeError: _NOT_HTTP,
    aiohttp.WSServerHandshakeError: _NOT_HTTP,
    aiohttp.TooManyRedirects: _NOT_HTTP,
    aiohttp.InvalidURL: _OUR_REQUEST,
    aiohttp.InvalidUrlClientError: _OUR_REQUEST,
    aiohttp.InvalidUrlRedirectClientError: _OUR_REQUEST,
    aiohttp.NonHttpUrlClientError: _OUR_REQUEST,
    aiohttp.NonHttpUrlRedirectClientError: _OUR_REQUEST,
    aiohttp.RedirectClientError: _NOT_HTTP,
    # The standard library, where both let it through.
    ConnectionRefusedError: _NO_CONNECTION,
    socket.gaierror: _NO_CONNECTION,
    ssl.SSLError: _NO_TLS,
    ssl.SSLCertVerificationError: _NO_TLS,
    TimeoutError: _TOO_LATE,
    OSError: _BREAK,
    asyncio.IncompleteReadError: _BREAK,
    EOFError: _BREAK,
    Exception: _BUG,
}


def failed_exception(
    base_url: str, error: BaseException, phase: CallPhase, *, connect_s: float | None = None
) -> Failed:
    """Build the failure for an exception of the transport at a phase of the call.

    `connect_s` is the connect timeout, for the message.
    """
    cause = error.__cause__
    told = cause if isinstance(cause, aiohttp.ClientError) else error
    rule = next(EXCEPTIONS[kind] for kind in type(told).__mro__ if kind in EXCEPTIONS)
    if rule is _NO_CONNECTION_IN_TIME and connect_s is not None:
        return failed_timeout(base_url, Timeout.CONNECT, connect_s)
    tls = _tls_error(told)
    if tls is not None and rule is _NO_CONNECTION:
        rule = _NO_TLS
    verdict = rule.before if phase is CallPhase.ASKED else rule.during
    when = f" {phase.value}" if rule is _BREAK else ""
    words = _words_of(told) if tls is None else _words_of_tls(tls)
    return Failed(
        code=verdict.code,
        blame=verdict.blame,
        message=f"{rule.meaning.format(url=base_url)}{when}: {words}",
    )


def _words_of(error: BaseException) -> str:
    """Message of the operating system, if any; aiohttp's own only repeats the address."""
    system = getattr(error, "os_error", error)
    if isinstance(system, socket.gaierror):
        text = system.strerror or ""
    elif isinstance(system, OSError) and system.errno is not None:
        text = os.strerror(system.errno)
    else:
        text = str(system)
    return one_line(text, WORDS_BOUND) or type(error).__name__


_DEEPEST = 8
_NAME_MISMATCHES = frozenset({62, 64})
_EXPIRED = 10
"""OpenSSL's numbers of certificate errors (X509_V_ERR_...)."""


def _tls_error(error: BaseException) -> ssl.SSLError | None:
    """TLS error that an exception of httpx or aiohttp wraps, if any."""
    inner: object = error
    found: ssl.SSLError | None = None
    for _ in range(_DEEPEST):
        if not isinstance(inner, BaseException):
            break
        if isinstance(inner, ssl.SSLError):
            # aiohttp's own is of that kind too, and has words about the address alone.
            found = inner
        inner = (
            getattr(inner, "certificate_error", None)
            or getattr(inner, "os_error", None)
            or inner.__cause__
            or (None if found else inner.__context__)
        )
    return found


def _words_of_tls(error: ssl.SSLError) -> str:
    """Message and remedy of a TLS error, whose error number is meaningless."""
    if isinstance(error, ssl.SSLCertVerificationError):
        wrong: str = getattr(error, "verify_message", "") or str(error)
        wrong = one_line(wrong, WORDS_BOUND).rstrip(".")
        code: int = getattr(error, "verify_code", 0)
        if code in _NAME_MISMATCHES:
            help_ = "give the host the name that its certificate is for"
        elif code == _EXPIRED:
            help_ = "the host needs a new certificate"
        else:
            help_ = "if you trust the host, set SSL_CERT_FILE to its certificate, or its issuer's"
        return f"certificate verify failed: {wrong}; {help_}"
    reason: str | None = getattr(error, "reason", None)
    words = one_line(reason.replace("_", " ").lower() if reason else str(error), WORDS_BOUND)
    plain = "; the host may speak plain HTTP: write http://" if reason in _NO_TLS_AT_ALL else ""
    return (words or type(error).__name__) + plain


_NO_TLS_AT_ALL = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"})

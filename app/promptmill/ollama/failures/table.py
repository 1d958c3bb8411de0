"""THE failure table: every way in which a call to Ollama can fail, and what it means for a prompt.

The one rule to know: nothing elsewhere decides a `Blame`. A failure enters as a status with a body
(`ANSWERS`), as an exception (`EXCEPTIONS`), as a broken stream (`BREAKS`) or as a passed timeout
(`TIMEOUTS`) and leaves as a `Failed`. `docs/ollama-failures.md` shows these tables to users and a
test compares the two; another fails when httpx or aiohttp has an exception that no row covers.

The texts are Ollama's own, seen on 0.24.0 and read in later versions.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from dataclasses import dataclass
from enum import Enum

import aiohttp
import httpx

from promptmill.domain.outcomes import Blame, ErrorCode, Failed
from promptmill.ollama.failures.wording import WORDS_BOUND, Speaker, server_words
from promptmill.ollama.text import one_line


class OllamaError(Exception):
    """A request that is no prompt (the list of models, a pull, ...) failed; `failed` says how."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure means: the code that the user sees, and whose fault it is."""

    code: ErrorCode
    blame: Blame


_REFUSED = Verdict(ErrorCode.HOST_REFUSED, Blame.REFUSAL)
_MODEL_REFUSED = Verdict(ErrorCode.HOST_REFUSED, Blame.PROMPT)
_NO_MODEL = Verdict(ErrorCode.MODEL_NOT_FOUND, Blame.PROMPT)
_INVALID = Verdict(ErrorCode.INVALID_REQUEST, Blame.PROMPT)
_BUSY = Verdict(ErrorCode.SERVER_BUSY, Blame.HOST)
_GONE = Verdict(ErrorCode.HOST_UNREACHABLE, Blame.HOST)
_BROKEN = Verdict(ErrorCode.HOST_UNREACHABLE, Blame.ATTEMPT)
_CUT = Verdict(ErrorCode.INCOMPLETE, Blame.ATTEMPT)
_ERROR = Verdict(ErrorCode.SERVER_ERROR, Blame.ATTEMPT)
_UNUSABLE = Verdict(ErrorCode.SERVER_ERROR, Blame.PROMPT)
_NOT_CONNECTED = Verdict(ErrorCode.TIMEOUT, Blame.HOST)
_LATE = Verdict(ErrorCode.TIMEOUT, Blame.ATTEMPT)


# --- Answers with another status than 200 ---------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRule:
    """A row of `ANSWERS`; the first row that fits decides."""

    statuses: range
    speaker: Speaker | None = None
    """None fits both."""
    words: re.Pattern[str] | None = None
    """Searched in the server's words; None fits all."""
    verdict: Verdict
    meaning: str
    """Beginning of the message, up to the server's own words."""


def _only(status: int) -> range:
    return range(status, status + 1)


_NO_API = "There is no Ollama API at this address"

ANSWERS: tuple[AnswerRule, ...] = (
    AnswerRule(statuses=range(201, 300), verdict=_REFUSED, meaning=_NO_API),
    AnswerRule(
        statuses=range(300, 400),
        verdict=_REFUSED,
        meaning="The host redirects elsewhere; give the address it names as the host's",
    ),
    AnswerRule(
        statuses=_only(401),
        speaker=Speaker.CLOUD,
        verdict=_MODEL_REFUSED,
        meaning="The host is not signed in to the cloud that runs the model",
    ),
    AnswerRule(statuses=_only(401), verdict=_REFUSED, meaning="The host demands a sign-in"),
    AnswerRule(
        # Of a cloud model; Ollama's check of the `Host` header has no words.
        statuses=_only(403),
        speaker=Speaker.OLLAMA,
        verdict=_MODEL_REFUSED,
        meaning="The host denies access to the model",
    ),
    AnswerRule(statuses=_only(403), verdict=_REFUSED, meaning="The host denies access"),
    AnswerRule(
        statuses=_only(404),
        speaker=Speaker.OLLAMA,
        verdict=_NO_MODEL,
        meaning="The host does not have the model; pull it first",
    ),
    AnswerRule(statuses=range(404, 406), speaker=Speaker.OTHER, verdict=_REFUSED, meaning=_NO_API),
    AnswerRule(statuses=_only(408), verdict=_LATE, meaning="A proxy gave up waiting"),
    AnswerRule(statuses=_only(429), verdict=_BUSY, meaning="The host limits the rate of requests"),
    AnswerRule(statuses=_only(499), verdict=_ERROR, meaning="The host dropped the request"),
    AnswerRule(statuses=range(400, 500), verdict=_INVALID, meaning="The host refused the request"),
    AnswerRule(
        statuses=_only(500),
        words=re.compile(r"^(option \"|invalid format|template: )"),
        verdict=_INVALID,
        meaning="The host refused the request",
    ),
    AnswerRule(
        statuses=_only(500),
        words=re.compile(
            r"no longer compatible|may be incompatible|exceeds file size|unknown model architecture"
        ),
        verdict=_UNUSABLE,
        meaning="The host cannot use the model",
    ),
    AnswerRule(statuses=_only(501), speaker=Speaker.OTHER, verdict=_REFUSED, meaning=_NO_API),
    AnswerRule(statuses=_only(501), verdict=_INVALID, meaning="The model cannot do this"),
    AnswerRule(
        # Ollama itself says 502 when a cloud model is down: then the host is well, and putting it
        # aside would stop the local models too.
        statuses=_only(502),
        speaker=Speaker.OTHER,
        verdict=_GONE,
        meaning="A proxy cannot reach the host",
    ),
    AnswerRule(statuses=_only(503), verdict=_BUSY, meaning="The host takes no more work now"),
    AnswerRule(
        statuses=_only(504),
        speaker=Speaker.OTHER,
        verdict=_GONE,
        meaning="A proxy waited for the host in vain",
    ),
    AnswerRule(statuses=range(500, 600), verdict=_ERROR, meaning="The host failed"),
    AnswerRule(
        statuses=range(1000), verdict=_ERROR, meaning="The host answered in an unexpected way"
    ),
)


def failed_answer(base_url: str, status: int, body: bytes) -> Failed:
    """What an answer with another status than 200 means. `body` may be cut."""
    speaker, words = server_words(body)
    rule = next((rule for rule in ANSWERS if _fits(rule, status, speaker, words)), ANSWERS[-1])
    said = f": {words}" if words else ""
    return Failed(
        code=rule.verdict.code,
        blame=rule.verdict.blame,
        message=f"{rule.meaning} ({base_url} answered {status}){said}",
    )


def _fits(rule: AnswerRule, status: int, speaker: Speaker, words: str) -> bool:
    return (
        status in rule.statuses
        and (rule.speaker in {None, speaker} or rule.speaker is speaker.hands_on)
        and (rule.words is None or rule.words.search(words) is not None)
    )


# --- Exceptions -----------------------------------------------------------------------------------


class Phase(Enum):
    """How far a call had come when something broke."""

    ASKED = "before any answer"
    ANSWERING = "during the answer"


@dataclass(frozen=True, slots=True)
class ExceptionRule:
    """A row of `EXCEPTIONS`: the verdict before any answer, and during one."""

    before: Verdict
    during: Verdict
    meaning: str


_NO_CONNECTION = ExceptionRule(_GONE, _GONE, "No connection to {url} could be made")
_NO_TLS = ExceptionRule(_GONE, _GONE, "No secure connection to {url} could be made")
_NO_CONNECTION_IN_TIME = ExceptionRule(
    _NOT_CONNECTED, _NOT_CONNECTED, "No connection to {url} could be made in time"
)
_TOO_LATE = ExceptionRule(_LATE, _LATE, "{url} did not go on in time")
_BREAK = ExceptionRule(_BROKEN, _CUT, "The connection to {url} broke")
_NOT_HTTP = ExceptionRule(_ERROR, _CUT, "{url} did not answer in proper HTTP")
_OUR_REQUEST = ExceptionRule(_INVALID, _INVALID, "The request to {url} could not be formed")
_BUG = ExceptionRule(_ERROR, _ERROR, "The call to {url} failed in an unexpected way")

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
    base_url: str, error: BaseException, phase: Phase, *, connect_s: float | None = None
) -> Failed:
    """What an exception out of the transport means, at that point of the call.

    `connect_s` is the connect timeout, for the message.
    """
    cause = error.__cause__
    told = cause if isinstance(cause, aiohttp.ClientError) else error
    rule = next(EXCEPTIONS[kind] for kind in type(told).__mro__ if kind in EXCEPTIONS)
    if rule is _NO_CONNECTION_IN_TIME and connect_s is not None:
        return failed_timeout(base_url, Timeout.CONNECT, connect_s)
    verdict = rule.before if phase is Phase.ASKED else rule.during
    when = f" {phase.value}" if rule is _BREAK else ""
    return Failed(
        code=verdict.code,
        blame=verdict.blame,
        message=f"{rule.meaning.format(url=base_url)}{when}: {_words_of(told)}",
    )


def _words_of(error: BaseException) -> str:
    """The system's own words where it has some: aiohttp's only repeat the address."""
    system = getattr(error, "os_error", error)
    if isinstance(system, socket.gaierror):
        text = system.strerror or ""
    elif isinstance(system, OSError) and system.errno is not None:
        text = os.strerror(system.errno)
    else:
        text = str(system)
    return one_line(text, WORDS_BOUND) or type(error).__name__


# --- Timeouts and broken streams ------------------------------------------------------------------


class Timeout(Enum):
    """Which of the four timeouts passed; the value says what did not come in time."""

    CONNECT = "no connection to {url} within {seconds:g} s (connect timeout)"
    FIRST_BYTE = "{url} sent nothing within {seconds:g} s (first byte timeout)"
    BETWEEN_CHUNKS = "{url} stopped in the middle for {seconds:g} s (timeout between chunks)"
    WHOLE_CALL = "the answer was not complete within {seconds:g} s (timeout of the whole call)"


TIMEOUTS: dict[Timeout, Verdict] = {
    Timeout.CONNECT: _NOT_CONNECTED,
    Timeout.FIRST_BYTE: _LATE,
    Timeout.BETWEEN_CHUNKS: _LATE,
    Timeout.WHOLE_CALL: _LATE,
}


def failed_timeout(base_url: str, timeout: Timeout, seconds: float) -> Failed:
    """What it means that this timeout of so many seconds passed."""
    verdict = TIMEOUTS[timeout]
    text = timeout.value.format(url=base_url, seconds=seconds)
    return Failed(code=verdict.code, blame=verdict.blame, message=f"Timeout: {text}")


class Break(Enum):
    """How an answer with status 200 can be unusable; the value is the message's beginning."""

    ERROR_LINE = "The host failed while it worked on the prompt"
    NO_DONE = "The answer ended without 'done': the model repeated itself or the host stopped"
    NO_OLLAMA = "What answered does not speak Ollama's API"
    NOT_JSON = "The host sent a line that is none of Ollama's"
    LINE_TOO_LONG = "The host sent a line of more than 8 MB"
    ANSWER_TOO_LONG = "The host sent an answer of more than 64 MB"
    NO_SUCCESS = "The pull ended without 'success'"


BREAKS: dict[Break, Verdict] = {
    Break.ERROR_LINE: _ERROR,
    Break.NO_DONE: _CUT,
    Break.NO_SUCCESS: _CUT,
    Break.NO_OLLAMA: _REFUSED,
    Break.NOT_JSON: _ERROR,
    Break.LINE_TOO_LONG: _ERROR,
    Break.ANSWER_TOO_LONG: _ERROR,
}


def failed_break(kind: Break, words: str = "") -> Failed:
    """What it means that an answer with status 200 broke this way; `words` are the server's."""
    verdict = BREAKS[kind]
    said = one_line(words, WORDS_BOUND)
    return Failed(
        code=verdict.code,
        blame=verdict.blame,
        message=f"{kind.value}: {said}" if said else f"{kind.value}.",
    )


def failed_pull(words: str) -> Failed:
    """What an error line of a pull means: the model is unknown, or the fetching failed."""
    verdict = _NO_MODEL if _UNKNOWN_TO_REGISTRY.search(words) else _ERROR
    return Failed(
        code=verdict.code,
        blame=verdict.blame,
        message=f"The pull failed: {one_line(words, WORDS_BOUND)}",
    )


def failed_unload(base_url: str, model: str, seconds: float) -> Failed:
    """A model that is still in the server's memory so many seconds after it promised to go."""
    return Failed(
        code=_LATE.code,
        blame=_LATE.blame,
        message=f"Timeout: {base_url} still holds {one_line(model, WORDS_BOUND)} in memory "
        f"{seconds:g} s after it was told to unload it.",
    )


_UNKNOWN_TO_REGISTRY = re.compile(r"file does not exist|not found")


def failed_request(error: Exception) -> Failed:
    """A call that cannot even be written down as a request."""
    return Failed(
        code=_INVALID.code,
        blame=_INVALID.blame,
        message=f"The request cannot be sent: {one_line(str(error), WORDS_BOUND)}.",
    )

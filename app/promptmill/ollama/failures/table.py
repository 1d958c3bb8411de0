"""The failure table: every way in which a call to Ollama can fail, and what it means for a prompt.

No other code decides a `Blame`. A failure enters as a status with a body
(`ANSWERS`), as an exception (`exceptions.EXCEPTIONS`), as a broken stream (`BREAKS`) or as a passed
timeout (`TIMEOUTS`) and leaves as a `Failed`. `docs/ollama-failures.md` shows these tables to users
and a test compares the two.

The texts are Ollama's own, seen on 0.24.0 and read in later versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from promptmill.domain.outcomes import Blame, Failed
from promptmill.ollama.failures import verdicts
from promptmill.ollama.failures.verdicts import FailureMeaning
from promptmill.ollama.failures.wording import WORDS_BOUND, Speaker, server_words
from promptmill.ollama.text import one_line


class OllamaError(Exception):
    """A request other than a prompt (the list of models, a pull, ...) failed; `failed` says how."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.message)
        self.failed = failed


# --- Answers with another status than 200 ---------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRule:
    """Row of `ANSWERS`; the first row that matches decides."""

    statuses: range
    speaker: Speaker | None = None
    """Sender of the answer; None matches all."""
    words: re.Pattern[str] | None = None
    """Pattern searched in the server's words; None matches all."""
    verdict: FailureMeaning
    meaning: str
    """Beginning of the message, before the server's own words."""


def _only(status: int) -> range:
    return range(status, status + 1)


_NO_API = "There is no Ollama API at this address"
_SIGN_IN = "The host demands a sign-in; api_key or basic_auth of the host can give one"
_SIGN_IN_AT_PROXY = "A proxy before the host demands a sign-in"
_PROXY_GAVE_UP = "A proxy before the host gave up"
_WHOLE_S = 10
_RAISE_THE_LIMIT = " (its time limit can be raised; nginx calls it proxy_read_timeout)"

ANSWERS: tuple[AnswerRule, ...] = (
    AnswerRule(statuses=range(201, 300), verdict=verdicts.REFUSED, meaning=_NO_API),
    AnswerRule(
        statuses=range(300, 400),
        verdict=verdicts.REFUSED,
        meaning="The host redirects elsewhere; give the address it names as the host's",
    ),
    AnswerRule(
        statuses=_only(401),
        speaker=Speaker.CLOUD,
        verdict=verdicts.MODEL_REFUSED,
        meaning="The host is not signed in to the cloud that runs the model",
    ),
    AnswerRule(statuses=_only(401), verdict=verdicts.REFUSED, meaning=_SIGN_IN),
    AnswerRule(
        statuses=_only(402),
        verdict=verdicts.MODEL_REFUSED,
        meaning="The host demands a payment for the model",
    ),
    AnswerRule(
        # For cloud models; the refusal by Ollama's check of the `Host` header has no text.
        statuses=_only(403),
        speaker=Speaker.OLLAMA,
        verdict=verdicts.MODEL_REFUSED,
        meaning="The host denies access to the model",
    ),
    AnswerRule(statuses=_only(403), verdict=verdicts.REFUSED, meaning="The host denies access"),
    AnswerRule(
        statuses=_only(404),
        speaker=Speaker.OLLAMA,
        verdict=verdicts.NO_MODEL,
        meaning="The host does not have the model; pull it first",
    ),
    AnswerRule(
        statuses=range(404, 406), speaker=Speaker.OTHER, verdict=verdicts.REFUSED, meaning=_NO_API
    ),
    AnswerRule(statuses=_only(407), verdict=verdicts.REFUSED, meaning=_SIGN_IN_AT_PROXY),
    AnswerRule(statuses=_only(408), verdict=verdicts.LATE, meaning="A proxy gave up waiting"),
    AnswerRule(
        statuses=_only(429),
        verdict=verdicts.LIMITED,
        meaning="The host limits the requests for the model",
    ),
    AnswerRule(statuses=_only(499), verdict=verdicts.ERROR, meaning="The host dropped the request"),
    AnswerRule(
        statuses=range(400, 500), verdict=verdicts.INVALID, meaning="The host refused the request"
    ),
    AnswerRule(
        statuses=_only(500),
        words=re.compile(r"^(option \"|invalid format|template: )"),
        verdict=verdicts.INVALID,
        meaning="The host refused the request",
    ),
    AnswerRule(
        statuses=_only(500),
        words=re.compile(
            r"no longer compatible|may be incompatible|exceeds file size|unknown model architecture"
        ),
        verdict=verdicts.UNUSABLE,
        meaning="The host cannot use the model",
    ),
    AnswerRule(
        statuses=_only(501), speaker=Speaker.OTHER, verdict=verdicts.REFUSED, meaning=_NO_API
    ),
    AnswerRule(statuses=_only(501), verdict=verdicts.INVALID, meaning="The model cannot do this"),
    # With these statuses a page comes from a proxy. Ollama itself sends 502 if a cloud model is
    # down, and 503 if its queue is full.
    AnswerRule(
        statuses=range(502, 504),
        speaker=Speaker.OTHER,
        verdict=verdicts.NO_UPSTREAM,
        meaning=_PROXY_GAVE_UP,
    ),
    AnswerRule(
        statuses=_only(504),
        speaker=Speaker.OTHER,
        verdict=verdicts.PROXY_LATE,
        meaning=_PROXY_GAVE_UP,
    ),
    AnswerRule(
        statuses=_only(503), verdict=verdicts.BUSY, meaning="The host takes no more work now"
    ),
    AnswerRule(
        # Cloudflare's; 524 is its timeout.
        statuses=_only(524),
        speaker=Speaker.OTHER,
        verdict=verdicts.PROXY_LATE,
        meaning=_PROXY_GAVE_UP,
    ),
    AnswerRule(
        statuses=range(520, 531),
        speaker=Speaker.OTHER,
        verdict=verdicts.NO_UPSTREAM,
        meaning=_PROXY_GAVE_UP,
    ),
    AnswerRule(
        statuses=range(598, 600),
        speaker=Speaker.OTHER,
        verdict=verdicts.PROXY_LATE,
        meaning=_PROXY_GAVE_UP,
    ),
    AnswerRule(statuses=_only(511), verdict=verdicts.REFUSED, meaning=_SIGN_IN_AT_PROXY),
    AnswerRule(statuses=range(500, 600), verdict=verdicts.ERROR, meaning="The host failed"),
    AnswerRule(
        statuses=range(1000),
        verdict=verdicts.ERROR,
        meaning="The host answered in an unexpected way",
    ),
)


def failed_answer(
    base_url: str,
    status: int,
    body: bytes,
    *,
    after_s: float | None = None,
    retry_after_s: float | None = None,
) -> Failed:
    """Build the failure of a response with a status other than 200. `body` may be cut.

    `after_s` is how long the response took, `retry_after_s` the value of its `Retry-After`.
    """
    speaker, words = server_words(body)
    rule = next((rule for rule in ANSWERS if _fits(rule, status, speaker, words)), ANSWERS[-1])
    verdict, meaning = rule.verdict, rule.meaning
    said = f": {words}" if words else ""
    if verdict.blame is Blame.GATEWAY and after_s is not None:
        meaning += f" after about {after_s:{'.0f' if after_s >= _WHOLE_S else '.2g'}} s"
    if verdict == verdicts.PROXY_LATE:
        said += _RAISE_THE_LIMIT
    return Failed(
        code=verdict.code,
        blame=verdict.blame,
        message=f"{meaning} ({base_url} answered {status}){said}",
        retry_after_s=retry_after_s if verdict.blame is Blame.LIMIT else None,
    )


def _fits(rule: AnswerRule, status: int, speaker: Speaker, words: str) -> bool:
    return (
        status in rule.statuses
        and (rule.speaker in {None, speaker} or rule.speaker is speaker.hands_on)
        and (rule.words is None or rule.words.search(words) is not None)
    )


# --- Timeouts and broken streams ------------------------------------------------------------------


class Timeout(Enum):
    """The four timeouts; the value names what did not arrive in time."""

    CONNECT = "no connection to {url} within {seconds:g} s (connect timeout)"
    FIRST_BYTE = "{url} sent nothing within {seconds:g} s (first byte timeout)"
    BETWEEN_CHUNKS = "{url} stopped in the middle for {seconds:g} s (timeout between chunks)"
    WHOLE_CALL = "the answer was not complete within {seconds:g} s (timeout of the whole call)"


TIMEOUTS: dict[Timeout, FailureMeaning] = {
    Timeout.CONNECT: verdicts.NOT_CONNECTED,
    Timeout.FIRST_BYTE: verdicts.LATE,
    Timeout.BETWEEN_CHUNKS: verdicts.LATE,
    Timeout.WHOLE_CALL: verdicts.LATE,
}


def failed_timeout(base_url: str, timeout: Timeout, seconds: float) -> Failed:
    """Build the failure of a timeout after so many seconds."""
    verdict = TIMEOUTS[timeout]
    text = timeout.value.format(url=base_url, seconds=seconds)
    return Failed(code=verdict.code, blame=verdict.blame, message=f"Timeout: {text}")


class Break(Enum):
    """Ways in which an answer with status 200 is unusable; the value begins the message."""

    ERROR_LINE = "The host failed while it worked on the prompt"
    NO_DONE = "The answer ended without 'done': the model repeated itself or the host stopped"
    NO_OLLAMA = "What answered does not speak Ollama's API"
    NOT_JSON = "The host sent a line that is none of Ollama's"
    LINE_TOO_LONG = "The host sent a line of more than 8 MB"
    ANSWER_TOO_LONG = "The host sent an answer of more than 64 MB"
    NO_VECTORS = "The host did not send a vector for each text"
    NO_SUCCESS = "The pull ended without 'success'"


BREAKS: dict[Break, FailureMeaning] = {
    Break.ERROR_LINE: verdicts.ERROR,
    Break.NO_DONE: verdicts.CUT,
    Break.NO_SUCCESS: verdicts.CUT,
    Break.NO_OLLAMA: verdicts.REFUSED,
    Break.NOT_JSON: verdicts.ERROR,
    Break.NO_VECTORS: verdicts.ERROR,
    Break.LINE_TOO_LONG: verdicts.ERROR,
    Break.ANSWER_TOO_LONG: verdicts.ERROR,
}


def failed_break(kind: Break, words: str = "") -> Failed:
    """Build the failure of a broken answer; `words` are the server's."""
    verdict = BREAKS[kind]
    said = one_line(words, WORDS_BOUND)
    return Failed(
        code=verdict.code,
        blame=verdict.blame,
        message=f"{kind.value}: {said}" if said else f"{kind.value}.",
    )


def failed_pull(words: str) -> Failed:
    """Build the failure of a pull's error line: the model is unknown, or the download failed."""
    verdict = verdicts.NO_MODEL if _UNKNOWN_TO_REGISTRY.search(words) else verdicts.ERROR
    return Failed(
        code=verdict.code,
        blame=verdict.blame,
        message=f"The pull failed: {one_line(words, WORDS_BOUND)}",
    )


def failed_unload(base_url: str, model: str, seconds: float) -> Failed:
    """Build the failure of a model that is still loaded that many seconds after it was unloaded."""
    return Failed(
        code=verdicts.LATE.code,
        blame=verdicts.LATE.blame,
        message=f"Timeout: {base_url} still holds {one_line(model, WORDS_BOUND)} in memory "
        f"{seconds:g} s after it was told to unload it.",
    )


_UNKNOWN_TO_REGISTRY = re.compile(r"file does not exist|not found")


def failed_request(error: Exception) -> Failed:
    """Build the failure of a call that cannot be encoded as a request."""
    return Failed(
        code=verdicts.INVALID.code,
        blame=verdicts.INVALID.blame,
        message=f"The request cannot be sent: {one_line(str(error), WORDS_BOUND)}.",
    )

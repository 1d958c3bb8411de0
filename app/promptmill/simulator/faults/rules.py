"""Faults on purpose: which call goes wrong, and how.

A fault comes from a word in the prompt, `[[fault:NAME times=K after=N s=SECONDS]]`, or from a rule
of the settings, written the same way: `NAME rate=0.1 first=3 times=1 model=tiny`. A rate decides by
the seed, the model, the prompt and how often this prompt was tried: never by the clock or by what
else is running. So a run with faults can be repeated exactly, whatever its concurrency.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b


class FaultKind(StrEnum):
    """Kinds of faults. The value is the word for prompts and rules."""

    CLOSE = "close"  #: the connection is closed without an answer
    RESET = "reset"  #: the connection is reset (TCP RST)
    REFUSE = "refuse"  #: as close, and for `s` seconds (1) new connections are refused
    HANG = "hang"  #: no answer ever, or none for `s` seconds
    BUSY = "503"  #: 503, the load queue is full
    STOPPED = "500"  #: 500, the runner has stopped
    RATE_LIMITED = "429"  #: 429, as the cloud says it; with `s` also `Retry-After`
    UNAUTHORIZED = "401"  #: 401 with a sign-in address, as a cloud model says it
    UPSTREAM = "502"  #: 502 with JSON, as when the cloud cannot be reached
    BAD_GATEWAY = "bad_gateway"  #: 502 with a page of HTML, as from a reverse proxy, after `s` (0)
    PROXY_BUSY = "proxy_503"  #: 503 with a page of HTML, likewise
    PROXY_LATE = "proxy_504"  #: 504 with a page of HTML, likewise
    CLOUDFLARE_LATE = "proxy_524"  #: 524 with a page of HTML, likewise
    FORBIDDEN = "403"  #: 403 with plain text, as from a proxy
    PAGE = "page"  #: 200 with a page of HTML, as from a proxy that wants a sign-in
    MISSING = "404"  #: 404, the model is not found
    TOO_LONG = "400"  #: 400, the input is too long
    OOM = "oom"  #: 500, out of memory while the model loads
    NOT_JSON = "not_json"  #: a line that is no JSON after `after` tokens (3), then the rest
    ERROR = "error"  #: an error line after `after` tokens (3); 500 if unstreamed
    CUT = "cut"  #: the connection is closed after `after` tokens (3)
    NO_DONE = (
        "no_done"  #: the stream ends in order but says no `done:true`; `done:false` unstreamed
    )
    REPEAT = "repeat"  #: one token thirty times, then as no_done: the server's own repeat guard
    LENGTH = "length"  #: the answer is cut to its half, `done_reason` is `length`
    EMPTY = "empty"  #: no text, `done_reason` is `stop`
    EMPTY_LENGTH = "empty_length"  #: no text, `done_reason` is `length`
    ONE_TOKEN = "one_token"  # noqa: S105  #: one token and no more, `done_reason` is `stop`
    BAD_JSON = "bad_json"  #: the answer is not JSON although a format was asked for
    SLOW_START = "slow_start"  #: the first token comes `s` seconds (5) late
    STALL = "stall"  #: nothing for `s` seconds (for ever) after `after` tokens (3)
    CRASH = "crash"  #: the model's process dies after `after` tokens (3)
    CRASH_ALL = "crash_all"  #: as crash, and every other loaded model dies too
    RELOAD = "reload"  #: the model is unloaded before this request and loaded anew for it
    CACHE_HIT = "cache_hit"  #: the prompt's beginning was cached: only its last token is evaluated
    LONG_REASON = "long_reason"  #: `done_reason` is a sentence of two hundred characters
    ODD_NUMBERS = "odd_numbers"  #: counters beyond 2**62, and `logprobs` that are no numbers
    PULL_ERROR = "pull_error"  #: a pull fails after "pulling manifest" (by rule only)


SECONDS = {FaultKind.REFUSE: 1.0, FaultKind.SLOW_START: 5.0}
"""Seconds of a fault that names none; the others last for ever."""

MID_STREAM = frozenset(
    {
        FaultKind.NOT_JSON,
        FaultKind.ERROR,
        FaultKind.CUT,
        FaultKind.NO_DONE,
        FaultKind.STALL,
        FaultKind.CRASH,
        FaultKind.CRASH_ALL,
    }
)
"""Faults that let `after` tokens through first."""

MIXED: tuple[FaultKind, ...] = (
    FaultKind.CLOSE,
    FaultKind.BUSY,
    FaultKind.STOPPED,
    FaultKind.ERROR,
    FaultKind.CUT,
    FaultKind.BAD_GATEWAY,
)
"""Kinds over which `--fault-rate` is spread without named kinds: all may succeed on a retry."""

_WORD = re.compile(r"\[\[fault:([a-z0-9_]+)((?:\s+[a-z]+=[^\s\]]+)*)\s*\]\]")
_OPENING = "[[fault:"
_SCALE = float(1 << 64)


class FaultSyntaxError(ValueError):
    """A fault is misspelled; the text says which part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Fault that will strike one call."""

    kind: FaultKind
    after: int = 3
    """Tokens that are sent before a fault in mid-stream."""
    seconds: float | None = None
    """Seconds of the fault; None for ever."""
    times: int = 0
    """Number of first attempts of a prompt that it strikes; 0 for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """A fault with the calls that it strikes."""

    fault: Fault
    rate: float = 1.0
    """Share of the calls, 0 to 1, decided anew for each attempt of a prompt."""
    first: int = 0
    """Only the first so many calls that the rule sees; 0 is all."""
    model: str = ""
    """Only calls of this model; empty is any."""

    @classmethod
    def parse(cls, text: str) -> FaultRule:
        """Read `NAME key=value ...` with keys rate, first, model, times, after, s."""
        name, *pairs = text.split() or [""]
        values = _pairs(pairs)
        try:
            rule = cls(
                rate=float(values.pop("rate", 1.0)),
                first=int(values.pop("first", 0)),
                model=values.pop("model", ""),
                fault=_fault(name, values),
            )
        except ValueError as error:
            raise FaultSyntaxError(f"fault {text!r}: {error}") from error
        return rule


def _pairs(texts: Iterable[str]) -> dict[str, str]:
    """`key=value` texts as a dictionary."""
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _fault(name: str, values: dict[str, str]) -> Fault:
    """The fault of a word or a rule, `values` being what stands behind its name."""
    kind = FaultKind(name)
    seconds = float(values.pop("s")) if "s" in values else SECONDS.get(kind)
    fault = Fault(
        kind=kind,
        times=int(values.pop("times", 0)),
        after=int(values.pop("after", 3)),
        seconds=seconds,
    )
    if values:
        raise ValueError(f"unknown {', '.join(values)}")
    return fault


def faults_in(prompt: str) -> tuple[Fault, ...]:
    """Parse the faults that a prompt asks for, in their order; misspelled ones are ignored."""
    if _OPENING not in prompt:
        return ()
    found: list[Fault] = []
    for name, pairs in _WORD.findall(prompt):
        try:
            found.append(_fault(name, _pairs(pairs.split())))
        except ValueError:
            continue
    return tuple(found)


def by_word(prompt: str, attempt: int) -> Fault | None:
    """The fault of the prompt's words at its `attempt`-th call (the first is 1).

    Several words with `times` strike one after the other: `[[fault:500 times=1]]` and
    `[[fault:cut times=2]]` spoil the first call with 500 and the next two by cutting them.
    """
    spoilt = 0
    for fault in faults_in(prompt):
        if not fault.times:
            return fault
        spoilt += fault.times
        if attempt <= spoilt:
            return fault
    return None


class FaultBook:
    """The rules in force, and how many calls each has seen."""

    def __init__(self, rules: tuple[FaultRule, ...], seed: int) -> None:
        self._seed = seed
        self.replace(rules)

    def replace(self, rules: tuple[FaultRule, ...]) -> None:
        """Put other rules in force; they begin to count at 0."""
        self.rules = rules
        self._seen = [0] * len(rules)

    def for_pull(self, model_key: str) -> Fault | None:
        """The fault that strikes a pull of the model."""
        return self._by_rule(model_key, "", self._count(), pull=True)

    def for_call(self, model_key: str, prompt: str, attempt: int) -> Fault | None:
        """The fault that strikes this attempt (the first is 1) of the prompt, if any."""
        fault = by_word(prompt, attempt)
        if fault is not None or not self.rules:
            return fault
        return self._by_rule(model_key, prompt, attempt, pull=False)

    def _count(self) -> int:
        return sum(self._seen) + 1

    def _by_rule(self, model_key: str, prompt: str, attempt: int, *, pull: bool) -> Fault | None:
        for place, rule in enumerate(self.rules):
            if (rule.fault.kind is FaultKind.PULL_ERROR) is not pull:
                continue
            if rule.model and not model_key.startswith(rule.model.lower()):
                continue
            self._seen[place] += 1
            if rule.first and self._seen[place] > rule.first:
                continue
            if rule.fault.times and attempt > rule.fault.times:
                continue
            if self._draw(place, model_key, prompt, attempt) < rule.rate:
                return rule.fault
        return None

    def _draw(self, place: int, model_key: str, prompt: str, attempt: int) -> float:
        """A number in [0, 1) that only the call itself decides."""
        key = f"{self._seed}\0{place}\0{model_key}\0{attempt}\0{prompt}"
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") / _SCALE

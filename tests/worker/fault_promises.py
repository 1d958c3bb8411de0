"""What the service promises for each fault of the simulator, and the table of it for users.

`tests/worker/test_faults.py` holds the service to these rows, and `docs/ollama-failures.md` to
the table.

python -m tests.worker.fault_promises      prints what belongs between the page's marks
"""

from __future__ import annotations

from dataclasses import dataclass

from promptmill.domain import outcomes
from promptmill.domain.outcomes import Blame, ErrorCode
from promptmill.domain.retry import MOST_CRASHES, MOST_TURNED_AWAY
from promptmill.ollama.health import PROMPTS_FAILED_IN_A_ROW
from promptmill.simulator import FaultKind


@dataclass(frozen=True, slots=True)
class Promise:
    """What follows when a fault strikes a call."""

    fault: str
    """What happens, in a few words."""
    code: ErrorCode | None = None
    """What the call fails with; None: it succeeds."""
    blame: Blame | None = None
    """Whom the failure is blamed on; None: the call succeeds."""
    others: frozenset[ErrorCode] = frozenset()
    """What other calls that are in flight at that moment fail with; then none is charged."""

    @property
    def aside_after(self) -> int | None:
        """Different prompts in a row that have to fail so until the host is put aside; or never."""
        if self.blame in {Blame.HOST, Blame.REFUSAL}:
            return 1
        broken = self.blame is Blame.ATTEMPT and self.code not in outcomes.DEFECTS
        return PROMPTS_FAILED_IN_A_ROW if broken else None


_UNREACHABLE, _ERROR = ErrorCode.HOST_UNREACHABLE, ErrorCode.SERVER_ERROR
_CUT, _LATE, _BUSY = ErrorCode.INCOMPLETE, ErrorCode.TIMEOUT, ErrorCode.SERVER_BUSY
_PROMPT, _ATTEMPT, _HOST = Blame.PROMPT, Blame.ATTEMPT, Blame.HOST
_LIMIT = Blame.LIMIT
_REFUSED, _REFUSAL = ErrorCode.HOST_REFUSED, Blame.REFUSAL

PROMISES: dict[FaultKind, Promise] = {
    FaultKind.CLOSE: Promise("closes the connection without an answer", _UNREACHABLE, _ATTEMPT),
    FaultKind.RESET: Promise("resets the connection", _UNREACHABLE, _ATTEMPT),
    FaultKind.REFUSE: Promise(
        "goes down, and is up again later",
        _UNREACHABLE,
        _ATTEMPT,
        frozenset({_UNREACHABLE, _CUT}),
    ),
    FaultKind.HANG: Promise("takes the request and never answers", _LATE, _ATTEMPT),
    FaultKind.SLOW_START: Promise(
        "begins later than the first byte timeout allows", _LATE, _ATTEMPT
    ),
    FaultKind.STALL: Promise("stops in the middle of the answer", _LATE, _ATTEMPT),
    FaultKind.CUT: Promise("closes the connection in mid-answer", _CUT, _ATTEMPT),
    FaultKind.NO_DONE: Promise("ends the answer without `done: true`", _CUT, _ATTEMPT),
    FaultKind.REPEAT: Promise("stops a model that repeats itself", _CUT, _ATTEMPT),
    FaultKind.ERROR: Promise("sends an error line in mid-answer", _ERROR, _ATTEMPT),
    FaultKind.NOT_JSON: Promise("sends a line that is no JSON", _ERROR, _ATTEMPT),
    FaultKind.PAGE: Promise("(a proxy) sends a page of HTML under 200", _REFUSED, _REFUSAL),
    FaultKind.BAD_GATEWAY: Promise(
        "(a proxy) sends a page of HTML under 502", _UNREACHABLE, _ATTEMPT
    ),
    FaultKind.PROXY_BUSY: Promise("(a proxy) sends such a page under 503", _UNREACHABLE, _ATTEMPT),
    FaultKind.PROXY_LATE: Promise("(a proxy) sends such a page under 504", _LATE, _ATTEMPT),
    FaultKind.CLOUDFLARE_LATE: Promise("(Cloudflare) sends such a page under 524", _LATE, _ATTEMPT),
    FaultKind.UPSTREAM: Promise("cannot reach the cloud (502 with JSON)", _ERROR, _ATTEMPT),
    FaultKind.BUSY: Promise("is full (503)", _BUSY, _HOST),
    FaultKind.RATE_LIMITED: Promise("limits the requests (429)", _BUSY, _LIMIT),
    FaultKind.UNAUTHORIZED: Promise("demands a sign-in for a cloud model (401)", _REFUSED, _PROMPT),
    FaultKind.FORBIDDEN: Promise("(or a proxy) denies access (403)", _REFUSED, _REFUSAL),
    FaultKind.MISSING: Promise("does not have the model (404)", ErrorCode.MODEL_NOT_FOUND, _PROMPT),
    FaultKind.TOO_LONG: Promise("refuses the request (400)", ErrorCode.INVALID_REQUEST, _PROMPT),
    FaultKind.STOPPED: Promise("says that the runner has stopped (500)", _ERROR, _ATTEMPT),
    FaultKind.OOM: Promise("has too little memory to load the model (500)", _ERROR, _ATTEMPT),
    FaultKind.CRASH: Promise(
        "loses the model's process in mid-answer", _ERROR, _ATTEMPT, frozenset({_ERROR})
    ),
    FaultKind.CRASH_ALL: Promise(
        "loses the processes of all models", _ERROR, _ATTEMPT, frozenset({_ERROR})
    ),
    FaultKind.EMPTY: Promise("answers with no text", ErrorCode.EMPTY, _ATTEMPT),
    FaultKind.EMPTY_LENGTH: Promise(
        "uses all tokens up and answers with no text", ErrorCode.EMPTY, _ATTEMPT
    ),
    FaultKind.BAD_JSON: Promise(
        "answers no JSON although there is a `format`", ErrorCode.INVALID_JSON, _ATTEMPT
    ),
    FaultKind.LENGTH: Promise("cuts the answer at its limit of tokens"),
    FaultKind.ONE_TOKEN: Promise("answers with a single token"),
    FaultKind.RELOAD: Promise("unloads the model and loads it anew"),
    FaultKind.CACHE_HIT: Promise("has the prompt in its cache"),
    FaultKind.LONG_REASON: Promise("ends with a `done_reason` of 200 characters"),
    FaultKind.ODD_NUMBERS: Promise("sends counters and `logprobs` that are no numbers"),
    FaultKind.PULL_ERROR: Promise("fails to pull a model", _ERROR),
}

DEFECTS: dict[FaultKind, ErrorCode] = {FaultKind.LENGTH: ErrorCode.TRUNCATED}
"""What is noted of an answer that succeeds all the same."""

_PATIENTLY = f"{MOST_TURNED_AWAY - 1} times more than `max_attempts`"
_AGAIN = {
    _PROMPT: ("no", "one attempt"),
    _ATTEMPT: ("until `max_attempts`", "one attempt each time"),
    _REFUSAL: (
        "at another host; with none left, until `max_attempts`",
        "nothing; with none left, one attempt each time",
    ),
    _HOST: (_PATIENTLY, "nothing"),
    _LIMIT: (f"{_PATIENTLY}, each time after the wait that is told", "nothing"),
    None: ("no", "one attempt"),
}


_FALLEN = (
    f"{MOST_CRASHES - 1} times more than `max_attempts`",
    "nothing, if others fell with it; else one attempt each time",
)


def faults() -> str:
    """A row for each fault: what the prompt gets, whether it is tried again, what it costs."""
    return "\n".join(
        [
            "| fault | the host ... | the prompt gets | tried again | costs | the host afterwards |",
            "|---|---|---|---|---|---|",
            *(_row(kind, promise) for kind, promise in PROMISES.items()),
        ]
    )


def _row(kind: FaultKind, promise: Promise) -> str:
    if kind is FaultKind.PULL_ERROR:
        return f"| `{kind}` | {promise.fault} | the pull: `{promise.code}` | no | nothing | stays |"
    again, costs = _FALLEN if promise.others else _AGAIN[promise.blame]
    return f"| `{kind}` | {promise.fault} | {_gets(kind, promise)} | {again} | {costs} | {_host(promise)} |"


def _gets(kind: FaultKind, promise: Promise) -> str:
    if promise.code is None:
        noted = f", `defect` is `{DEFECTS[kind]}`" if kind in DEFECTS else ""
        return f"its answer{noted}"
    return "its answer, later" if promise.blame in {_HOST, _LIMIT} else f"`{promise.code}`"


def _host(promise: Promise) -> str:
    if promise.blame is _LIMIT:
        return "stays, but gets nothing of that model until then"
    if promise.aside_after is None:
        return "stays"
    if promise.aside_after == 1:
        return f"is put aside (`{promise.code}`)"
    stays = f"stays, unless {promise.aside_after} prompts in a row fail"
    if _UNREACHABLE in promise.others:
        return f"is put aside while nobody can connect; {_struck_too(promise)}"
    return f"{stays}; {_struck_too(promise)}" if promise.others else stays


def _struck_too(promise: Promise) -> str:
    named = " or ".join(f"`{code}`" for code in sorted(promise.others))
    return f"what else was in flight fails too ({named}), uncharged"


if __name__ == "__main__":
    print(f"<!-- faults -->\n{faults()}\n<!-- end -->")

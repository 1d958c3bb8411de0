"""The outcome of one call to Ollama: a closed set of error codes, and whom each one blames.

The one rule to know: an outcome is a value, never an exception. `ollama.errors` turns every
failure of the wire into one of these; `domain.retry` decides what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum
from typing import Any, Final


class ErrorCode(StrEnum):
    """Why a prompt has no usable answer. Part of the HTTP contract: never rename a member.

    `PROMPT_TRUNCATED` to `SCHEMA_MISMATCH` are defects of an answer that did come; the
    batch chooses which of them make it a failure.
    """

    MODEL_NOT_FOUND = "model_not_found"
    """The host has no model of that name; pull it first."""
    INVALID_REQUEST = "invalid_request"
    """Ollama refused the request itself (an option, a capability); the same again fails."""
    HOST_REFUSED = "host_refused"
    """The host or a proxy before it takes no prompts (401, 403), or what answers is no Ollama."""
    HOST_UNREACHABLE = "host_unreachable"
    """No connection could be made, or it broke before any answer."""
    TIMEOUT = "timeout"
    """One of the four timeouts passed: connect, first byte, between chunks, or the whole call."""
    SERVER_BUSY = "server_busy"
    """The host's load queue is full, or a proxy limits the rate (503, 429)."""
    SERVER_ERROR = "server_error"
    """The host or the model's process failed while it worked on the prompt."""
    INCOMPLETE = "incomplete"
    """The stream ended without `done: true`: the answer is cut and cannot be trusted."""
    PROMPT_TRUNCATED = "prompt_truncated"
    """Ollama cut the prompt to the model's context window, and the answer is to the rest of it."""
    TRUNCATED = "truncated"
    """The answer was cut at its limit of tokens (`done_reason` is `length`)."""
    EMPTY = "empty"
    """The answer has no text and calls no tool."""
    INVALID_JSON = "invalid_json"
    """The prompt has a `format`, and the answer is not JSON."""
    SCHEMA_MISMATCH = "schema_mismatch"
    """The prompt has a JSON Schema as `format`, and the answer is JSON that does not fit it."""
    CANCELLED = "cancelled"
    """The batch was cancelled before this prompt had an answer."""
    EXPIRED = "expired"
    """The batch's time ran out before this prompt had an answer."""
    LEASE_LOST = "lease_lost"
    """What ran the prompt, its worker or its host, died ten times; the last time the worker."""
    COULD_NOT_BE_STORED = "could_not_be_stored"
    """The database refused the outcome of the call; the log says why."""


DEFECTS: Final = (
    ErrorCode.PROMPT_TRUNCATED,
    ErrorCode.TRUNCATED,
    ErrorCode.EMPTY,
    ErrorCode.INVALID_JSON,
    ErrorCode.SCHEMA_MISMATCH,
)
"""The defects of an answer with `done: true`, in the order of the checks."""
DEFAULT_FAIL_ON: Final = (ErrorCode.EMPTY, ErrorCode.INVALID_JSON, ErrorCode.SCHEMA_MISMATCH)
"""Defects that make an answer a failure unless the batch chooses otherwise."""


class Blame(Enum):
    """The cause of a failure, which decides whether and how the prompt is tried again."""

    PROMPT = "prompt"
    """The request itself is at fault: the same again would fail again."""
    ATTEMPT = "attempt"
    """Bad luck of this try: another may succeed, and it counts as an attempt."""
    LOSS = "loss"
    """The call went down with the host or the model's process, as others did: it goes back
    uncharged, but not for ever, because one of them may be what brings it down."""
    REFUSAL = "refusal"
    """The host, or what answers in its place, takes no prompts: it is put aside, and the prompt
    goes back uncharged while another host is left."""
    GATEWAY = "gateway"
    """A proxy before the host gave up. Nothing is decided by that alone: the attempt's failure if
    the host answers otherwise, the host's if it does not (`ollama.hosts` asks it)."""
    LIMIT = "limit"
    """The host takes nothing for this model for a while (429): the prompt goes back uncharged, and
    the host's other models go on."""
    HOST = "host"
    """The host is not there or takes nothing: the prompt goes back uncharged, the host rests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMetrics:
    """Counters of one call: Ollama's own, raw in nanoseconds, and the client's clock in seconds.

    None means that the server did not say (Ollama leaves zero values out) or it did not come to it.
    """

    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    latency_s: float | None = None
    """From sending the request to the end of the answer."""
    ttft_s: float | None = None
    """From sending the request to the first non-empty text, thinking included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a host sent for a prompt, whole or as far as it came. Each field is one of a result."""

    response: str | None
    """The text; of a failure what had arrived, never to be taken for an answer."""
    thinking: str | None = None
    tool_calls: Sequence[Any] | None = None
    """The tools that the model wants called, as Ollama sends them; None when there are none."""
    logprobs: Sequence[Any] | None = None
    """The log probabilities of the tokens, as Ollama sends them; None unless asked for."""
    done_reason: str | None = None
    metrics: CallMetrics = field(default_factory=CallMetrics)
    defect: ErrorCode | None = None
    """The first defect of an answer that came whole, whether it makes a failure or not."""
    embedding: bytes | None = None
    """The vectors of the call's texts, one behind the other, as `domain.vectors` packs them."""


METRICS: Final = tuple(each.name for each in fields(CallMetrics))
"""Names of the fields of `CallMetrics`; the columns of a result have the same."""
REPLIED: Final = tuple(each.name for each in fields(Reply) if each.name != "metrics")
"""Names of the other fields of a `Reply`; the columns of a result have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded(Reply):
    """The call ended with `done: true`."""

    response: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Reply):
    """The call gave no usable answer."""

    code: ErrorCode
    message: str
    """One sentence for the user: what happened, with the server's own words where it spoke."""
    blame: Blame
    response: str | None = None
    retry_after_s: float | None = None
    """Of `Blame.LIMIT`: seconds until the model may be asked for again; None: nobody said."""

    @classmethod
    def of_reply(cls, reply: Reply, *, code: ErrorCode, message: str, blame: Blame) -> Failed:
        """The failure of a call whose reply came and is not accepted."""
        came: dict[str, Any] = {name: getattr(reply, name) for name in ("metrics", *REPLIED)}
        return cls(code=code, message=message, blame=blame, **came)


Outcome = Succeeded | Failed

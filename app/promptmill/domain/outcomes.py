"""Outcomes of one call to Ollama: a closed set of error codes, and the cause that each blames.

An outcome is a value, never an exception. `ollama.failures` turns every failure of the wire into an
outcome; `domain.retry` decides what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum
from typing import Any, Final


class ErrorCode(StrEnum):
    """Reasons why a prompt has no usable answer. Part of the HTTP contract: never renamed.

    `PROMPT_TRUNCATED` to `SCHEMA_MISMATCH` are defects of an answer that did arrive; the batch
    chooses which of them make it a failure.
    """

    MODEL_NOT_FOUND = "model_not_found"
    """The host has no model of that name; pull it first."""
    INVALID_REQUEST = "invalid_request"
    """Ollama refused the request itself (an option, a capability); a repetition fails again."""
    HOST_REFUSED = "host_refused"
    """The host or a proxy before it refuses prompts (401, 403), or is not an Ollama server."""
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
    """The prompt's host or worker went down during ten attempts, in the last attempt the worker."""
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
    """Causes of a failure, which decide whether and how the prompt is tried again."""

    PROMPT = "prompt"
    """The request is at fault: a repetition would fail again."""
    ATTEMPT = "attempt"
    """The attempt failed by chance: another may succeed, and the failed one is charged."""
    LOSS = "loss"
    """The host or the model's process went down: the prompt goes back uncharged.

    The number of such returns is bounded, because the prompt may be the cause.
    """
    REFUSAL = "refusal"
    """The host, or what answers in its place, refuses all prompts.

    The host is put in quarantine, and the prompt goes back uncharged while another host is left.
    """
    GATEWAY = "gateway"
    """A proxy before the host reported a failure.

    `ollama.hosts` asks the host: if the host responds, the attempt failed; if not, the host did.
    """
    LIMIT = "limit"
    """The host limits the requests for this model for a while (429).

    The prompt goes back uncharged; the host's other models go on.
    """
    HOST = "host"
    """The host is down or takes no work: the prompt goes back uncharged, the host is quarantined.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class CallMetrics:
    """Counters of one call: Ollama's in nanoseconds, and the client's times in seconds.

    None stands for a value that the server did not send (Ollama leaves out zeros) or that was not
    reached.
    """

    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    latency_s: float | None = None
    """Seconds from sending the request to the end of the answer."""
    ttft_s: float | None = None
    """Seconds from sending the request to the first non-empty text, thinking included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Reply of a host to a prompt, complete or partial. Each field is a field of a result."""

    response: str | None
    """Text of the answer; after a failure the part that had arrived, which is not an answer."""
    thinking: str | None = None
    tool_calls: Sequence[Any] | None = None
    """The tools that the model wants called, as Ollama sends them; None when there are none."""
    logprobs: Sequence[Any] | None = None
    """The log probabilities of the tokens, as Ollama sends them; None unless asked for."""
    done_reason: str | None = None
    metrics: CallMetrics = field(default_factory=CallMetrics)
    defect: ErrorCode | None = None
    """First defect of a complete answer, whether or not it makes the answer a failure."""
    embedding: bytes | None = None
    """Vectors of the call's texts, concatenated, as `domain.vectors` packs them."""


METRICS: Final = tuple(each.name for each in fields(CallMetrics))
"""Names of the fields of `CallMetrics`, which are also columns of a result."""
OLLAMA_COUNTERS: Final = tuple(name for name in METRICS if not name.endswith("_s"))
"""Names of those that Ollama sends; they are columns of a benchmark's run as well."""
REPLIED: Final = tuple(each.name for each in fields(Reply) if each.name != "metrics")
"""Names of the other fields of a `Reply`, which are also columns of a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded(Reply):
    """The call ended with `done: true`."""

    response: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Reply):
    """The call gave no usable answer."""

    code: ErrorCode
    message: str
    """Sentence for the user: what happened, with the server's own words if it sent any."""
    blame: Blame
    response: str | None = None
    retry_after_s: float | None = None
    """Seconds until the model may be called again, with `Blame.LIMIT`; None: unknown."""

    @classmethod
    def of_reply(cls, reply: Reply, *, code: ErrorCode, message: str, blame: Blame) -> Failed:
        """Build the failure of a call whose reply arrived and is not accepted."""
        came: dict[str, Any] = {name: getattr(reply, name) for name in ("metrics", *REPLIED)}
        return cls(code=code, message=message, blame=blame, **came)


Outcome = Succeeded | Failed

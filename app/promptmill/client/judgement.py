"""Decisions on a response, or on its absence: a value, an error, or another try. No I/O.

A request is sent again only if that cannot do the work twice: it never left this machine, the
service said that it did nothing (429, 503, 507), or the request is repeatable by its nature.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from promptmill.client.errors import (
    FieldError,
    PromptmillProblem,
    ServiceUnreachable,
    UnexpectedAnswer,
)
from promptmill.client.requests.batches import Answer, Request
from promptmill.contract.batches import Batch

T = TypeVar("T")

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
LONGEST_RETRY_AFTER_S: Final = 30.0
"""A service that asks for a longer pause than this is reported instead of waited for."""
LONG_POLL_S: Final = 30.0
"""Longest seconds of a long poll while no progress is shown."""

_DID_NOTHING: Final = frozenset({429, 503, 507})
_GATEWAY: Final = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenOff:
    """Absence of a response."""

    reason: str
    was_sent: bool
    """Whether the service may have received the request."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """Decision that the response was read."""

    value: T


@dataclass(frozen=True, slots=True)
class Again:
    """Decision to send the request once more."""

    pause_s: float


def judge(
    request: Request[T], outcome: Answer | BrokenOff, *, attempt: int, attempts: int
) -> Done[T] | Again:
    """Decide what follows the `attempt`-th try (the first is 1) of at most `attempts`.

    Raises:
        PromptmillProblem: The service refused the request.
        ServiceUnreachable: There is no response, and no attempt is left or another might do the
            work twice.
        UnexpectedAnswer: The response is not that of a Promptmill service.
    """
    if isinstance(outcome, Answer) and outcome.status in request.expected:
        return Done(request.read(outcome))
    pause_s = _pause_before_another(request, outcome, attempt)
    if pause_s is not None and attempt < attempts and not request.sendable_once:
        return Again(pause_s)
    if isinstance(outcome, BrokenOff):
        raise ServiceUnreachable(outcome.reason)
    raise error_of(outcome)


def error_of(answer: Answer) -> PromptmillProblem | ServiceUnreachable | UnexpectedAnswer:
    """Build the error for a response with an unexpected status."""
    body = _json_object(answer.content)
    if body is None or "title" not in body:
        if answer.status in _GATEWAY:
            return ServiceUnreachable(f"A gateway answered {answer.status} in its place.")
        return UnexpectedAnswer(
            f"It answered {answer.status} without a problem description; is this address a"
            " Promptmill service?"
        )
    listed = body.get("errors")
    entries = cast("list[Any]", listed) if isinstance(listed, list) else []
    detail = body.get("detail")
    return PromptmillProblem(
        status=answer.status,
        title=str(body["title"]),
        type=str(body.get("type", "about:blank")),
        detail=str(detail) if detail else None,
        errors=[
            FieldError(pointer=str(entry.get("pointer", "")), detail=str(entry.get("detail", "")))
            for entry in (cast("dict[str, Any]", one) for one in entries if isinstance(one, dict))
        ],
        retry_after_s=_retry_after_s(answer),
        request_id=answer.headers.get("x-request-id"),
    )


def long_polls(
    every_s: float, timeout_s: float | None, clock: Callable[[], float]
) -> Iterator[float]:
    """Yield the seconds of consecutive long polls: `every_s`, until `timeout_s` is over.

    The last may be 0 seconds, so that an end in the last moment is seen.
    """
    if timeout_s is None:
        while True:
            yield every_s
    deadline = clock() + timeout_s
    while (left_s := deadline - clock()) > every_s:
        yield every_s
    yield max(left_s, 0.0)


class Patience:
    """Limit on the time for which a service that was reached before is tried again."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._lost_at: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._has_answered = False

    def answered(self) -> None:
        """Note that the service responded."""
        self._has_answered = True
        self._lost_at = None
        self._pause_s = FIRST_PAUSE_S

    def pause_s(self, error: Exception, now: float) -> float | None:
        """Seconds to wait before the next try, or None to give up and raise `error`.

        A service that never responded is given up at once: its address is more likely wrong than
        the service away.
        """
        if not (self._has_answered and _is_outage(error)):
            return None
        if self._lost_at is None:
            self._lost_at = now
        if now - self._lost_at >= self._limit_s:
            return None
        pause_s, self._pause_s = self._pause_s, min(self._pause_s * 2, LONGEST_PAUSE_S)
        return pause_s


@dataclass(frozen=True, slots=True)
class Outage:
    """Report that the service cannot be reached now and is tried again."""

    error: Exception


Sighting = Batch | Outage
"""Results of watching a batch: its state, or an outage."""


def _pause_before_another(
    request: Request[Any], outcome: Answer | BrokenOff, attempt: int
) -> float | None:
    pause_s = FIRST_PAUSE_S * 2 ** (attempt - 1)
    if isinstance(outcome, BrokenOff):
        return pause_s if request.repeatable or not outcome.was_sent else None
    if outcome.status in _DID_NOTHING:
        wanted_s = _retry_after_s(outcome)
        if wanted_s is None:
            return pause_s
        return wanted_s if wanted_s <= LONGEST_RETRY_AFTER_S else None
    return pause_s if outcome.status in _GATEWAY and request.repeatable else None


def _retry_after_s(answer: Answer) -> float | None:
    try:
        return max(float(answer.headers["retry-after"]), 0.0)
    except (KeyError, ValueError):
        # The service does not send the header's other form, a date.
        return None


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _is_outage(error: Exception) -> bool:
    """Whether an error means that the service is away, and not that the request is wrong."""
    return isinstance(error, ServiceUnreachable) or (
        isinstance(error, PromptmillProblem) and error.status in _DID_NOTHING
    )

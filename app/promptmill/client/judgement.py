"""What follows from an answer, or from none: a value, an error, or another try. Pure decisions.

The one rule to know: a request is sent again only where that cannot do the work twice, because it
never left this machine, the service said that it did nothing (429, 503, 507), or the request
is repeatable by its nature.
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
"""A service that wants a longer pause than this is reported instead of waited for."""
LONG_POLL_S: Final = 30.0
"""How long the service is asked to hold an answer back while nobody wants to see progress."""

_DID_NOTHING: Final = frozenset({429, 503, 507})
_GATEWAY: Final = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenOff:
    """There is no answer."""

    reason: str
    was_sent: bool
    """Whether the service may have got the request."""


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The answer was read."""

    value: T


@dataclass(frozen=True, slots=True)
class Again:
    """The request should be sent once more."""

    pause_s: float


def judge(
    request: Request[T], outcome: Answer | BrokenOff, *, attempt: int, attempts: int
) -> Done[T] | Again:
    """What to do after the `attempt`-th try (the first is 1) of at most `attempts`.

    Raises:
        PromptmillProblem: The service said no.
        ServiceUnreachable: There is no answer, and no attempt is left or another might do harm.
        UnexpectedAnswer: The answer is not that of this service.
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
    """The error that an answer with an unexpected status stands for."""
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
    """How long each of a row of long polls may be held: `every_s`, until `timeout_s` is over.

    The last one may be held for no time at all, so that an end in the last moment is seen.
    """
    if timeout_s is None:
        while True:
            yield every_s
    deadline = clock() + timeout_s
    while (left_s := deadline - clock()) > every_s:
        yield every_s
    yield max(left_s, 0.0)


class Patience:
    """How long to go on trying to reach a service that has answered before."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._lost_at: float | None = None
        self._pause_s = FIRST_PAUSE_S
        self._has_answered = False

    def answered(self) -> None:
        """The service is there."""
        self._has_answered = True
        self._lost_at = None
        self._pause_s = FIRST_PAUSE_S

    def pause_s(self, error: Exception, now: float) -> float | None:
        """Seconds to wait before the next try, or None to give up and raise `error`.

        A service that never answered is given up at once: the address is more likely wrong than
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
    """The service cannot be reached for now; it is being tried again."""

    error: Exception


Sighting = Batch | Outage
"""What watching a batch shows from time to time."""


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
        # The other form of the header, a date, is not used by the service.
        return None


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _is_outage(error: Exception) -> bool:
    """Whether the error says that the service is away now, and not that the request is wrong."""
    return isinstance(error, ServiceUnreachable) or (
        isinstance(error, PromptmillProblem) and error.status in _DID_NOTHING
    )

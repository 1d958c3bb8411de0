"""What can go wrong between this library and a service.

PromptmillError
├── PromptmillProblem     the service answered that it will not or cannot do it
├── ServiceUnreachable    no connection could be made, or it broke before the whole answer
├── UnexpectedAnswer      something answered, but not in the way of this service
└── WaitTimeout           the batch or benchmark had not ended in the time that was given
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MOST_TOLD: Final = 5
"""Fields that are wrong, in the text of an error."""


class PromptmillError(Exception):
    """Base of all errors that this library raises on purpose; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing that is wrong with a request."""

    pointer: str
    """Where, as a JSON pointer into the body: `/prompts/3`."""
    detail: str
    """What is wrong there."""


class PromptmillProblem(PromptmillError):  # noqa: N818 - it is a problem in RFC 9457's words
    """The service answered with a problem (RFC 9457); nothing was changed there.

    `status` is the HTTP status, `type` and `title` name the kind of problem for programs and for
    people, `detail` is a sentence about this one. `errors` names every field that is wrong, and is
    empty unless the body did not validate; the text of the error has the first five.
    `retry_after_s` is how long to wait before asking again, where the service said so;
    `request_id` finds the request in the service's log.
    """

    def __init__(
        self,
        *,
        status: int,
        title: str,
        type: str = "about:blank",  # noqa: A002 - RFC 9457's word
        detail: str | None = None,
        errors: Sequence[FieldError] = (),
        retry_after_s: float | None = None,
        request_id: str | None = None,
    ) -> None:
        told = "".join(f"\n{one.pointer}: {one.detail}" for one in errors[:_MOST_TOLD])
        super().__init__(f"{status} {title}" + (f": {detail}" if detail else "") + told)
        self.status = status
        self.title = title
        self.type = type
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s
        self.request_id = request_id


class ServiceUnreachable(PromptmillError):  # noqa: N818 - a state of the service
    """No connection could be made, or it broke before the whole answer was there."""


class UnexpectedAnswer(PromptmillError):  # noqa: N818 - named for what arrived
    """Something answered, but it is not a Promptmill service, or one this library cannot read."""


class WaitTimeout(PromptmillError):  # noqa: N818 - the usual word
    """The batch or benchmark had not ended in the time that was given; it goes on."""

"""Errors between this library and a service.

PromptmillError
├── PromptmillProblem     the service refused the request or cannot serve it
├── ServiceUnreachable    no connection could be made, or it broke before the response was complete
├── UnexpectedAnswer      the response is not from a Promptmill service
└── WaitTimeout           the batch or benchmark had not ended within the given time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MOST_TOLD: Final = 5
"""Most wrong fields that the text of an error lists."""


class PromptmillError(Exception):
    """Base class of the errors that this library raises; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """Error in one field of a request."""

    pointer: str
    """Place of the field, as a JSON pointer into the body: `/prompts/3`."""
    detail: str
    """Fault of the field."""


class PromptmillProblem(PromptmillError):  # noqa: N818 - it is a problem in RFC 9457's words
    """The service responded with a problem (RFC 9457); nothing was changed there.

    `status` is the HTTP status, `type` and `title` name the kind of problem for programs and for
    people, `detail` describes this occurrence. `errors` names every wrong field, and is empty
    unless the body did not validate; the error's text lists the first five. `retry_after_s` is the
    time to wait before another request, if the service gave one; `request_id` identifies the
    request in the service's log.
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
    """No connection could be made, or the connection broke before the response was complete."""


class UnexpectedAnswer(PromptmillError):  # noqa: N818 - named for what arrived
    """The response is not from a Promptmill service, or from a version that cannot be read."""


class WaitTimeout(PromptmillError):  # noqa: N818 - the usual word
    """The batch or benchmark had not ended within the given time; it continues."""

"""The errors that a caller of the service can be told about.

    PromptmillError
    ├── NotFound         there is no such job
    ├── Invalid          the request cannot be accepted as it is
    ├── Conflict         the job's state forbids it
    ├── LimitExceeded    a configured limit would be passed
    ├── Unauthenticated  a key is needed, and the request has none that is good
    ├── Forbidden        the key may not do this
    ├── CrossOrigin      a web page of another origin has sent the request
    ├── MalformedHost    the request does not say in which way the service was addressed
    ├── HostNotAllowed   the service does not answer under this name
    └── Unavailable      something the service needs is not there now
        └── StorageFull  the database has no room for more

Each becomes HTTP in one table, `api.problems`.
"""

from __future__ import annotations

from dataclasses import dataclass


class PromptmillError(Exception):
    """Base of all errors that the service raises on purpose; the message is for the user."""


class NotFound(PromptmillError):  # noqa: N818 - the tree above reads better without a suffix
    """There is no job, result or model of that name."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with a request: where (a JSON pointer) and what to do about it."""

    pointer: str
    detail: str


class Invalid(PromptmillError):  # noqa: N818
    """The request cannot be accepted as it is; `problems` names every field that is wrong."""

    def __init__(self, message: str, problems: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class Conflict(PromptmillError):  # noqa: N818
    """The job's present state forbids what was asked."""


class LimitExceeded(PromptmillError):  # noqa: N818
    """A configured limit would be passed."""


class Unauthenticated(PromptmillError):  # noqa: N818
    """A key is needed, and the request has none, or one that is unknown, over or revoked."""


class TooManyAttempts(PromptmillError):  # noqa: N818
    """The address has sent so many wrong keys that its next one is not looked at."""


class Forbidden(PromptmillError):  # noqa: N818
    """The key is good, but not for this."""


class CrossOrigin(PromptmillError):  # noqa: N818
    """A web page of another origin has sent the request."""


class MalformedHost(PromptmillError):  # noqa: N818
    """The request has no `Host`, or several, or one that cannot be read."""


class HostNotAllowed(PromptmillError):  # noqa: N818
    """The service does not answer under this name, which a stranger may have made point to it."""


class Unavailable(PromptmillError):  # noqa: N818
    """The database or the Ollama host is not there now; the same request may succeed later."""


class WorkerEnded(Unavailable):
    """A worker of this process cannot go on: one of its roles has ended."""


class StorageFull(Unavailable):
    """The database can be read, but has no room to store anything; it may be given some."""

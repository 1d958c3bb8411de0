"""The errors that the service reports to callers.

    PromptmillError
    ├── NotFound         there is no such job
    ├── Invalid          the request cannot be accepted as it is
    ├── Conflict         the job's state does not allow the request
    ├── LimitExceeded    the request would exceed a configured limit
    ├── Unauthenticated  the request needs a key, and has no valid one
    ├── TooManyAttempts  the address has sent too many wrong keys
    ├── Forbidden        the key's scopes do not allow the request
    ├── CrossOrigin      a web page of another origin has sent the request
    ├── MalformedHost    the request has no valid `Host` header
    ├── HostNotAllowed   the service is not reached under this name
    └── Unavailable      something that the service needs is not available
        ├── WorkerEnded  a worker of this process cannot continue
        └── StorageFull  the database has no room for more

One table, `api.errors.problems`, maps each to an HTTP response.
"""

from __future__ import annotations

from dataclasses import dataclass


class PromptmillError(Exception):
    """Base of the errors that the service raises on purpose; the message is for the user."""


class NotFound(PromptmillError):  # noqa: N818 - the tree above reads better without a suffix
    """There is no job, result or model with that id or name."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """Error in one part of a request: its place (a JSON pointer) and how to fix it."""

    pointer: str
    detail: str


class Invalid(PromptmillError):  # noqa: N818
    """The request cannot be accepted as it is; `problems` lists every wrong field."""

    def __init__(self, message: str, problems: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class Conflict(PromptmillError):  # noqa: N818
    """The job's state does not allow the request."""


class LimitExceeded(PromptmillError):  # noqa: N818
    """The request would exceed a configured limit."""


class Unauthenticated(PromptmillError):  # noqa: N818
    """The request needs a key, and has none, or one that is unknown, expired or revoked."""


class TooManyAttempts(PromptmillError):  # noqa: N818
    """The address has sent too many wrong keys, so that its next key is not checked."""


class Forbidden(PromptmillError):  # noqa: N818
    """The key is valid, but its scopes do not allow the request."""


class CrossOrigin(PromptmillError):  # noqa: N818
    """The request was sent by a web page of another origin."""


class MalformedHost(PromptmillError):  # noqa: N818
    """The request has no `Host` header, several, or a malformed one."""


class HostNotAllowed(PromptmillError):  # noqa: N818
    """The service is not reached under this name, which a stranger may have pointed to it."""


class Unavailable(PromptmillError):  # noqa: N818
    """The database or the Ollama host is not available; the same request may succeed later."""


class WorkerEnded(Unavailable):
    """A worker of this process cannot continue, because one of its roles has ended."""


class StorageFull(Unavailable):
    """The database can be read, but has no room to store anything."""

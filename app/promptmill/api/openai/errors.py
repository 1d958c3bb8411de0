"""Errors in OpenAI's form: the envelope, and the table that maps the service's errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic_core import to_json
from starlette.responses import Response

from promptmill.domain.access.attempts import REGAIN_S
from promptmill.domain.errors import (
    Conflict,
    CrossOrigin,
    FieldProblem,
    Forbidden,
    HostNotAllowed,
    Invalid,
    LimitExceeded,
    MalformedHost,
    NotFound,
    PromptmillError,
    StorageFull,
    TooManyAttempts,
    Unauthenticated,
    Unavailable,
)
from promptmill.services.openai.batches import KeyReused, WrongPurpose
from promptmill.services.openai.translation.faults import Fault, Refused

PREFIX: Final = "/v1/"
"""Prefix of the dialect's paths, whose clients only understand OpenAI's errors."""
REQUEST: Final = "invalid_request_error"
SERVER: Final = "server_error"
NO_RETRY: Final[Mapping[str, str]] = {"x-should-retry": "false"}
"""Header for errors after which OpenAI's libraries would repeat the request in vain."""


class ApiError(Exception):
    """The request gets an error of HTTP as response."""

    def __init__(
        self,
        status: int,
        *faults: Fault,
        kind: str = REQUEST,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(faults[0].message)
        self.status = status
        self.faults = faults
        self.kind = kind
        self.headers = headers


def json_response(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """JSON response."""
    return Response(
        to_json(document), status, headers=dict(headers or {}), media_type="application/json"
    )


def error_response(error: ApiError) -> Response:
    """Response with the envelope of an error."""
    return json_response(envelope(error.faults, error.kind), error.status, error.headers)


def envelope(faults: Sequence[Fault], kind: str = REQUEST) -> dict[str, Any]:
    """Build the envelope: the first fault as the error, and several as its details."""
    told: dict[str, Any] = {
        "message": faults[0].message,
        "type": kind,
        "param": faults[0].param,
        "code": faults[0].code,
    }
    if len(faults) > 1:
        told["details"] = [fault._asdict() for fault in faults]
    return {"error": told}


_LATER: Final = {"Retry-After": f"{REGAIN_S:.0f}"}


class _Row(NamedTuple):
    """Error of HTTP for one class of errors."""

    status: int
    code: str | None
    kind: str = REQUEST
    param: str | None = None
    headers: Mapping[str, str] | None = None


_TABLE: Final[tuple[tuple[type[PromptmillError], _Row], ...]] = (
    # How the way into the service refuses a request, before any address is looked at.
    (Unauthenticated, _Row(401, "invalid_api_key", headers={"WWW-Authenticate": "Bearer"})),
    (TooManyAttempts, _Row(429, "rate_limit_exceeded", "requests", headers=_LATER)),
    (Forbidden, _Row(403, "missing_scope")),
    (CrossOrigin, _Row(403, "origin_not_allowed")),
    (HostNotAllowed, _Row(421, "host_not_allowed")),
    (MalformedHost, _Row(400, "invalid_host")),
    (Conflict, _Row(409, None, headers=NO_RETRY)),
    # The special ones before what they are a kind of: the first that fits is taken.
    (KeyReused, _Row(400, "idempotency_key_reused")),
    (WrongPurpose, _Row(400, "invalid_purpose", param="input_file_id")),
    (Invalid, _Row(400, "invalid_value")),
    (LimitExceeded, _Row(429, "rate_limit_exceeded", "requests", headers={"Retry-After": "10"})),
    (StorageFull, _Row(507, "storage_full", SERVER, headers=NO_RETRY)),
    (Unavailable, _Row(503, "service_unavailable", SERVER, headers={"Retry-After": "5"})),
)


def api_error(error: Exception, *, missing: tuple[str, str | None]) -> ApiError | None:
    """Map an error of a service function to one of HTTP; None for an unexpected error.

    `missing` are code and param of what is not found.
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, Refused):
        return ApiError(400, *error.faults)
    if isinstance(error, NotFound):
        return ApiError(404, Fault(str(error), missing[1], missing[0]))
    if isinstance(error, Invalid) and error.problems:
        return ApiError(400, *map(_fault_of, error.problems))
    row = next((row for kind, row in _TABLE if isinstance(error, kind)), None)
    if row is None:
        return None
    fault = Fault(str(error), row.param, row.code)
    return ApiError(row.status, fault, kind=row.kind, headers=row.headers)


def _fault_of(problem: FieldProblem) -> Fault:
    """Convert a fault of a native field, which the dialect has in its extension."""
    param = f"promptmill.{problem.pointer.removeprefix('/')}"
    return Fault(f"Invalid '{param}': it {problem.detail}.", param, "invalid_value")


def internal_error() -> ApiError:
    """Error of the service itself."""
    message = "The service failed; its log tells more under the x-request-id of this answer."
    return ApiError(500, Fault(message, None, "internal_error"), kind=SERVER)

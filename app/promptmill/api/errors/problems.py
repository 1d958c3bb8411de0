"""Mapping of errors to RFC 9457 `application/problem+json`, in one table.

Each kind of problem has a `type` that clients may rely on; `docs/http-errors.md` says how to react,
and so does the service under the address that `type` is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from promptmill.api.errors.unstorable import MalformedJson
from promptmill.api.errors.violations import Faults, sentence_of
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
from promptmill.observability.metrics import HTTP_REFUSED

MEDIA_TYPE: Final = "application/problem+json"
_LONGEST_INSTANCE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Kind of problem; `type` in the response is `/problems/` and the slug."""

    slug: str
    status: int
    title: str
    meaning: str
    """Explanation and remedy, for the page at the problem's address."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def type(self) -> str:
        """URI reference that identifies the kind."""
        return f"/problems/{self.slug}"


MALFORMED_JSON: Final = Kind(
    slug="malformed-json",
    status=400,
    title="The body is not JSON",
    meaning="The body could not be read as JSON in UTF-8; `detail` names the line and column. NaN"
    " and Infinity are no JSON, and a body may be nested 100 levels deep. Repair the body.",
)
UNAUTHENTICATED: Final = Kind(
    slug="unauthenticated",
    status=401,
    title="A key is needed",
    meaning="The service wants an API key, and the request has none, or one that is unknown, has"
    " expired or was revoked. Send it as `Authorization: Bearer pm_...`. The operator makes keys"
    " with `promptmill keys create`.",
    headers={"WWW-Authenticate": "Bearer"},
)
TOO_MANY_ATTEMPTS: Final = Kind(
    slug="too-many-attempts",
    status=429,
    title="Too many wrong keys",
    meaning="Five wrong keys have come from this address within a minute, so that keys it had not"
    " sent before are not looked at. Wait as many seconds as the header `Retry-After` says, and"
    " stop what sends the wrong key.",
    headers={"Retry-After": f"{REGAIN_S:.0f}"},
)
FORBIDDEN: Final = Kind(
    slug="forbidden",
    status=403,
    title="The key may not do this",
    meaning="The key is good, but has no scope that allows this request; `detail` names those that"
    " would do. Take another key, or ask the operator for one.",
)
CROSS_ORIGIN: Final = Kind(
    slug="cross-origin",
    status=403,
    title="Web pages of other origins may not do this",
    meaning="A browser has sent this request for a page of another origin. That page may not use"
    " the service, unless the operator adds its origin to PROMPTMILL_CORS_ORIGINS. Programs that"
    " are no browsers never meet this.",
)
HOST_NOT_ALLOWED: Final = Kind(
    slug="host-not-allowed",
    status=421,
    title="The service does not answer under this name",
    meaning="The header `Host` has a name that anybody could make point to this machine, to let a"
    " web page in. IP addresses and localhost always do; a name of the service's own is added to"
    " PROMPTMILL_ALLOWED_HOSTS by the operator.",
)
NOT_FOUND: Final = Kind(
    slug="not-found",
    status=404,
    title="Not found",
    meaning="There is nothing under this address: the id is wrong, or what had it was deleted, or"
    " the service has no such path.",
)
METHOD_NOT_ALLOWED: Final = Kind(
    slug="method-not-allowed",
    status=405,
    title="Method not allowed",
    meaning="The address exists, but not for this method; the header `Allow` lists those it has.",
)
CONFLICT: Final = Kind(
    slug="conflict",
    status=409,
    title="The state of the job forbids it",
    meaning="A batch or benchmark that has ended cannot be cancelled, paused or resumed, one that"
    " has not ended cannot be deleted, a batch in which nothing failed, was cancelled or expired"
    " cannot be retried, and benchmarks are compared when they have ended. Read it again and decide"
    " by its `status`.",
)
BODY_TOO_LARGE: Final = Kind(
    slug="body-too-large",
    status=413,
    title="The body is too large",
    meaning="The body has more bytes than the service accepts (`PROMPTMILL_MAX_BODY_BYTES` of JSON,"
    " `PROMPTMILL_MAX_UPLOAD_BYTES` of NDJSON, 1 MiB of the other requests). Send the prompts"
    " as NDJSON, or in several batches.",
    headers={"Connection": "close"},
)
BODY_STALLED: Final = Kind(
    slug="body-stalled",
    status=408,
    title="The body did not come",
    meaning="The rest of the body did not come in time: more of it has to come every 60 seconds, of"
    " a body of lines every hour. Send the request again.",
    headers={"Connection": "close"},
)
UNSUPPORTED_MEDIA_TYPE: Final = Kind(
    slug="unsupported-media-type",
    status=415,
    title="The body must be JSON",
    meaning="The body must be sent as `Content-Type: application/json`, or"
    " `application/x-ndjson` for a batch with a prompt per line; in UTF-8 and uncompressed.",
)
INVALID_REQUEST: Final = Kind(
    slug="invalid-request",
    status=422,
    title="The request is not valid",
    meaning="The request was understood and cannot be accepted as it is. `errors` lists each entry"
    " that is wrong, with a JSON pointer into the body; `/query/...` points at a query parameter"
    " and `/header/...` at a header. An Idempotency-Key that was used with another body is refused"
    " in the same way. Nothing was stored.",
)
LIMIT_EXCEEDED: Final = Kind(
    slug="limit-exceeded",
    status=429,
    title="A limit is reached",
    meaning="A configured limit would be passed, such as the length of the queue. The same request"
    " may succeed later: wait as many seconds as the header `Retry-After` says.",
    headers={"Retry-After": "10"},
)
INTERNAL_ERROR: Final = Kind(
    slug="internal-error",
    status=500,
    title="Something went wrong in the service",
    meaning="A fault of the service itself. Its log tells more under the `request_id` of the"
    " answer. The request may be sent again with the same Idempotency-Key.",
)
UNAVAILABLE: Final = Kind(
    slug="unavailable",
    status=503,
    title="The service cannot do this now",
    meaning="The database or the Ollama host does not answer; `detail` names what is missing. The"
    " same request may succeed later: wait as many seconds as the header `Retry-After` says.",
    headers={"Retry-After": "5"},
)
STORAGE_FULL: Final = Kind(
    slug="storage-full",
    status=507,
    title="There is no room to store this",
    meaning="The database can be read, but cannot store anything: its disk is full, or a quota or"
    " a limit of file sizes is reached; `detail` has its own words. Or so little is free that it"
    " is kept for the results of what runs (PROMPTMILL_MIN_FREE_BYTES). Nothing of the request was"
    " stored, and what was accepted before is kept. Make room; the service goes on by itself.",
    headers={"Retry-After": "10"},
)
OTHER: Final = Kind(
    slug="http-error",
    status=400,
    title="The request cannot be answered",
    meaning="A fault of the request that has no page of its own; its status and `detail` tell.",
)

KINDS: Final = (
    MALFORMED_JSON,
    UNAUTHENTICATED,
    FORBIDDEN,
    CROSS_ORIGIN,
    HOST_NOT_ALLOWED,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    CONFLICT,
    BODY_STALLED,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA_TYPE,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    TOO_MANY_ATTEMPTS,
    INTERNAL_ERROR,
    UNAVAILABLE,
    STORAGE_FULL,
    OTHER,
)
KIND_OF_ERROR: Final[Mapping[type[Exception], Kind]] = {
    MalformedJson: MALFORMED_JSON,
    NotFound: NOT_FOUND,
    Conflict: CONFLICT,
    Invalid: INVALID_REQUEST,
    LimitExceeded: LIMIT_EXCEEDED,
    Unauthenticated: UNAUTHENTICATED,
    TooManyAttempts: TOO_MANY_ATTEMPTS,
    Forbidden: FORBIDDEN,
    CrossOrigin: CROSS_ORIGIN,
    HostNotAllowed: HOST_NOT_ALLOWED,
    MalformedHost: OTHER,
    # A subclass precedes its base class, because the first match is taken.
    StorageFull: STORAGE_FULL,
    Unavailable: UNAVAILABLE,
}
_REFUSALS: Final = {
    UNAUTHENTICATED.slug: "key",
    TOO_MANY_ATTEMPTS.slug: "rate",
    FORBIDDEN.slug: "scope",
    CROSS_ORIGIN.slug: "origin",
    HOST_NOT_ALLOWED.slug: "host",
    LIMIT_EXCEEDED.slug: "full",
    BODY_TOO_LARGE.slug: "size",
}
"""Labels of these problems in the metric of refused requests."""
_KIND_OF_STATUS: Final = {kind.status: kind for kind in reversed(KINDS)}


class Refused(Exception):  # noqa: N818 - named for what happened to the request
    """Refusal of a request by HTTP's own rules, before a service function is called."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def problem_response(
    scope: Scope,
    kind: Kind,
    detail: str,
    *,
    errors: Sequence[FieldProblem] = (),
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Build the response for a problem."""
    _count_refusal(kind)
    document: dict[str, Any] = {
        "type": f"{_prefix(scope)}{kind.type}",
        "title": kind.title,
        "status": status or kind.status,
        "detail": detail,
        "instance": quote(scope["path"])[:_LONGEST_INSTANCE],
        "request_id": scope.get("state", {}).get("request_id"),
    }
    if errors:
        document["errors"] = [
            {"pointer": error.pointer, "detail": error.detail} for error in errors
        ]
    # Escaped to ASCII, because a pointer may repeat a name with lone surrogates.
    return Response(
        json.dumps(document).encode("ascii"),
        status_code=status or kind.status,
        headers={**kind.headers, **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def install_problem_handlers(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Install handlers that map every error to a problem, except unexpected errors.

    `routers` are the application's, from which the methods of a path are found. The handlers are
    coroutines, because plain functions would run in threads, and refusals are counted in the event
    loop's thread only.
    """
    routes = [route for router in routers for route in router.routes]

    async def tell_http_error(request: Request, error: Exception) -> Response:
        return _tell_http_error(request, error, routes)

    for error in (PromptmillError, MalformedJson):
        app.add_exception_handler(error, _tell_error)
    app.add_exception_handler(Refused, _tell_refusal)
    app.add_exception_handler(RequestValidationError, _tell_parameters)
    app.add_exception_handler(HTTPException, tell_http_error)


def _prefix(scope: Scope) -> str:
    """Prefix of a proxy, also for an application that is mounted in another."""
    return str(scope.get("app_root_path", scope.get("root_path", ""))).rstrip("/")


def count_refusal(error: Exception) -> None:
    """Count a request that is refused with an error of `KIND_OF_ERROR`."""
    _count_refusal(_kind_of(error))


def _count_refusal(kind: Kind) -> None:
    if (reason := _REFUSALS.get(kind.slug)) is not None:
        HTTP_REFUSED.labels(reason).inc()


def _kind_of(error: Exception) -> Kind:
    return next(kind for of, kind in KIND_OF_ERROR.items() if isinstance(error, of))


def error_response(scope: Scope, error: Exception) -> Response:
    """Build the response for an error of `KIND_OF_ERROR`."""
    kind = _kind_of(error)
    errors = error.problems if isinstance(error, Invalid) else ()
    return problem_response(scope, kind, str(error), errors=errors)


async def _tell_error(request: Request, error: Exception) -> Response:
    return error_response(request.scope, error)


async def _tell_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - what the handler is registered for
    return problem_response(request.scope, error.kind, str(error))


async def _tell_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    faults = Faults()
    for details in error.errors():
        faults.add(tuple(details["loc"]), sentence_of(details))
    try:
        faults.raise_if_any()
    except Invalid as invalid:
        return error_response(request.scope, invalid)
    return problem_response(request.scope, INVALID_REQUEST, "The request is not valid.")


def _tell_http_error(request: Request, error: Exception, routes: Sequence[BaseRoute]) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    kind = _KIND_OF_STATUS.get(error.status_code, OTHER)
    detail = {
        404: "The service has no such path.",
        405: f"{request.method} is not possible here.",
    }.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if kind is METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_methods_of(request.scope, routes)))
    return problem_response(request.scope, kind, detail, status=error.status_code, headers=headers)


def _methods_of(scope: Scope, routes: Sequence[BaseRoute]) -> set[str]:
    # The framework lists the methods of the first matching route only.
    methods: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] is not Match.NONE:
            methods |= set(getattr(route, "methods", None) or ())
    return methods

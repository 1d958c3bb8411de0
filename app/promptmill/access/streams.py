"""Bounds on the number of requests that stay open: event streams and long polls."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from starlette.datastructures import Headers, QueryParams
from starlette.types import Scope as AsgiScope

from promptmill.access.routes import Route
from promptmill.domain.access.keys import Caller
from promptmill.domain.access.streams import StreamKind
from promptmill.observability.metrics import HTTP_STREAMS
from promptmill.services.resources import Resources

_EVENTS: Final = "/batches/{batch_id}/events"
_UPLOADS: Final = frozenset({"application/x-ndjson", "multipart/form-data"})
_RESULTS: Final = "/batches/{batch_id}/results"
_EXPORTS: Final = frozenset({"/v1/files/{file_id}/content", "/v1/batches/{batch_id}/results"})


def stream_kind(scope: AsgiScope, route: Route | None) -> StreamKind | None:
    """Kind of a request that stays open; None for a request that is answered at once."""
    if route is None:
        return None
    headers = Headers(scope=scope)
    if scope["method"] == "POST":
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        return StreamKind.UPLOAD if media_type in _UPLOADS else None
    if scope["method"] != "GET":
        return None
    if route.path == _EVENTS:
        return StreamKind.EVENTS
    if route.path in _EXPORTS or (route.path == _RESULTS and _wants_all(scope, headers)):
        return StreamKind.EXPORT
    return StreamKind.LONG_POLL if b"wait_s=" in scope.get("query_string", b"") else None


def _wants_all(scope: AsgiScope, headers: Headers) -> bool:
    """Whether NDJSON or CSV is asked for, which have all that there is and no pages."""
    query = QueryParams(scope.get("query_string", b""))
    accepted = headers.get("accept", "")
    is_accepted = any(name in accepted for name in ("x-ndjson", "text/csv"))
    return query.get("format", "json") != "json" or is_accepted


def require_room(resources: Resources, caller: Caller, kind: StreamKind | None) -> None:
    """Check that another request of this kind may stay open.

    Raises:
        LimitExceeded: Too many requests of this kind are open.
    """
    if kind is not None:
        settings = resources.settings
        most = {
            StreamKind.EVENTS: settings.max_streams,
            StreamKind.LONG_POLL: settings.max_streams,
            StreamKind.UPLOAD: settings.max_uploads,
            StreamKind.EXPORT: settings.max_exports,
        }
        resources.streams.require_room(kind, caller.key_id, most)


@contextmanager
def counted(resources: Resources, caller: Caller, kind: StreamKind | None) -> Generator[None]:
    """Count an open request while the block runs."""
    if kind is None:
        yield
        return
    with (
        resources.streams.counted(kind, caller.key_id),
        HTTP_STREAMS.labels(kind.value).track_inprogress(),
    ):
        yield

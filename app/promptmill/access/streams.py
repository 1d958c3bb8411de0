"""Bounds on the number of requests that stay open: event streams and long polls."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from starlette.types import Scope as AsgiScope

from promptmill.access.routes import Route
from promptmill.domain.access.keys import Caller
from promptmill.observability.metrics import HTTP_STREAMS
from promptmill.services.resources import Resources

_EVENTS: Final = "/batches/{batch_id}/events"


def stream_kind(scope: AsgiScope, route: Route | None) -> str | None:
    """`events` or `long_poll` for a request that stays open; None for other requests."""
    if route is None or scope["method"] != "GET":
        return None
    if route.path == _EVENTS:
        return "events"
    return "long_poll" if b"wait_s=" in scope.get("query_string", b"") else None


def require_room(resources: Resources, caller: Caller, kind: str | None) -> None:
    """Check that another request of this kind may stay open.

    Raises:
        LimitExceeded: Too many requests of this kind are open.
    """
    if kind is not None:
        resources.streams.require_room(caller.key_id, resources.settings.max_streams)


@contextmanager
def counted(resources: Resources, caller: Caller, kind: str | None) -> Generator[None]:
    """Count an open request while the block runs."""
    if kind is None:
        yield
        return
    with resources.streams.counted(caller.key_id), HTTP_STREAMS.labels(kind).track_inprogress():
        yield

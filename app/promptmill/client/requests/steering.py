"""Requests of the HTTP API that change batches and hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypedDict
from urllib.parse import quote

from promptmill.client.requests.batches import Request, reader_of
from promptmill.contract.batches import Batch
from promptmill.contract.hosts import Host, HostPage
from promptmill.json_values import encoded

_ACCEPTED: Final = frozenset({200, 202})
_JSON: Final = {"content-type": "application/json"}


class BatchChanges(TypedDict, total=False):
    """Changes of a batch; fields that are left out keep their values."""

    max_concurrent: int | Literal["auto"]
    """Most prompts that run at a time, 1 to 256; with `auto` the limit follows the throughput."""
    rate_limit_delay: float
    """Least seconds between two request starts, 0 to 3600."""
    priority: int
    """-100 to 100; higher goes first."""
    label: str
    """Your name for the batch, 1 to 200 characters."""
    metadata: Mapping[str, str]
    """Up to 16 pairs of your own, which replace all earlier pairs."""


def pause_batch(batch_id: str) -> Request[Batch]:
    """POST /batches/{id}/pause; a repetition changes nothing."""
    return Request(
        method="POST",
        path=_path(batch_id, "/pause"),
        expected=_ACCEPTED,
        read=reader_of(Batch),
    )


def resume_batch(batch_id: str) -> Request[Batch]:
    """POST /batches/{id}/resume; a repetition changes nothing."""
    return Request(
        method="POST",
        path=_path(batch_id, "/resume"),
        expected=_ACCEPTED,
        read=reader_of(Batch),
    )


def retry_batch(
    batch_id: str, *, indexes: Iterable[int] | None = None, expires_in_s: float | None = None
) -> Request[Batch]:
    """POST /batches/{id}/retry.

    A repetition may find no prompt to run again, or prompts that have failed again meanwhile.
    """
    wish: dict[str, Any] = {}
    if indexes is not None:
        wish["indexes"] = list(indexes)
    if expires_in_s is not None:
        wish["expires_in_s"] = expires_in_s
    return Request(
        method="POST",
        path=_path(batch_id, "/retry"),
        content=encoded(wish) if wish else None,
        headers=_JSON if wish else {},
        expected=_ACCEPTED,
        repeatable=False,
        read=reader_of(Batch),
    )


def update_batch(batch_id: str, changes: BatchChanges) -> Request[Batch]:
    """PATCH /batches/{id}.

    Raises:
        ValueError: No field is given, or a value has no JSON form.
    """
    if not changes:
        raise ValueError("there is nothing to change; give at least one field")
    return Request(
        method="PATCH",
        path=_path(batch_id),
        content=encoded(changes),
        headers=_JSON,
        read=reader_of(Batch),
    )


def list_hosts() -> Request[tuple[Host, ...]]:
    """GET /hosts."""
    read = reader_of(HostPage)
    return Request(method="GET", path="/hosts", read=lambda answer: read(answer).data)


def update_host(host_id: str, *, enabled: bool) -> Request[Host]:
    """PATCH /hosts/{id}."""
    return Request(
        method="PATCH",
        path=f"/hosts/{quote(host_id, safe='')}",
        content=encoded({"enabled": enabled}),
        headers=_JSON,
        read=reader_of(Host),
    )


def _path(batch_id: str, verb: str = "") -> str:
    return f"/batches/{quote(batch_id, safe='')}{verb}"

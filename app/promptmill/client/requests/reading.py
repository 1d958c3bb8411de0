"""Requests of the HTTP API for prompts, histories, summaries and statistics."""

from __future__ import annotations

from urllib.parse import quote

from promptmill.client.requests.batches import Request, query_of, reader_of
from promptmill.contract.activity import Throughput
from promptmill.contract.reading import (
    HistoryEntry,
    HistoryPage,
    Stats,
    Summary,
    WaitingPrompt,
    WaitingPromptPage,
    WholePrompt,
)
from promptmill.contract.settings import Installation


def waiting_prompts(batch_id: str, *, state: str, limit: int) -> Request[tuple[WaitingPrompt, ...]]:
    """GET /batches/{id}/prompts."""
    read = reader_of(WaitingPromptPage)
    return Request(
        method="GET",
        path=f"/batches/{quote(batch_id, safe='')}/prompts",
        query=query_of(state=state, limit=str(limit)),
        read=lambda answer: read(answer).data,
    )


def one_prompt(batch_id: str, index: int) -> Request[WholePrompt]:
    """GET /batches/{id}/prompts/{index}."""
    path = f"/batches/{quote(batch_id, safe='')}/prompts/{index}"
    return Request(method="GET", path=path, read=reader_of(WholePrompt))


def history(batch_id: str) -> Request[tuple[HistoryEntry, ...]]:
    """GET /batches/{id}/history."""
    read = reader_of(HistoryPage)
    path = f"/batches/{quote(batch_id, safe='')}/history"
    return Request(method="GET", path=path, read=lambda answer: read(answer).data)


def summary(batch_id: str) -> Request[Summary]:
    """GET /batches/{id}/summary."""
    path = f"/batches/{quote(batch_id, safe='')}/summary"
    return Request(method="GET", path=path, read=reader_of(Summary))


def stats() -> Request[Stats]:
    """GET /stats."""
    return Request(method="GET", path="/stats", read=reader_of(Stats))


def settings() -> Request[Installation]:
    """GET /settings."""
    return Request(method="GET", path="/settings", read=reader_of(Installation))


def throughput(window: str, by: str) -> Request[Throughput]:
    """GET /stats/series."""
    query = query_of(window=window, by=by)
    return Request(method="GET", path="/stats/series", query=query, read=reader_of(Throughput))

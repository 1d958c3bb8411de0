"""Filters of results, as a caller gives them and as the service takes them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, TypedDict


class ResultFilters(TypedDict, total=False):
    """Which results are wanted, besides their `status`; see `GET /batches/{id}/results`."""

    error_code: str
    defect: str
    model: str
    host: str
    min_attempts: int
    min_latency_s: float
    max_latency_s: float
    q: str
    """A text in prompt, answer, error or id."""
    text_in: Literal["prompt", "response", "error", "id"]
    """Where `q` is looked for; the contract calls it `in`."""


def filter_query(filters: ResultFilters) -> tuple[tuple[str, str], ...]:
    """The filters as the pairs of a query."""
    given = {"in" if name == "text_in" else name: value for name, value in filters.items()}
    return tuple((name, str(value)) for name, value in given.items())


def moment(at: datetime | None) -> str | None:
    """A moment as the API takes it; one without a time zone is of the local one."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")

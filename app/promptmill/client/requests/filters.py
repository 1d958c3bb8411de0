"""Filters of results, in Python's and in the query's form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, TypedDict


class ResultFilters(TypedDict, total=False):
    """Filters of results beside their `status`; see `GET /batches/{id}/results`."""

    error_code: str
    defect: str
    model: str
    host: str
    min_attempts: int
    min_latency_s: float
    max_latency_s: float
    q: str
    """Text that prompt, answer, error or id contains."""
    text_in: Literal["prompt", "response", "error", "id"]
    """Part of the result that `q` is searched in; called `in` in the query."""


def filter_query(filters: ResultFilters) -> tuple[tuple[str, str], ...]:
    """Build the pairs of a query from filters."""
    given = {"in" if name == "text_in" else name: value for name, value in filters.items()}
    return tuple((name, str(value)) for name, value in given.items())


def moment(at: datetime | None) -> str | None:
    """Format a moment for the API; a naive moment is taken as local time."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")

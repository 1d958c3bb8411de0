"""Search of results by a filter, in pieces: no statement examines more rows than its piece.

A piece is the next few hundred results by index; the filter applies to these alone, and the caller
decides whether another piece is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.batches import TaskResult
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.reading import ResultFilter, SearchedText
from promptmill.store.batches.results import as_result
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import WITHOUT_SUCCESS
from promptmill.store.db.tables.batches import id_range, index_of, prompt, prompt_id, result

PIECE: Final = 500
"""Results that one statement examines."""
_TEXTS = {
    SearchedText.PROMPT: prompt.c.text,
    SearchedText.RESPONSE: result.c.response,
    SearchedText.ERROR: result.c.error,
    SearchedText.ID: prompt.c.custom_id,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Result of one piece of a search."""

    results: list[TaskResult]
    scanned: int
    last_index: int | None
    """Last index that was examined; None for an empty piece."""


def piece(
    tx: Transaction,
    key: int,
    wanted: ResultFilter,
    *,
    limit: int,
    after: int | None = None,
    backwards: bool = False,
    size: int = PIECE,
    preview: int | None = None,
) -> Piece:
    """Find up to `limit` matching results among the next `size` beyond the index `after`.

    `preview` cuts texts to that many characters in the database.
    """
    low, high = id_range(key)
    if after is not None:
        low, high = (
            (low, prompt_id(key, after) - 1) if backwards else (prompt_id(key, after + 1), high)
        )
    few = _ids(wanted, backwards=backwards, low=low, high=high, size=size)
    edge = sa.func.min(few.c.id) if backwards else sa.func.max(few.c.id)
    counted = sa.select(sa.func.count().label("scanned"), edge.label("last")).select_from(few)
    seen = tx.execute(counted).one()
    if not seen.scanned:
        return Piece(results=[], scanned=0, last_index=None)
    first, last = sorted((int(seen.last), high if backwards else low))
    statement = (
        _columns(preview)
        .join(prompt, prompt.c.id == result.c.id)
        # Both tables by range: PostgreSQL would read all of the second for a few ids.
        .where(result.c.id.between(first, last), prompt.c.id.between(first, last))
        .where(*_conditions(wanted))
        .order_by(result.c.id.desc() if backwards else result.c.id)
        .limit(limit)
    )
    return Piece(
        results=[as_result(row) for row in tx.execute(statement)],
        scanned=int(seen.scanned),
        last_index=index_of(int(seen.last)),
    )


def _ids(wanted: ResultFilter, *, backwards: bool, low: int, high: int, size: int) -> sa.Subquery:
    ids = (
        sa.select(result.c.id)
        .where(result.c.id.between(low, high))
        .order_by(result.c.id.desc() if backwards else result.c.id)
        .limit(size)
    )
    if wanted.status not in {None, TaskState.SUCCEEDED} or wanted.error_codes:
        ids = ids.where(WITHOUT_SUCCESS)  # The condition of the partial index.
    return ids.subquery("few")


def _columns(preview: int | None) -> sa.Select[*tuple[Any, ...]]:
    if preview is None:
        return sa.select(result, prompt.c.text, prompt.c.custom_id, prompt.c.data)
    cut = {"response", "error"}
    columns: list[sa.ColumnElement[Any]] = [
        sa.func.substr(column, 1, preview).label(column.name)
        if column.name in cut
        else sa.null().label(column.name)
        if column.name == "thinking" or isinstance(column.type, sa.JSON)
        else column
        for column in result.c
    ]
    return sa.select(
        *columns,
        sa.func.substr(prompt.c.text, 1, preview).label("text"),
        prompt.c.custom_id,
        sa.null().label("data"),
    ).select_from(result)


def _conditions(wanted: ResultFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.status is not None:
        found.append(result.c.status == wanted.status)
    if wanted.error_codes:
        found.append(result.c.error_code.in_(wanted.error_codes))
    for column, value in (
        (result.c.defect, wanted.defect),
        (result.c.model, wanted.model),
        (result.c.host, wanted.host),
    ):
        if value is not None:
            found.append(column == value)
    if wanted.min_attempts is not None:
        found.append(result.c.attempts >= wanted.min_attempts)
    if wanted.min_latency_s is not None:
        found.append(result.c.latency_s >= wanted.min_latency_s)
    if wanted.max_latency_s is not None:
        found.append(result.c.latency_s <= wanted.max_latency_s)
    if wanted.text:
        columns = [_TEXTS[wanted.text_in]] if wanted.text_in else list(_TEXTS.values())
        found.append(
            sa.or_(*(column.icontains(wanted.text, autoescape=True) for column in columns))
        )
    return found

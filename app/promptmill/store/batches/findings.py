"""Statistics of a batch's results: progress over time, a sample of their times, failures.

No statement reads all rows of a large batch. Results are numbered in the order of storing, so that
evenly spread numbers are an even sample, each found by the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.reading import Cause, Causes, Measured, cause_of
from promptmill.store.db.compiled import slices
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import WITHOUT_SUCCESS
from promptmill.store.db.tables.batches import id_range, index_of, prompt_id, result

MOST_SAMPLED: Final = 4_000
"""Results whose times are read, for a batch of any size."""
MOST_FAILURES: Final = 20_000
"""Most failures that are grouped."""
_POINTS: Final = 120
_MOST_CAUSES: Final = 50

_AT = sa.select(result.c.event_id, result.c.finished_at_ms).where(
    result.c.event_id.in_(sa.bindparam("events", expanding=True))
)
_TIMES = sa.select(
    result.c.latency_s,
    result.c.ttft_s,
    result.c.eval_count,
    result.c.host,
    result.c.model,
    result.c.status,
).where(result.c.event_id.in_(sa.bindparam("events", expanding=True)))
_SOME_FAILED = (
    sa.select(result.c.id, result.c.error_code, result.c.error)
    .where(
        result.c.id.between(sa.bindparam("low"), sa.bindparam("high")),
        WITHOUT_SUCCESS,
    )
    .order_by(result.c.id)
    .limit(sa.bindparam("most"))
    .subquery("some_failed")
)
_CAUSES = sa.select(
    _SOME_FAILED.c.error_code,
    _SOME_FAILED.c.error,
    sa.func.count().label("prompts"),
    sa.func.min(_SOME_FAILED.c.id).label("first"),
).group_by(_SOME_FAILED.c.error_code, _SOME_FAILED.c.error)
_OF_CODE = (
    sa.select(result.c.id, result.c.error)
    .where(
        result.c.id.between(sa.bindparam("low"), sa.bindparam("high")),
        WITHOUT_SUCCESS,
        result.c.error_code == sa.bindparam("code", type_=result.c.error_code.type),
    )
    .order_by(result.c.id)
    .limit(sa.bindparam("most"))
)


def curve(tx: Transaction, key: int, last_event: int) -> Sequence[tuple[int, int]]:
    """Moments, and how many results had been stored by then; at most `_POINTS` of them."""
    events = {prompt_id(key, number): number for number in _spread(last_event, _POINTS)}
    rows = tx.execute(_AT, {"events": list(events)})
    return sorted((row.finished_at_ms, events[row.event_id]) for row in rows)


def sample(tx: Transaction, key: int, last_event: int) -> Sequence[Measured]:
    """The times of all results, or of an even sample of them."""
    found: list[Measured] = []
    for some in slices(_spread(last_event, MOST_SAMPLED), 1_000):
        rows = tx.execute(_TIMES, {"events": [prompt_id(key, number) for number in some]})
        found.extend(
            Measured(
                latency_s=row.latency_s,
                ttft_s=row.ttft_s,
                tokens=row.eval_count,
                host=row.host,
                model=row.model,
                succeeded=row.status == "succeeded",
            )
            for row in rows
        )
    return found


def _spread(last: int, most: int) -> list[int]:
    """Up to `most` whole numbers from 1 to `last`, evenly spread, the last included."""
    if last <= most:
        return list(range(1, last + 1))
    return sorted({1 + round(place * (last - 1) / (most - 1)) for place in range(most)})


def causes(tx: Transaction, key: int) -> Causes:
    """Group the failures by code and by sentence without numbers."""
    low, high = id_range(key)
    rows = tx.execute(_CAUSES, {"low": low, "high": high, "most": MOST_FAILURES}).all()
    groups: dict[tuple[ErrorCode | None, str], list[sa.Row[Any]]] = {}
    for row in rows:
        groups.setdefault((row.error_code, cause_of(row.error or "")), []).append(row)
    found: list[Cause] = []
    for (code, sentence), own in groups.items():
        first = min(own, key=lambda row: int(row.first))
        found.append(
            Cause(
                error_code=code,
                sentence=sentence,
                prompts=sum(row.prompts for row in own),
                example_index=index_of(first.first),
                example=first.error or "",
            )
        )
    counted = sum(cause.prompts for cause in found)
    found.sort(key=lambda cause: (-cause.prompts, cause.example_index))
    return Causes(causes=found[:_MOST_CAUSES], counted=counted, complete=counted < MOST_FAILURES)


def indexes_of_cause(
    tx: Transaction, key: int, code: ErrorCode, sentence: str | None = None
) -> Sequence[int]:
    """Find the prompts that failed by a code, or by a code and cause; as many as are grouped."""
    low, high = id_range(key)
    rows = tx.execute(_OF_CODE, {"low": low, "high": high, "code": code, "most": MOST_FAILURES})
    return [
        index_of(row.id)
        for row in rows
        if sentence is None or cause_of(row.error or "") == sentence
    ]

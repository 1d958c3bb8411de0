"""History of a batch: its states with their times, and the requests that changed it.

Creation, start and end are columns of the batch. Rows are written for requests that change a batch,
and for an end that a retry reverts, in the same transaction; of each batch the newest `MOST_KEPT`
stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.access.keys import name_of
from promptmill.domain.lifecycle import JobState
from promptmill.domain.reading import HistoryEntry, HistoryEvent
from promptmill.store.batches.jobs import BATCHES
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import VISIBLE_BATCH
from promptmill.store.db.tables.batches import job
from promptmill.store.db.tables.history import job_history
from promptmill.store.db.tables.keys import api_key

MOST_KEPT: Final = 500
_COLUMNS: Final = ["job_key", "number", "at_ms", "event", "state", "key_id", "detail"]
_HIGHEST: Final = (
    sa.select(sa.func.coalesce(sa.func.max(job_history.c.number), 0))
    .where(job_history.c.job_key == job.c.key)
    .scalar_subquery()
)
_AN_EVENT: Final = sa.bindparam("event", type_=job_history.c.event.type)
_KEY_ID: Final = sa.bindparam("key_id", type_=sa.String)
_NOTE: Final = sa.insert(job_history).from_select(
    _COLUMNS,
    sa.select(
        job.c.key,
        _HIGHEST + 1,
        sa.bindparam("at_ms", type_=sa.BigInteger),
        _AN_EVENT,
        job.c.state,
        _KEY_ID,
        sa.bindparam("detail", type_=sa.Text),
    ).where(job.c.id == sa.bindparam("batch_id")),
)
_NOTE_END: Final = sa.insert(job_history).from_select(
    _COLUMNS,
    sa.select(
        job.c.key,
        _HIGHEST + 1,
        job.c.finished_at_ms,
        sa.literal(HistoryEvent.ENDED, job_history.c.event.type),
        job.c.state,
        sa.null(),
        job.c.error,
    ).where(job.c.key == sa.bindparam("job_key"), job.c.finished_at_ms.is_not(None)),
)
_FORGET_OLDEST: Final = sa.delete(job_history).where(
    job_history.c.job_key
    == sa.select(job.c.key).where(job.c.id == sa.bindparam("batch_id")).scalar_subquery(),
    job_history.c.number
    <= sa.select(_HIGHEST - MOST_KEPT)
    .where(job.c.id == sa.bindparam("batch_id"))
    .scalar_subquery(),
)


def note(
    tx: Transaction,
    batch_id: str,
    event: HistoryEvent,
    *,
    key_id: str | None = None,
    detail: str | None = None,
) -> None:
    """Record an event of a batch whose row the transaction has changed, and so locked."""
    row = {"batch_id": batch_id, "at_ms": tx.now_ms(), "event": event}
    tx.execute(_NOTE, {**row, "key_id": key_id, "detail": detail})
    tx.execute(_FORGET_OLDEST, {"batch_id": batch_id})


def note_end(tx: Transaction, job_key: int) -> None:
    """Record how and when a batch ended, before a retry clears the batch's row."""
    tx.execute(_NOTE_END, {"job_key": job_key})


_JOB: Final = (
    sa.select(job, api_key.c.name.label("key_name"))
    .outerjoin(api_key, api_key.c.id == job.c.key_id)
    .where(job.c.id == sa.bindparam("batch_id"), VISIBLE_BATCH)
)
_ROWS: Final = (
    sa.select(job_history, api_key.c.name.label("key_name"))
    .outerjoin(api_key, api_key.c.id == job_history.c.key_id)
    .where(job_history.c.job_key == sa.bindparam("job_key"))
    .order_by(job_history.c.number)
)


def of_batch(tx: Transaction, batch_id: str) -> Sequence[HistoryEntry]:
    """The events of a batch, the first one first.

    Raises:
        NotFound: There is none of that id.
    """
    row = tx.execute(_JOB, {"batch_id": batch_id}).first()
    if row is None:
        raise BATCHES.not_found(batch_id)
    noted = [
        HistoryEntry(
            at_ms=each.at_ms,
            event=each.event,
            state=each.state,
            key_name=name_of(each.key_id, each.key_name),
            detail=each.detail,
        )
        for each in tx.execute(_ROWS, {"job_key": row.key})
    ]
    # The sort is stable: within a millisecond, events of the batch's row come first, except its
    # end.
    return sorted([*_begun(row), *noted, *_ended(row)], key=lambda entry: entry.at_ms)


def _begun(row: sa.Row[Any]) -> Iterator[HistoryEntry]:
    yield HistoryEntry(
        at_ms=row.created_at_ms,
        event=HistoryEvent.CREATED,
        state=JobState.QUEUED,
        key_name=name_of(row.key_id, row.key_name),
    )
    if row.started_at_ms is not None:
        yield HistoryEntry(
            at_ms=row.started_at_ms, event=HistoryEvent.STARTED, state=JobState.RUNNING
        )


def _ended(row: sa.Row[Any]) -> Iterator[HistoryEntry]:
    if row.finished_at_ms is not None:
        yield HistoryEntry(
            at_ms=row.finished_at_ms,
            event=HistoryEvent.ENDED,
            state=row.state,
            detail=row.error,
        )

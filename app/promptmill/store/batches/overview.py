"""Overview of all batches: numbers by state, and pages of batches that match a filter.

Ended batches are never counted. Live ones are counted by their own partial index; a page with a
filter examines at most `MOST_SCANNED` batches, and gives its position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.access.keys import ENVIRONMENT
from promptmill.domain.batches import Batch
from promptmill.domain.lifecycle import LIVE_JOB_STATES, JobState
from promptmill.domain.reading import BatchFilter, QueueCounts
from promptmill.store.batches import jobs
from promptmill.store.db.database import Transaction
from promptmill.store.db.resources import has_metadata
from promptmill.store.db.sql import FINISHED, RUNNING, VISIBLE_BATCH, is_live
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, job_stats, task
from promptmill.store.db.tables.keys import api_key

MOST_SCANNED: Final = 20_000
"""Most batches that one page examines."""
_PIECE: Final = 1_000
_AFTER_ALL_IDS: Final = "batch_~"

_BY_STATE = (
    sa.select(
        job.c.state,
        sa.func.count().label("batches"),
        sa.func.sum(job_stats.c.total - FINISHED).label("prompts"),
        sa.func.min(job.c.created_at_ms).label("oldest"),
    )
    .join(job_stats, job_stats.c.job_key == job.c.key)
    .where(is_live(job), job.c.deleted_at_ms.is_(None))
    .group_by(job.c.state)
)
_RUNNING_PROMPTS = sa.select(sa.func.count()).select_from(task).where(RUNNING)
_LIVE_KEYS = (
    sa.select(job.c.key)
    .where(is_live(job), job.c.deleted_at_ms.is_(None))
    .order_by(
        sa.case((is_in(job.c.state, [JobState.QUEUED]), 1), else_=0),
        job.c.priority.desc(),
        job.c.key,
    )
    .limit(sa.bindparam("most"))
)


def counts(tx: Transaction) -> QueueCounts:
    """Count the batches that have not ended, and their prompts."""
    rows = tx.execute(_BY_STATE).all()
    running = int(tx.execute(_RUNNING_PROMPTS).scalar_one())
    left = sum(int(row.prompts) for row in rows)
    return QueueCounts(
        batches={row.state: row.batches for row in rows},
        pending=max(left - running, 0),
        running=running,
        longest_wait_ms=next((row.oldest for row in rows if row.state is JobState.QUEUED), None),
        read_at_ms=tx.now_ms(),
    )


def live(tx: Transaction, *, limit: int) -> Sequence[Batch]:
    """List batches that have not ended, started ones first."""
    keys = tx.execute(_LIVE_KEYS, {"most": limit}).scalars().all()
    found = {batch.key: batch for batch in jobs.of_keys(tx, keys)}
    return [found[key] for key in keys if key in found]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Page of batches, with the position from which the search continues."""

    batches: Sequence[Batch]
    next_before: str | None
    """Id below which the next page begins; None at the end."""
    complete: bool
    """False if the search reached its bound before the page was full."""


def page(tx: Transaction, wanted: BatchFilter, *, limit: int, before: str | None = None) -> Page:
    """List up to `limit` batches that match, newest first, with ids below `before`."""
    if set(wanted.states) and set(wanted.states) <= LIVE_JOB_STATES:
        return _page_of_live(tx, wanted, limit=limit, before=before)
    conditions = _conditions(tx, wanted)
    size = _PIECE if conditions else limit + 1
    keys: dict[int, str] = {}
    scanned, at_end = 0, False
    last = before or _AFTER_ALL_IDS
    while len(keys) <= limit and scanned < MOST_SCANNED and not at_end:
        few = (
            sa.select(job.c.id).where(job.c.id < last).order_by(job.c.id.desc()).limit(size)
        ).subquery("few")
        edge = sa.select(sa.func.count().label("number"), sa.func.min(few.c.id).label("lowest"))
        seen = tx.execute(edge).one()
        scanned += int(seen.number)
        at_end = seen.number < size
        if not seen.number:
            break
        # Bounded by the ids of the piece, so that both databases use the index of ids.
        matching = (
            sa.select(job.c.key, job.c.id)
            .where(job.c.id < last, job.c.id >= seen.lowest, VISIBLE_BATCH, *conditions)
            .order_by(job.c.id.desc())
            .limit(limit + 1 - len(keys))
        )
        keys |= {row.key: row.id for row in tx.execute(matching)}
        last = str(seen.lowest)
    shown = list(keys)[:limit]
    batches = sorted(jobs.of_keys(tx, shown), key=lambda batch: batch.id, reverse=True)
    if len(keys) > limit:
        return Page(batches=batches, next_before=batches[-1].id, complete=True)
    return Page(batches=batches, next_before=None if at_end else last, complete=at_end)


def _page_of_live(tx: Transaction, wanted: BatchFilter, *, limit: int, before: str | None) -> Page:
    statement = (
        sa.select(job.c.key)
        .where(is_live(job), VISIBLE_BATCH, *_conditions(tx, wanted))
        .order_by(job.c.id.desc())
        .limit(limit + 1)
    )
    if before is not None:
        statement = statement.where(job.c.id < before)
    keys = tx.execute(statement).scalars().all()
    found = jobs.of_keys(tx, keys[:limit])
    batches = sorted(found, key=lambda batch: batch.id, reverse=True)
    more = len(keys) > limit
    return Page(batches=batches, next_before=batches[-1].id if more else None, complete=True)


def _conditions(tx: Transaction, wanted: BatchFilter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.states:
        found.append(job.c.state.in_(wanted.states))
    if wanted.model:
        found.append(job.c.model == wanted.model)
    if wanted.label:
        found.append(job.c.label == wanted.label)
    if wanted.key_name:
        ids = sa.select(api_key.c.id).where(api_key.c.name == wanted.key_name)
        of_environment = job.c.key_id == f"{ENVIRONMENT}{wanted.key_name}"
        found.append(sa.or_(job.c.key_id.in_(ids), of_environment))
    if wanted.created_after_ms is not None:
        found.append(job.c.created_at_ms >= wanted.created_after_ms)
    if wanted.created_before_ms is not None:
        found.append(job.c.created_at_ms < wanted.created_before_ms)
    if wanted.text:
        as_text: sa.ColumnElement[Any] = sa.cast(job.c.metadata, sa.Text)
        columns = (job.c.id, job.c.label, as_text)
        found.append(sa.or_(*(each.icontains(wanted.text, autoescape=True) for each in columns)))
    found.extend(
        has_metadata(tx, job.c.metadata, name, value) for name, value in wanted.metadata.items()
    )
    return found

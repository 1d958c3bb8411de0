"""Uploads: batches that arrive in pieces, hidden while their state is `receiving`.

    begin       -> receiving    the first piece is stored
    extend      receiving       another piece
    complete    receiving -> queued     the last line has come; now clients see it
    discard, discard_abandoned      marked as deleted, so that the purger removes its rows

Each is a short transaction, so that an upload of a million lines blocks no other writer. Every
addition updates the upload's row first, which fails if the upload was discarded.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft, IdempotencyKey, PromptDraft
from promptmill.domain.errors import Unavailable
from promptmill.domain.lifecycle import JobEvent, JobState, job_target
from promptmill.store.batches import jobs
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, job_stats
from promptmill.store.downloads import planning
from promptmill.store.queue.enqueue import enqueue

_RECEIVING = sa.and_(is_in(job.c.state, [JobState.RECEIVING]), job.c.deleted_at_ms.is_(None))


def begin(
    tx: Transaction,
    draft: BatchDraft,
    prompts: Sequence[PromptDraft],
    *,
    batch_id: str,
    grouped: bool = True,
) -> int:
    """Store a hidden batch with its first prompts, and return its key."""
    job_key = jobs.insert_row(tx, draft, batch_id=batch_id, state=JobState.RECEIVING, total=0)
    extend(tx, job_key, prompts, first_index=0, grouped=grouped)
    return job_key


def extend(
    tx: Transaction,
    job_key: int,
    prompts: Sequence[PromptDraft],
    *,
    first_index: int,
    grouped: bool = True,
) -> None:
    """Store further prompts of an upload.

    Raises:
        Unavailable: The upload was discarded meanwhile.
    """
    _update(tx, job_key, received_at_ms=tx.now_ms())
    enqueue(tx, job_key, prompts, first_index=first_index, grouped=grouped)
    planning.note_models(tx, job_key, prompts)


def complete(
    tx: Transaction,
    job_key: int,
    draft: BatchDraft,
    *,
    batch_id: str,
    total: int,
    idempotency: IdempotencyKey | None,
) -> None:
    """Make the batch visible, as if it had been created now.

    It gets a new id, because ids sort by the time of acceptance; clients have not seen the old one.

    Raises:
        Unavailable: The upload was discarded meanwhile.
    """
    now = tx.now_ms()
    _update(
        tx,
        job_key,
        id=batch_id,
        state=job_target(JobEvent.RECEIVE),
        created_at_ms=now,
        received_at_ms=now,
        expires_at_ms=jobs.expiry(now, draft.expires_in_s),
        most_failed=draft.max_failures.prompts_of(total) if draft.max_failures else None,
        idempotency_key=idempotency.key if idempotency else None,
        body_hash=idempotency.body_hash if idempotency else None,
    )
    tx.execute(sa.update(job_stats).where(job_stats.c.job_key == job_key).values(total=total))


def _update(tx: Transaction, job_key: int, **values: object) -> None:
    if not tx.execute(
        sa.update(job).where(job.c.key == job_key, _RECEIVING).values(**values)
    ).rowcount:
        raise Unavailable("The upload took too long and was given up; send it again.")


def discard(tx: Transaction, job_key: int) -> None:
    """Discard an upload; a complete one stays."""
    statement = sa.update(job).where(job.c.key == job_key, _RECEIVING)
    tx.execute(statement.values(deleted_at_ms=tx.now_ms()))


def discard_abandoned(tx: Transaction, *, silent_ms: int) -> int:
    """Discard uploads to which nothing was added for that long; return their number."""
    now = tx.now_ms()
    return tx.execute(
        sa.update(job)
        .where(_RECEIVING, job.c.received_at_ms < now - silent_ms)
        .values(deleted_at_ms=now)
    ).rowcount

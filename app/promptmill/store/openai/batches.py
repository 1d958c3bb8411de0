"""Batches of the dialect: stored, read, listed, cancelled.

The stages are those of `domain.openai.Stage`, and each change is one guarded UPDATE:

    insert       -> validating
    reopen       ended -> running         in the transaction that runs prompts of the job again

The others are in `execution`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.batches import Counts, Usage
from promptmill.domain.errors import NotFound
from promptmill.domain.openai import (
    STAGES_UNDER_WAY,
    STAGES_WITH_JOB,
    LineError,
    OpenAIBatch,
    OpenAIBatchDraft,
    Stage,
)
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import COUNTERS, NO_LEASE
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, job_stats
from promptmill.store.db.tables.openai import openai_batch
from promptmill.store.openai import files

_SAME_WITHIN_MS: Final = 600_000
_KEPT_MS: Final = 30 * 86_400_000
"""Seconds for which a batch without a job is kept; no other rule removes it."""
UNDER_WAY: Final = is_in(openai_batch.c.stage, STAGES_UNDER_WAY)
"""Condition that a worker has work to do for a batch."""


def insert(
    tx: Transaction,
    draft: OpenAIBatchDraft,
    *,
    batch_id: str,
    file_key: int | None,
    body_hash: str,
    idempotency_key: str | None,
    key_id: str | None,
) -> None:
    """Store a batch whose file is to be read."""
    now = tx.now_ms()
    tx.execute(
        sa.insert(openai_batch).values(
            id=batch_id,
            stage=Stage.VALIDATING,
            endpoint=draft.endpoint,
            input_file_id=draft.input_file_id,
            file_key=file_key,
            window=draft.window,
            metadata=None if draft.metadata is None else dict(draft.metadata),
            output_expires_s=draft.output_expires_s,
            options=dict(draft.options),
            created_at_ms=now,
            expires_at_ms=now + round(1000 * draft.expires_in_s),
            idempotency_key=idempotency_key,
            body_hash=body_hash,
            key_id=key_id,
        )
    )


# --- read ------------------------------------------------------------------------------------

_HAS_JOB = openai_batch.c.stage.in_(STAGES_WITH_JOB)
_BATCHES = (
    sa.select(
        openai_batch,
        job.c.state.label("job_state"),
        job.c.stop_reason,
        job.c.finished_at_ms,
        *COUNTERS,
    )
    .outerjoin(job, sa.and_(job.c.key == openai_batch.c.job_key, _HAS_JOB))
    .outerjoin(job_stats, job_stats.c.job_key == job.c.key)
    # A batch disappears with its job.
    .where(
        sa.or_(
            sa.and_(job.c.key.is_not(None), job.c.deleted_at_ms.is_(None)),
            openai_batch.c.stage.not_in(STAGES_WITH_JOB),
        )
    )
)


def get(tx: Transaction, batch_id: str) -> OpenAIBatch:
    """Read a batch.

    Raises:
        NotFound: There is none of that id.
    """
    row = tx.execute(_BATCHES.where(openai_batch.c.id == batch_id)).first()
    if row is None:
        raise not_found(batch_id)
    return record(row)


def not_found(batch_id: str) -> NotFound:
    """Error for an unknown id."""
    return NotFound(f"No batch found with id '{batch_id}'.")


def page(tx: Transaction, *, limit: int, after: str | None = None) -> Sequence[OpenAIBatch]:
    """List up to `limit` batches, newest first, after the batch of the id `after`."""
    statement = _BATCHES.order_by(openai_batch.c.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(openai_batch.c.id < after)
    return [record(row) for row in tx.execute(statement)]


def by_idempotency_key(tx: Transaction, key: str) -> tuple[OpenAIBatch, str] | None:
    """Read the batch of an idempotency key, with the hash of its fields."""
    row = tx.execute(_BATCHES.where(openai_batch.c.idempotency_key == key)).first()
    return None if row is None else (record(row), row.body_hash)


def same_of_late(tx: Transaction, body_hash: str, *, key_id: str | None) -> OpenAIBatch | None:
    """Read a batch with the same fields, of the last minutes and of the same API key."""
    late = openai_batch.c.created_at_ms > tx.now_ms() - _SAME_WITHIN_MS
    of_key = openai_batch.c.key_id.is_not_distinct_from(key_id)
    statement = _BATCHES.where(late, of_key, openai_batch.c.body_hash == body_hash)
    row = tx.execute(statement.order_by(openai_batch.c.key.desc()).limit(1)).first()
    return None if row is None else record(row)


def one_of(tx: Transaction, key: int) -> sa.Row[Any]:
    """Row of a batch by key; see `record`."""
    return tx.execute(_BATCHES.where(openai_batch.c.key == key)).one()


def record(row: sa.Row[Any]) -> OpenAIBatch:
    """Build the batch of a row."""
    counted = row.total is not None
    return OpenAIBatch(
        id=row.id,
        endpoint=row.endpoint,
        input_file_id=row.input_file_id,
        window=row.window,
        stage=row.stage,
        model=row.model,
        metadata=row.metadata,
        output_expires_s=row.output_expires_s,
        options=row.options,
        key_id=row.key_id,
        errors=[LineError(*one) for one in row.errors or ()],
        output_file_id=row.output_file_id,
        error_file_id=row.error_file_id,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        in_progress_at_ms=row.in_progress_at_ms,
        cancelling_at_ms=row.cancelling_at_ms,
        finalizing_at_ms=row.finalizing_at_ms,
        ended_at_ms=row.ended_at_ms,
        job_state=row.job_state,
        stop_reason=row.stop_reason,
        counts=Counts(
            total=row.total,
            succeeded=row.succeeded,
            failed=row.failed,
            cancelled=row.cancelled,
            expired=row.expired,
        )
        if counted
        else Counts(total=0),
        usage=Usage(prompt_tokens=row.prompt_tokens, completion_tokens=row.completion_tokens)
        if counted
        else Usage(),
    )


# --- steer -----------------------------------------------------------------------------------


def note_cancel(tx: Transaction, batch_id: str) -> bool:
    """Record the first request to cancel a batch; return whether its file is still being read.

    A file that is being read is read no further.
    """
    tx.execute(
        sa.update(openai_batch)
        .where(openai_batch.c.id == batch_id, openai_batch.c.cancelling_at_ms.is_(None))
        .values(cancelling_at_ms=tx.now_ms())
    )
    stage = sa.select(openai_batch.c.stage).where(openai_batch.c.id == batch_id)
    return tx.execute(stage).scalar() is Stage.VALIDATING


def lock(tx: Transaction, batch_id: str) -> None:
    """Lock the batch's stage until the commit."""
    tx.execute(sa.select(openai_batch.c.key).where(openai_batch.c.id == batch_id).with_for_update())


def reopen(tx: Transaction, batch_id: str) -> None:
    """Revert the end and the files of a batch, because prompts of it run again."""
    changed = tx.execute(
        sa.update(openai_batch)
        .where(
            openai_batch.c.id == batch_id,
            openai_batch.c.stage.in_(STAGES_WITH_JOB),
        )
        .values(
            stage=Stage.RUNNING,
            output_file_id=None,
            error_file_id=None,
            cancelling_at_ms=None,
            finalizing_at_ms=None,
            ended_at_ms=None,
            **NO_LEASE,
        )
    ).rowcount
    if changed:
        files.discard_of_batch(tx, batch_id)


def purge_some(tx: Transaction, *, limit: int = 1000) -> int:
    """Remove some batches whose jobs are gone, and old ones that never had a job."""
    is_gone = sa.and_(
        openai_batch.c.stage.in_(STAGES_WITH_JOB),
        ~sa.exists().where(job.c.key == openai_batch.c.job_key),
    )
    is_old = sa.and_(
        openai_batch.c.stage.in_([Stage.REFUSED, Stage.STOPPED]),
        openai_batch.c.ended_at_ms < tx.now_ms() - _KEPT_MS,
    )
    some = sa.select(openai_batch.c.key).where(sa.or_(is_gone, is_old)).limit(limit)
    return tx.execute(sa.delete(openai_batch).where(openai_batch.c.key.in_(some))).rowcount

"""Batches of the dialect: stored, read, listed, cancelled; and under a lease read and finished.

The stages are those of `domain.openai.Stage`, and each change is one guarded UPDATE:

    insert       -> validating
    start        validating -> running    in the transaction that lets the job appear
    refuse       validating -> refused
    stop         validating -> stopped
    finish       running -> ended         in the transaction that lets the files appear
    reopen       ended -> running         in the transaction that runs prompts of the job again

The rule to know: whoever reads a file or writes files does so under a lease. Its token guards every
write, and who takes the work over drops what the one before had stored, and begins anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.batches import Counts, Usage
from promptmill.domain.errors import NotFound
from promptmill.domain.lifecycle import TERMINAL_JOB_STATES, JobState
from promptmill.domain.openai import (
    LineError,
    OpenAIBatch,
    OpenAIBatchDraft,
    Stage,
)
from promptmill.store.batches import uploads
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import job, job_stats
from promptmill.store.db.tables.openai import openai_batch
from promptmill.store.openai import files

_SAME_WITHIN_MS: Final = 600_000
_KEPT_MS: Final = 30 * 86_400_000
"""How long a batch that never had a job is kept; nothing else removes it."""
_FREED: Final = {"lease_token": None, "lease_owner": None, "lease_until_ms": None}
# As a literal, so that it matches the partial index.
_UNDER_WAY = sa.text("openai_batch.stage IN ('validating', 'running')")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to read the input of a batch, or to write its files."""

    key: int
    token: int
    batch: OpenAIBatch
    file_key: int | None
    """The input file; None when there was none."""
    job_key: int | None
    finished_at_ms: int | None = None
    """When its job ended that files are written of."""


class LeaseLost(Exception):  # noqa: N818 - named for what happened
    """Another worker has the batch, or it is not what it was; what was being done is over."""


def insert(
    tx: Transaction,
    draft: OpenAIBatchDraft,
    *,
    batch_id: str,
    file_key: int | None,
    body_hash: str,
    idempotency_key: str | None,
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
        )
    )


# --- read ------------------------------------------------------------------------------------

_HAS_JOB = openai_batch.c.stage.in_([Stage.RUNNING, Stage.ENDED])
_BATCHES = (
    sa.select(
        openai_batch,
        job.c.state.label("job_state"),
        job.c.stop_reason,
        job.c.finished_at_ms,
        job_stats.c.total,
        job_stats.c.succeeded,
        job_stats.c.failed,
        job_stats.c.cancelled,
        job_stats.c.expired,
        job_stats.c.prompt_tokens,
        job_stats.c.completion_tokens,
    )
    .outerjoin(job, sa.and_(job.c.key == openai_batch.c.job_key, _HAS_JOB))
    .outerjoin(job_stats, job_stats.c.job_key == job.c.key)
    # A batch goes with its job.
    .where(
        sa.or_(
            sa.and_(job.c.key.is_not(None), job.c.deleted_at_ms.is_(None)),
            openai_batch.c.stage.not_in([Stage.RUNNING, Stage.ENDED]),
        )
    )
)


def get(tx: Transaction, batch_id: str) -> OpenAIBatch:
    """The batch as it stands.

    Raises:
        NotFound: There is none of that id.
    """
    row = tx.execute(_BATCHES.where(openai_batch.c.id == batch_id)).first()
    if row is None:
        raise not_found(batch_id)
    return _batch(row)


def not_found(batch_id: str) -> NotFound:
    """What is raised for an unknown id."""
    return NotFound(f"No batch found with id '{batch_id}'.")


def page(tx: Transaction, *, limit: int, after: str | None = None) -> Sequence[OpenAIBatch]:
    """Up to `limit` batches, newest first, behind the place of the id `after`."""
    statement = _BATCHES.order_by(openai_batch.c.id.desc()).limit(limit)
    if after is not None:
        statement = statement.where(openai_batch.c.id < after)
    return [_batch(row) for row in tx.execute(statement)]


def by_idempotency_key(tx: Transaction, key: str) -> tuple[OpenAIBatch, str] | None:
    """The batch that was made under the key, and the hash of its fields."""
    row = tx.execute(_BATCHES.where(openai_batch.c.idempotency_key == key)).first()
    return None if row is None else (_batch(row), row.body_hash)


def same_of_late(tx: Transaction, body_hash: str) -> OpenAIBatch | None:
    """A batch with the same fields, of the last minutes."""
    late = openai_batch.c.created_at_ms > tx.now_ms() - _SAME_WITHIN_MS
    statement = _BATCHES.where(late, openai_batch.c.body_hash == body_hash)
    row = tx.execute(statement.order_by(openai_batch.c.key.desc()).limit(1)).first()
    return None if row is None else _batch(row)


def _batch(row: sa.Row[Any]) -> OpenAIBatch:
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
    """Note when a batch was asked to be cancelled first; whether its file is still being read.

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
    """Let the batch's stage stay as it is until the commit."""
    tx.execute(sa.select(openai_batch.c.key).where(openai_batch.c.id == batch_id).with_for_update())


def reopen(tx: Transaction, batch_id: str) -> None:
    """Take the end and the files of a batch back, because prompts of it run again."""
    changed = tx.execute(
        sa.update(openai_batch)
        .where(
            openai_batch.c.id == batch_id,
            openai_batch.c.stage.in_([Stage.RUNNING, Stage.ENDED]),
        )
        .values(
            stage=Stage.RUNNING,
            output_file_id=None,
            error_file_id=None,
            cancelling_at_ms=None,
            finalizing_at_ms=None,
            ended_at_ms=None,
            **_FREED,
        )
    ).rowcount
    if changed:
        files.discard_of_batch(tx, batch_id)


# --- read the input --------------------------------------------------------------------------


def take_reading(tx: Transaction, *, owner: str, lease_ms: int) -> Lease | None:
    """Take a batch whose file is to be read, and drop what was read of it before."""
    row = _take(tx, openai_batch.c.stage == sa.text("'validating'"))
    if row is None:
        return None
    if row.job_key is not None:
        uploads.discard(tx, row.job_key)
    token = _lease(tx, row.key, owner, lease_ms, job_key=None)
    batch = _batch(tx.execute(_BATCHES.where(openai_batch.c.key == row.key)).one())
    return Lease(key=row.key, token=token, batch=batch, file_key=row.file_key, job_key=None)


def is_any_to_read(tx: Transaction) -> bool:
    """Whether `take_reading` would find one."""
    return (
        tx.execute(_free(tx, openai_batch.c.stage == sa.text("'validating'"))).first() is not None
    )


def renew(tx: Transaction, lease: Lease, *, lease_ms: int, **values: object) -> None:
    """Prolong a lease, and change what is given with it.

    Raises:
        LeaseLost: It is not ours any more.
    """
    _change(tx, lease, lease_until_ms=tx.now_ms() + lease_ms, **values)


def is_cancelled(tx: Transaction, lease: Lease) -> bool:
    """Whether a client asked to cancel the batch."""
    asked = sa.select(openai_batch.c.cancelling_at_ms).where(openai_batch.c.key == lease.key)
    return tx.execute(asked).scalar() is not None


def start(tx: Transaction, lease: Lease, *, job_key: int, model: str | None) -> None:
    """Let the batch be in progress.

    Raises:
        LeaseLost: The lease is not ours any more, or a client asked to cancel.
    """
    _change(
        tx,
        lease,
        openai_batch.c.cancelling_at_ms.is_(None),
        stage=Stage.RUNNING,
        job_key=job_key,
        model=model,
        in_progress_at_ms=tx.now_ms(),
        **_FREED,
    )


def refuse(tx: Transaction, lease: Lease, errors: Sequence[LineError]) -> None:
    """End the batch, because its file is wrong.

    Raises:
        LeaseLost: As `renew`.
    """
    now = tx.now_ms()
    told = [list(error) for error in errors]
    _end_without_job(tx, lease, stage=Stage.REFUSED, errors=told, ended_at_ms=now)


def stop(tx: Transaction, lease: Lease) -> None:
    """End the batch, because a client cancelled it while it was read.

    Raises:
        LeaseLost: As `renew`.
    """
    _end_without_job(tx, lease, stage=Stage.STOPPED, ended_at_ms=tx.now_ms())


def _end_without_job(tx: Transaction, lease: Lease, **values: object) -> None:
    own = sa.select(openai_batch.c.job_key).where(openai_batch.c.key == lease.key)
    job_key = tx.execute(own).scalar()
    _change(tx, lease, job_key=None, **values, **_FREED)
    if job_key is not None:
        uploads.discard(tx, job_key)


# --- write the files -------------------------------------------------------------------------


_IS_TO_FINISH = sa.and_(
    openai_batch.c.stage == sa.text("'running'"),
    sa.exists().where(
        job.c.key == openai_batch.c.job_key,
        job.c.state.in_(TERMINAL_JOB_STATES),
        job.c.deleted_at_ms.is_(None),
    ),
)


def is_any_to_finish(tx: Transaction) -> bool:
    """Whether `take_finishing` would find one."""
    return tx.execute(_free(tx, _IS_TO_FINISH)).first() is not None


def take_finishing(tx: Transaction, *, owner: str, lease_ms: int) -> Lease | None:
    """Take a batch whose job has ended, and drop what was written of its files before."""
    row = _take(tx, _IS_TO_FINISH)
    if row is None:
        return None
    files.discard_of_batch(tx, row.id)
    now = tx.now_ms()
    begun = sa.func.coalesce(openai_batch.c.finalizing_at_ms, now)
    token = _lease(tx, row.key, owner, lease_ms, finalizing_at_ms=begun)
    found = tx.execute(_BATCHES.where(openai_batch.c.key == row.key)).one()
    return Lease(
        key=row.key,
        token=token,
        batch=_batch(found),
        file_key=row.file_key,
        job_key=row.job_key,
        finished_at_ms=found.finished_at_ms,
    )


def finish(
    tx: Transaction, lease: Lease, *, output_file_id: str | None, error_file_id: str | None
) -> None:
    """End the batch with its files.

    Raises:
        LeaseLost: The lease is not ours any more, or the job runs again.
    """
    lock(tx, lease.batch.id)
    same_end = (
        sa.select(job.c.key, job.c.state)
        .where(
            job.c.key == lease.job_key,
            job.c.finished_at_ms == lease.finished_at_ms,
            job.c.state.in_(TERMINAL_JOB_STATES),
            job.c.deleted_at_ms.is_(None),
        )
        .with_for_update(key_share=True)
    )
    row = tx.execute(same_end).first()
    if row is None:
        raise LeaseLost
    now = tx.now_ms()
    values: dict[str, Any] = {
        "stage": Stage.ENDED,
        "output_file_id": output_file_id,
        "error_file_id": error_file_id,
        "ended_at_ms": now,
    }
    if row.state is JobState.CANCELLED and lease.batch.cancelling_at_ms is None:
        # It was cancelled over the native API, which knows nothing of this moment.
        values["cancelling_at_ms"] = lease.finished_at_ms
    _change(tx, lease, **values, **_FREED)


# --- leases ----------------------------------------------------------------------------------


def _free(tx: Transaction, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """The first batch of that condition that is in nobody's hands."""
    is_free = sa.or_(
        openai_batch.c.lease_until_ms.is_(None), openai_batch.c.lease_until_ms < tx.now_ms()
    )
    some = sa.select(openai_batch).where(_UNDER_WAY, is_free, condition)
    return some.order_by(openai_batch.c.key).limit(1)


def _take(tx: Transaction, condition: sa.ColumnElement[bool]) -> sa.Row[Any] | None:
    return tx.execute(_free(tx, condition).with_for_update(skip_locked=True)).first()


def _lease(tx: Transaction, key: int, owner: str, lease_ms: int, **values: object) -> int:
    token = secrets.randbits(63)
    tx.execute(
        sa.update(openai_batch)
        .where(openai_batch.c.key == key)
        .values(
            lease_token=token,
            lease_owner=owner,
            lease_until_ms=tx.now_ms() + lease_ms,
            **values,
        )
    )
    return token


def _change(
    tx: Transaction, lease: Lease, *conditions: sa.ColumnElement[bool], **values: object
) -> None:
    mine = sa.and_(openai_batch.c.key == lease.key, openai_batch.c.lease_token == lease.token)
    statement = sa.update(openai_batch).where(mine, *conditions).values(**values)
    if not tx.execute(statement).rowcount:
        raise LeaseLost


def free_all(tx: Transaction) -> None:
    """At the start of a database's only worker: nobody else holds a lease."""
    tx.execute(sa.update(openai_batch).where(_UNDER_WAY).values(_FREED))


def free_of(tx: Transaction, owner: str) -> None:
    """At the end of a worker: others may take its batches at once."""
    mine = sa.and_(_UNDER_WAY, openai_batch.c.lease_owner == owner)
    tx.execute(sa.update(openai_batch).where(mine).values(_FREED))


def purge_some(tx: Transaction, *, limit: int = 1000) -> int:
    """Remove some batches whose jobs are gone, and old ones that never had one."""
    is_gone = sa.and_(
        openai_batch.c.stage.in_([Stage.RUNNING, Stage.ENDED]),
        ~sa.exists().where(job.c.key == openai_batch.c.job_key),
    )
    is_old = sa.and_(
        openai_batch.c.stage.in_([Stage.REFUSED, Stage.STOPPED]),
        openai_batch.c.ended_at_ms < tx.now_ms() - _KEPT_MS,
    )
    some = sa.select(openai_batch.c.key).where(sa.or_(is_gone, is_old)).limit(limit)
    return tx.execute(sa.delete(openai_batch).where(openai_batch.c.key.in_(some))).rowcount

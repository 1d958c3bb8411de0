"""A batch of the dialect in the hands of a worker: its file is read, or its files are written.

    start        validating -> running    in the transaction that lets the job appear
    refuse       validating -> refused
    stop         validating -> stopped
    finish       running -> ended         in the transaction that lets the files appear

The rule to know: whoever reads a file or writes files does so under a lease. Its token guards every
write, and who takes the work over drops what the one before had stored, and begins anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from promptmill.domain.lifecycle import TERMINAL_JOB_STATES, JobState
from promptmill.domain.openai import LineError, OpenAIBatch, Stage
from promptmill.store.batches import uploads
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import NO_LEASE, is_unleased
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job
from promptmill.store.db.tables.openai import openai_batch
from promptmill.store.openai import files
from promptmill.store.openai.batches import UNDER_WAY, lock, one_of, record


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Right to read the input of a batch, or to write its files."""

    key: int
    token: int
    batch: OpenAIBatch
    file_key: int | None
    """The input file; None when there was none."""
    job_key: int | None
    finished_at_ms: int | None = None
    """Moment at which the job ended, if files are written."""


class LeaseLost(Exception):  # noqa: N818 - named for what happened
    """Another worker has the batch, or its state has changed; the work is obsolete."""


# --- read the input --------------------------------------------------------------------------


_IS_TO_READ = is_in(openai_batch.c.stage, [Stage.VALIDATING])


def take_reading(tx: Transaction, *, owner: str, lease_ms: int) -> Lease | None:
    """Lease a batch whose file is to be read, and drop an earlier reading."""
    row = _take(tx, _IS_TO_READ)
    if row is None:
        return None
    if row.job_key is not None:
        uploads.discard(tx, row.job_key)
    token = _lease(tx, row.key, owner, lease_ms, job_key=None)
    batch = record(one_of(tx, row.key))
    return Lease(key=row.key, token=token, batch=batch, file_key=row.file_key, job_key=None)


def is_any_to_read(tx: Transaction) -> bool:
    """Whether `take_reading` would find a batch."""
    return tx.execute(_free(_IS_TO_READ), {"now": tx.now_ms()}).first() is not None


def renew(tx: Transaction, lease: Lease, *, lease_ms: int, **values: object) -> None:
    """Renew a lease, and change the given columns.

    Raises:
        LeaseLost: The lease is lost.
    """
    _change(tx, lease, lease_until_ms=tx.now_ms() + lease_ms, **values)


def is_cancelled(tx: Transaction, lease: Lease) -> bool:
    """Whether a client asked to cancel the batch."""
    asked = sa.select(openai_batch.c.cancelling_at_ms).where(openai_batch.c.key == lease.key)
    return tx.execute(asked).scalar() is not None


def start(tx: Transaction, lease: Lease, *, job_key: int, model: str | None) -> None:
    """Start the batch.

    Raises:
        LeaseLost: The lease is lost, or a client asked to cancel.
    """
    _change(
        tx,
        lease,
        openai_batch.c.cancelling_at_ms.is_(None),
        stage=Stage.RUNNING,
        job_key=job_key,
        model=model,
        in_progress_at_ms=tx.now_ms(),
        **NO_LEASE,
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
    _change(tx, lease, job_key=None, **values, **NO_LEASE)
    if job_key is not None:
        uploads.discard(tx, job_key)


# --- write the files -------------------------------------------------------------------------


_IS_TO_FINISH = sa.and_(
    is_in(openai_batch.c.stage, [Stage.RUNNING]),
    sa.exists().where(
        job.c.key == openai_batch.c.job_key,
        job.c.state.in_(TERMINAL_JOB_STATES),
        job.c.deleted_at_ms.is_(None),
    ),
)


def is_any_to_finish(tx: Transaction) -> bool:
    """Whether `take_finishing` would find a batch."""
    return tx.execute(_free(_IS_TO_FINISH), {"now": tx.now_ms()}).first() is not None


def take_finishing(tx: Transaction, *, owner: str, lease_ms: int) -> Lease | None:
    """Lease a batch whose job has ended, and drop files written earlier."""
    row = _take(tx, _IS_TO_FINISH)
    if row is None:
        return None
    files.discard_of_batch(tx, row.id)
    now = tx.now_ms()
    begun = sa.func.coalesce(openai_batch.c.finalizing_at_ms, now)
    token = _lease(tx, row.key, owner, lease_ms, finalizing_at_ms=begun)
    found = one_of(tx, row.key)
    return Lease(
        key=row.key,
        token=token,
        batch=record(found),
        file_key=row.file_key,
        job_key=row.job_key,
        finished_at_ms=found.finished_at_ms,
    )


def finish(
    tx: Transaction, lease: Lease, *, output_file_id: str | None, error_file_id: str | None
) -> None:
    """End the batch with its files.

    Raises:
        LeaseLost: The lease is lost, or the job runs again.
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
        # The batch was cancelled by the native API, which does not record this moment.
        values["cancelling_at_ms"] = lease.finished_at_ms
    _change(tx, lease, **values, **NO_LEASE)


# --- leases ----------------------------------------------------------------------------------


def _free(condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Select the first batch of a condition that no worker has leased."""
    some = sa.select(openai_batch).where(UNDER_WAY, is_unleased(openai_batch), condition)
    return some.order_by(openai_batch.c.key).limit(1)


def _take(tx: Transaction, condition: sa.ColumnElement[bool]) -> sa.Row[Any] | None:
    statement = _free(condition).with_for_update(skip_locked=True)
    return tx.execute(statement, {"now": tx.now_ms()}).first()


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
    """Free all leases, at the start of a database's only worker."""
    tx.execute(sa.update(openai_batch).where(UNDER_WAY).values(NO_LEASE))


def free_of(tx: Transaction, owner: str) -> None:
    """Free a worker's leases at its end, so that others may take its batches at once."""
    mine = sa.and_(UNDER_WAY, openai_batch.c.lease_owner == owner)
    tx.execute(sa.update(openai_batch).where(mine).values(NO_LEASE))

"""Files in pieces: hidden while they arrive, then there whole and unchangeable.

    begin        -> receiving
    add_chunk    receiving
    finish       receiving -> processed     now clients see it
    discard, discard_abandoned, mark_deleted, expire_some     -> deleted
    purge_some   removes what is deleted, in pieces

Each is a short transaction. Whoever adds to a file touches its row first: one that was given up
meanwhile takes nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.errors import NotFound, Unavailable
from promptmill.domain.openai import STAGES_UNDER_WAY, FileState, Purpose, Stage, StoredFile
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.openai import file, file_chunk, openai_batch

CHUNK_BYTES: Final = 1024 * 1024
"""Bytes of each chunk except the last, before it is deflated."""
_SAME_WITHIN_MS: Final = 600_000
"""Milliseconds after a request within which an equal one may be a repetition."""

_RECEIVING = is_in(file.c.state, [FileState.RECEIVING])
_PROCESSED = is_in(file.c.state, [FileState.PROCESSED])
_DELETED = is_in(file.c.state, [FileState.DELETED])


def _is_there(tx: Transaction) -> sa.ColumnElement[bool]:
    is_live = sa.or_(file.c.expires_at_ms.is_(None), file.c.expires_at_ms > tx.now_ms())
    return sa.and_(_PROCESSED, is_live)


def begin(
    tx: Transaction, *, file_id: str, purpose: Purpose, filename: str, batch_id: str | None = None
) -> int:
    """Create a hidden file without content, and return its key."""
    now = tx.now_ms()
    values = {
        "id": file_id,
        "state": FileState.RECEIVING,
        "purpose": purpose,
        "filename": filename,
        "bytes": 0,
        "lines": 0,
        "batch_id": batch_id,
        "created_at_ms": now,
        "received_at_ms": now,
    }
    return int(tx.execute(sa.insert(file).values(values).returning(file.c.key)).scalar_one())


def add_chunk(tx: Transaction, key: int, number: int, deflated: bytes) -> None:
    """Store the next chunk of a hidden file.

    Raises:
        Unavailable: The file was discarded meanwhile.
    """
    _change(tx, key, received_at_ms=tx.now_ms())
    tx.execute(sa.insert(file_chunk).values(file_key=key, number=number, deflated=deflated))


def finish(
    tx: Transaction,
    key: int,
    *,
    file_id: str,
    filename: str,
    size: int,
    lines: int,
    sha256: str,
    expires_in_s: int | None,
    idempotency_key: str | None = None,
) -> None:
    """Make the file visible, as if created now, under a new id.

    Raises:
        Unavailable: The file was discarded meanwhile.
    """
    now = tx.now_ms()
    _change(
        tx,
        key,
        id=file_id,
        state=FileState.PROCESSED,
        filename=filename,
        bytes=size,
        lines=lines,
        sha256=sha256,
        created_at_ms=now,
        expires_at_ms=None if expires_in_s is None else now + 1000 * expires_in_s,
        idempotency_key=idempotency_key,
    )


def _change(tx: Transaction, key: int, **values: object) -> None:
    statement = sa.update(file).where(file.c.key == key, _RECEIVING).values(**values)
    if not tx.execute(statement).rowcount:
        raise Unavailable("The upload took too long and was given up; send the file again.")


def discard(tx: Transaction, key: int) -> None:
    """Discard a hidden file; a visible one stays."""
    tx.execute(sa.update(file).where(file.c.key == key, _RECEIVING).values(state=FileState.DELETED))


def discard_of_batch(tx: Transaction, batch_id: str) -> None:
    """Remove the output and error file of a batch, hidden or not."""
    tx.execute(
        sa.update(file)
        .where(file.c.batch_id == batch_id, ~_DELETED)
        .values(state=FileState.DELETED)
    )


def discard_abandoned(tx: Transaction, *, silent_ms: int) -> int:
    """Discard hidden files to which nothing was added for that long; return their number."""
    statement = sa.update(file).where(
        ~_PROCESSED, _RECEIVING, file.c.received_at_ms < tx.now_ms() - silent_ms
    )
    return tx.execute(statement.values(state=FileState.DELETED)).rowcount


def expire_some(tx: Transaction, *, limit: int = 1000) -> int:
    """Mark some expired files as deleted; return their number."""
    due = sa.select(file.c.key).where(file.c.expires_at_ms <= tx.now_ms(), _PROCESSED).limit(limit)
    statement = sa.update(file).where(file.c.key.in_(due))
    return tx.execute(statement.values(state=FileState.DELETED, idempotency_key=None)).rowcount


def purge_some(tx: Transaction, *, limit: int = 8) -> int:
    """Remove some chunks of a deleted file; 0 if none are left.

    A file that a batch is reading keeps its content until the batch is done.
    """
    is_read = sa.exists().where(
        openai_batch.c.file_key == file.c.key,
        is_in(openai_batch.c.stage, STAGES_UNDER_WAY),
        is_in(openai_batch.c.stage, [Stage.VALIDATING]),
    )
    key = tx.execute(
        sa.select(file.c.key).where(~_PROCESSED, _DELETED, ~is_read).order_by(file.c.key).limit(1)
    ).scalar()
    if key is None:
        return 0
    numbers = (
        tx.execute(sa.select(file_chunk.c.number).where(file_chunk.c.file_key == key).limit(limit))
        .scalars()
        .all()
    )
    if not numbers:
        tx.execute(sa.delete(file).where(file.c.key == key))
        return 1
    own = sa.and_(file_chunk.c.file_key == key, file_chunk.c.number.in_(numbers))
    tx.execute(sa.delete(file_chunk).where(own))
    return len(numbers)


# --- read ------------------------------------------------------------------------------------


def find(tx: Transaction, file_id: str) -> StoredFile | None:
    """Read a file's record, if it is visible."""
    row = tx.execute(sa.select(file).where(file.c.id == file_id, _is_there(tx))).first()
    return None if row is None else _stored(row)


def get(tx: Transaction, file_id: str) -> StoredFile:
    """Read a file's record.

    Raises:
        NotFound: There is no such file, or it was deleted or has expired.
    """
    found = find(tx, file_id)
    if found is None:
        raise not_found(file_id)
    return found


def not_found(file_id: str) -> NotFound:
    """Error for an unknown id."""
    return NotFound(f"No such File object: {file_id}")


def page(
    tx: Transaction,
    *,
    limit: int,
    after: str | None = None,
    purpose: Purpose | None = None,
    newest_first: bool = True,
) -> Sequence[StoredFile]:
    """List up to `limit` files by the time of creation, after the file of the id `after`."""
    order = file.c.id.desc() if newest_first else file.c.id.asc()
    statement = sa.select(file).where(_is_there(tx)).order_by(order).limit(limit)
    if after is not None:
        statement = statement.where(file.c.id < after if newest_first else file.c.id > after)
    if purpose is not None:
        statement = statement.where(file.c.purpose == purpose)
    return [_stored(row) for row in tx.execute(statement)]


def chunk(tx: Transaction, key: int, number: int) -> bytes:
    """Read a deflated chunk of a file that is visible or that a batch is reading.

    Raises:
        NotFound: Its content was removed meanwhile.
    """
    own = sa.and_(file_chunk.c.file_key == key, file_chunk.c.number == number)
    found: bytes | None = tx.execute(sa.select(file_chunk.c.deflated).where(own)).scalar()
    if found is None:
        raise NotFound("The file was deleted while it was read.")
    return bytes(found)


def number_of_chunks(tx: Transaction, key: int) -> int:
    """Number of chunks of a file."""
    counted = sa.select(sa.func.count()).where(file_chunk.c.file_key == key)
    return int(tx.execute(counted).scalar_one())


def by_idempotency_key(tx: Transaction, key: str) -> StoredFile | None:
    """Read the file of an idempotency key."""
    row = tx.execute(sa.select(file).where(file.c.idempotency_key == key, _is_there(tx))).first()
    return None if row is None else _stored(row)


def same_of_late(tx: Transaction, *, sha256: str, filename: str) -> StoredFile | None:
    """Read an uploaded file with the same content and name, of the last minutes."""
    statement = (
        sa.select(file)
        .where(
            _is_there(tx),
            file.c.created_at_ms > tx.now_ms() - _SAME_WITHIN_MS,
            file.c.sha256 == sha256,
            file.c.filename == filename,
            file.c.purpose == Purpose.BATCH,
        )
        .order_by(file.c.key.desc())
        .limit(1)
    )
    row = tx.execute(statement).first()
    return None if row is None else _stored(row)


def mark_deleted(tx: Transaction, file_id: str) -> None:
    """Hide the file for good; `purge_some` removes its content.

    Raises:
        NotFound: There is no file of that id.
    """
    statement = sa.update(file).where(file.c.id == file_id, _is_there(tx))
    if not tx.execute(statement.values(state=FileState.DELETED, idempotency_key=None)).rowcount:
        raise not_found(file_id)


def _stored(row: sa.Row[Any]) -> StoredFile:
    return StoredFile(
        key=row.key,
        id=row.id,
        purpose=row.purpose,
        filename=row.filename,
        bytes=row.bytes,
        lines=row.lines,
        sha256=row.sha256,
        created_at_ms=row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
    )

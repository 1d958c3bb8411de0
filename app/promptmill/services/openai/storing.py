"""Acceptance of uploaded files: visible from one commit on, and the same for a repetition."""

from __future__ import annotations

from dataclasses import dataclass

from promptmill.domain.openai import StoredFile
from promptmill.observability.audit import Change, audit
from promptmill.services import admission
from promptmill.services.openai.batches import KeyReused
from promptmill.services.openai.files import FileWriter
from promptmill.services.resources import Resources
from promptmill.store.db.database import Transaction
from promptmill.store.openai import files


@dataclass(frozen=True, slots=True)
class Accepted:
    """File of a request, stored by it or by an earlier equal one."""

    file: StoredFile
    is_replay: bool


async def accept(
    resources: Resources,
    writer: FileWriter,
    *,
    expires_in_s: int | None,
    key: str | None,
    is_retry: bool,
) -> Accepted:
    """Make an uploaded file visible; when the function returns it is on disk.

    Raises:
        KeyReused: The idempotency key was used with another file.
        Unavailable: The database cannot take it; nothing was stored.
    """
    await writer.close()

    def finish(tx: Transaction) -> Accepted:
        known = files.by_idempotency_key(tx, key) if key is not None else None
        if known is not None and known.sha256 != writer.sha256:
            raise KeyReused(admission.KEY_USED)
        if known is None and key is None and is_retry:
            known = files.same_of_late(tx, sha256=writer.sha256, filename=writer.filename)
        if known is not None:
            writer.drop(tx)
            return Accepted(known, is_replay=True)
        stored = writer.finish(tx, expires_in_s=expires_in_s, idempotency_key=key)
        return Accepted(stored, is_replay=False)

    accepted = await resources.database.write(finish)
    if not accepted.is_replay:
        audit(Change.FILE_CREATED, accepted.file.id, bytes=accepted.file.bytes)
    return accepted

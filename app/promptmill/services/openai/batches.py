"""Service functions of batches of the OpenAI dialect."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace

from promptmill.domain.access.keys import ANYBODY, Caller
from promptmill.domain.errors import Conflict, Invalid
from promptmill.domain.lifecycle import TERMINAL_JOB_STATES, JobState
from promptmill.domain.openai import OpenAIBatch, OpenAIBatchDraft, Purpose, Stage, Status
from promptmill.domain.reading import HistoryEvent
from promptmill.observability.audit import Change, audit
from promptmill.services import admission
from promptmill.services.openai.job_draft import job_draft, with_defaults_of_key
from promptmill.services.openai.writing import lines
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Wakeup
from promptmill.settings import Settings
from promptmill.store.batches import history, transitions
from promptmill.store.db.database import Transaction
from promptmill.store.openai import batches, files


class WrongPurpose(Invalid):
    """The file cannot be the input of a batch."""


class KeyReused(Invalid):
    """The idempotency key was used with another request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Identity of a request, which distinguishes repetitions from new requests."""

    body_hash: str
    """SHA-256 of all fields."""
    key: str | None = None
    """Idempotency key; None without one."""
    is_retry: bool = False
    """Whether the client's library declares the request a repetition."""


@dataclass(frozen=True, slots=True)
class Made:
    """Batch of a request, created by it or by an earlier equal one."""

    batch: OpenAIBatch
    is_replay: bool


@dataclass(frozen=True, slots=True)
class OpenAIBatchPage:
    """Page of batches, newest first."""

    batches: Sequence[OpenAIBatch]
    has_more: bool


async def create(
    resources: Resources, draft: OpenAIBatchDraft, origin: Origin, caller: Caller = ANYBODY
) -> Made:
    """Store a batch; when the function returns it is on disk, and its file will be read.

    Raises:
        KeyReused: The idempotency key was used with other fields.
        WrongPurpose: The file is an output of a batch.
        Invalid: The caller's key does not allow such a batch.
        LimitExceeded: The queue, or the key's share of it, has no room for the lines of the file.
        StorageFull: The disk has too little room for new work.
    """
    made = await resources.database.write(_create, draft, origin, caller, resources.settings)
    if not made.is_replay:
        # The number of prompts is known only when the file has been read.
        audit(Change.BATCH_CREATED, made.batch.id)
        resources.signals.spread(Wakeup.FILES)
    return made


def _create(
    tx: Transaction,
    draft: OpenAIBatchDraft,
    origin: Origin,
    caller: Caller,
    settings: Settings,
) -> Made:
    if (known := _known(tx, origin, caller)) is not None:
        return Made(known, is_replay=True)
    admission.require_disk_room(settings)
    draft = replace(draft, options=with_defaults_of_key(draft.options, caller.limits))
    asked = job_draft(draft.endpoint, draft.options, metadata=draft.metadata, key_id=caller.key_id)
    # The number of prompts is known only when the file has been read.
    admission.require_allowed(asked, 0, caller)
    file = files.find(tx, draft.input_file_id)
    if file is not None:
        if file.purpose is not Purpose.BATCH:
            raise WrongPurpose(
                f"The file {file.id} has the purpose '{file.purpose.value}'; a batch is made of one"
                " with the purpose 'batch'."
            )
        admission.require_room(tx, file.lines, most_queued=settings.max_queued_prompts)
        admission.require_room_of_key(tx, file.lines, caller)
    batch_id = admission.new_batch_id()
    batches.insert(
        tx,
        draft,
        batch_id=batch_id,
        file_key=None if file is None else file.key,
        body_hash=origin.body_hash,
        idempotency_key=origin.key,
        key_id=caller.key_id,
    )
    return Made(batches.get(tx, batch_id), is_replay=False)


def _known(tx: Transaction, origin: Origin, caller: Caller) -> OpenAIBatch | None:
    if origin.key is not None:
        found = batches.by_idempotency_key(tx, origin.key)
        if found is not None and found[1] != origin.body_hash:
            raise KeyReused(admission.KEY_USED)
        return None if found is None else found[0]
    if not origin.is_retry:
        return None
    return batches.same_of_late(tx, origin.body_hash, key_id=caller.key_id)


async def get(resources: Resources, batch_id: str) -> OpenAIBatch:
    """Read a batch.

    Raises:
        NotFound: There is none of that id.
    """
    return await resources.database.read(batches.get, batch_id)


async def list_batches(resources: Resources, *, limit: int, after: str | None) -> OpenAIBatchPage:
    """List batches, newest first, after the batch of the id `after`."""
    found = await resources.database.read(batches.page, limit=limit + 1, after=after)
    return OpenAIBatchPage(found[:limit], len(found) > limit)


async def cancel(resources: Resources, batch_id: str, *, caller: Caller = ANYBODY) -> OpenAIBatch:
    """Cancel a batch; a repetition changes nothing.

    Raises:
        NotFound: There is none of that id.
        Conflict: It has ended.
    """
    batch, is_new = await resources.database.write(_cancel, batch_id, caller.key_id)
    if is_new:
        audit(Change.BATCH_CANCELLED, batch_id)
    resources.signals.spread(Wakeup.ENDING)
    resources.signals.spread(Wakeup.FILES)
    return batch


def _cancel(tx: Transaction, batch_id: str, key_id: str | None) -> tuple[OpenAIBatch, bool]:
    """Cancel a batch, and return it with whether this request was the first to do so."""
    batches.lock(tx, batch_id)
    batch = batches.get(tx, batch_id)
    if batch.status is Status.CANCELLED or batch.job_state is JobState.CANCELLED:
        return batch, False
    if batch.stage in {Stage.REFUSED, Stage.ENDED} or batch.job_state in TERMINAL_JOB_STATES:
        raise Conflict(f"Cannot cancel a batch with status '{batch.status.value}'.")
    batches.note_cancel(tx, batch_id)
    if batch.stage is Stage.RUNNING and transitions.request_cancel(tx, batch_id):
        history.note(tx, batch_id, HistoryEvent.CANCEL_REQUESTED, key_id=key_id)
    return batches.get(tx, batch_id), batch.status is not Status.CANCELLING


async def results(
    resources: Resources, batch: OpenAIBatch
) -> AsyncGenerator[Sequence[tuple[bool, bytes]], None]:
    """Stream the lines of a batch so far; see `writing.lines`."""
    if batch.job_state is not None:
        async for piece in lines(resources.database, batch):
            yield piece

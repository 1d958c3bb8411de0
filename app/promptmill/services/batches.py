"""Service functions of batches; one function and one transaction each."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from promptmill.domain.access.keys import ANYBODY, Caller
from promptmill.domain.batches import Batch, BatchDraft, IdempotencyKey, TaskResult
from promptmill.domain.lifecycle import TERMINAL_JOB_STATES, TaskState
from promptmill.domain.reading import BatchFilter, HistoryEntry, HistoryEvent
from promptmill.observability.audit import Change, audit
from promptmill.services import admission
from promptmill.services.reading.waiting import with_prospects
from promptmill.services.recommended_limit import with_starting_limit
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Wakeup
from promptmill.settings import Settings
from promptmill.store.batches import history, jobs, overview, results, transitions
from promptmill.store.db.database import Transaction

_MOST_PER_CHUNK = 500
_FIRST_CHUNK = 20
_TEXT_PER_CHUNK = 4_000_000
"""Target characters of an export's chunk, which is held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """Accepted batch."""

    batch: Batch
    created: bool
    """Whether this request created the batch, and not an earlier one with its idempotency key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPage:
    """Page of batches, newest first."""

    batches: Sequence[Batch]
    next_cursor: str | None
    """Position of the next page; None at the end."""
    complete: bool = True
    """False if the search reached its bound before the page was full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultPage:
    """Page of results, in prompt order."""

    results: Sequence[TaskResult]
    next_after: int | None
    """Index after which the next page begins; None if there are no more results now."""


async def submit(
    resources: Resources,
    draft: BatchDraft,
    *,
    idempotency: IdempotencyKey | None = None,
    caller: Caller = ANYBODY,
) -> Submission:
    """Store a batch; when this returns it is on disk and will be worked off.

    Raises:
        Invalid: The idempotency key was used with another body, or the caller's key does not
            allow such a batch.
        LimitExceeded: The queue would have more prompts than the settings or the key allow.
        StorageFull: The disk has too little room for new work.
        Unavailable: The database cannot take it; nothing was stored.
    """
    known = resources.settings.listed("pull_registries")
    admission.require_known_registries(draft, draft.prompts, known)
    submission = await resources.database.write(
        _submit,
        await with_starting_limit(resources, draft),
        idempotency,
        caller,
        resources.settings,
    )
    if submission.created:
        audit(Change.BATCH_CREATED, submission.batch.id, prompts=len(draft.prompts))
        resources.signals.spread(Wakeup.WORK)
    return submission


def _submit(
    tx: Transaction,
    draft: BatchDraft,
    idempotency: IdempotencyKey | None,
    caller: Caller,
    settings: Settings,
) -> Submission:
    known = admission.batch_of_key(tx, idempotency)
    if known is not None:
        return Submission(batch=known, created=False)
    admission.require_allowed(draft, len(draft.prompts), caller)
    admission.require_disk_room(settings)
    admission.require_room(tx, len(draft.prompts), most_queued=settings.max_queued_prompts)
    admission.require_room_of_key(tx, len(draft.prompts), caller)
    batch_id = admission.new_batch_id()
    draft = replace(draft, key_id=caller.key_id)
    jobs.insert(tx, draft, batch_id=batch_id, idempotency=idempotency, grouped=settings.grouping)
    return Submission(batch=jobs.get(tx, batch_id), created=True)


async def get(resources: Resources, batch_id: str) -> Batch:
    """Read a batch.

    Raises:
        NotFound: There is none of that id.
    """
    batch = await resources.database.read_briefly(jobs.get, batch_id)
    (told,) = await with_prospects(resources, [batch])
    return told


async def get_history(resources: Resources, batch_id: str) -> Sequence[HistoryEntry]:
    """Read the events of a batch, oldest first.

    Raises:
        NotFound: There is none of that id.
    """
    return await resources.database.read(history.of_batch, batch_id)


async def wait_until_ended(resources: Resources, batch_id: str, *, timeout_s: float) -> Batch:
    """Wait until a batch has ended, at most `timeout_s`, and read it.

    Raises:
        NotFound: There is none of that id.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        # Listening begins before the read, so that an end between the two is not missed.
        ended = resources.signals.job_ended.listen()
        batch = await get(resources, batch_id)
        left = deadline - time.monotonic()
        if batch.state in TERMINAL_JOB_STATES or left <= 0:
            return batch
        # The signal is missing if another process without NOTIFY did the work, so the batch is read
        # each `poll_s` as well. It also comes for other batches; a read by key costs little.
        await ended.wait(min(left, resources.settings.poll_s))


async def list_batches(
    resources: Resources,
    *,
    limit: int,
    cursor: str | None = None,
    wanted: BatchFilter | None = None,
) -> BatchPage:
    """List batches that match, newest first; `cursor` is the `next_cursor` of the page before.

    A page may have fewer than `limit` batches although another follows: each examines at most
    `overview.MOST_SCANNED` batches.
    """
    found = await resources.database.read(
        overview.page, wanted or BatchFilter(), limit=limit, before=cursor
    )
    return BatchPage(
        batches=await with_prospects(resources, found.batches),
        next_cursor=found.next_before,
        complete=found.complete,
    )


async def results_page(
    resources: Resources,
    batch_id: str,
    *,
    limit: int,
    after_index: int | None = None,
    status: TaskState | None = None,
) -> ResultPage:
    """Read a page of finished results in prompt order, after the index `after_index`.

    Raises:
        NotFound: There is no batch of that id.
    """

    def read(tx: Transaction) -> Sequence[TaskResult]:
        key = results.job_key(tx, batch_id)
        return results.page(tx, key, limit=limit + 1, after_index=after_index, status=status)

    found = await resources.database.read(read)
    shown = found[:limit]
    return ResultPage(results=shown, next_after=shown[-1].index if len(found) > limit else None)


async def stream_results(
    resources: Resources, batch_id: str, *, status: TaskState | None = None
) -> AsyncIterator[Sequence[TaskResult]]:
    """Stream all finished results in prompt order, in chunks; each chunk is a separate read.

    Raises:
        NotFound: There is no batch of that id. Raised before the stream begins, and by the stream
            if the batch is deleted meanwhile, because the stream would otherwise seem complete.
    """
    await resources.database.read(results.job_key, batch_id)

    def read(tx: Transaction, limit: int, after: int | None) -> Sequence[TaskResult]:
        key = results.job_key(tx, batch_id)
        found = results.page(tx, key, limit=limit, after_index=after, status=status)
        # If the batch was deleted between the two statements, the second may lack results.
        results.job_key(tx, batch_id)
        return found

    async def chunks() -> AsyncIterator[Sequence[TaskResult]]:
        after: int | None = None
        limit = _FIRST_CHUNK
        while True:
            chunk = await resources.database.read(read, limit, after)
            if chunk:
                yield chunk
            if len(chunk) < limit:
                return
            after = chunk[-1].index
            text = sum(len(each.prompt) + len(each.response or "") for each in chunk)
            limit = max(min(len(chunk) * _TEXT_PER_CHUNK // (text or 1), _MOST_PER_CHUNK), 1)

    return chunks()


async def cancel(resources: Resources, batch_id: str, *, caller: Caller = ANYBODY) -> Batch:
    """Cancel a batch: waiting prompts are cancelled, running calls are aborted.

    Raises:
        NotFound: There is none of that id.
        Conflict: It has ended.
    """

    def request(tx: Transaction) -> Batch:
        if transitions.request_cancel(tx, batch_id):
            history.note(tx, batch_id, HistoryEvent.CANCEL_REQUESTED, key_id=caller.key_id)
        return jobs.get(tx, batch_id)

    batch = await resources.database.write(request)
    audit(Change.BATCH_CANCELLED, batch_id)
    resources.signals.spread(Wakeup.ENDING)
    return batch


async def delete(resources: Resources, batch_id: str) -> None:
    """Delete an ended batch with its prompts and results.

    Raises:
        NotFound: There is none of that id.
        Conflict: It has not ended.
    """
    await resources.database.write(jobs.BATCHES.mark_deleted, batch_id)
    audit(Change.BATCH_DELETED, batch_id)
    resources.signals.purge_requested.set()

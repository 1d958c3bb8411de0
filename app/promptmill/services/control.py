"""Service functions that steer an accepted batch: pause, resume, update, retry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from promptmill.domain.access.keys import ANYBODY, Caller
from promptmill.domain.batches import Batch, BatchChanges
from promptmill.domain.errors import Conflict, FieldProblem, Invalid, NotFound
from promptmill.domain.lifecycle import JobState
from promptmill.domain.reading import HistoryEvent
from promptmill.observability.audit import Change, audit
from promptmill.services import admission
from promptmill.services.reading.waiting import with_prospects
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Wakeup
from promptmill.store.batches import history, jobs, transitions
from promptmill.store.db.database import Transaction
from promptmill.store.openai import batches as openai
from promptmill.store.queue import bulk

_RequireRoom = Callable[[Transaction, int], None]
"""Function that raises `LimitExceeded` if the queue has no room for so many prompts."""


async def pause(resources: Resources, batch_id: str, *, caller: Caller = ANYBODY) -> Batch:
    """Pause a batch: no prompt is started, running ones may finish.

    Raises:
        NotFound: There is none of that id.
        Conflict: It has ended, or is about to.
    """

    def work(tx: Transaction) -> None:
        if transitions.request_pause(tx, batch_id):
            history.note(tx, batch_id, HistoryEvent.PAUSED, key_id=caller.key_id)

    return await _change(resources, batch_id, work, Change.BATCH_PAUSED)


async def resume(resources: Resources, batch_id: str, *, caller: Caller = ANYBODY) -> Batch:
    """Resume a paused batch.

    Raises:
        NotFound: There is none of that id.
        Conflict: It has ended, or is about to.
    """

    def work(tx: Transaction) -> None:
        if transitions.request_resume(tx, batch_id):
            history.note(tx, batch_id, HistoryEvent.RESUMED, key_id=caller.key_id)

    return await _change(resources, batch_id, work, Change.BATCH_RESUMED)


async def update(
    resources: Resources, batch_id: str, changes: BatchChanges, *, caller: Caller = ANYBODY
) -> Batch:
    """Change limits, priority, label or metadata, from any worker's next claim on.

    Raises:
        NotFound: There is none of that id.
        Invalid: The caller's key does not allow it.
    """
    admission.require_allowed_changes(changes, caller)

    def work(tx: Transaction) -> None:
        transitions.update(tx, batch_id, changes)
        if told := changes.told():
            history.note(
                tx, batch_id, HistoryEvent.CHANGED, key_id=caller.key_id, detail=", ".join(told)
            )

    return await _change(resources, batch_id, work, Change.BATCH_UPDATED, fields=changes.named())


async def _change(
    resources: Resources,
    batch_id: str,
    work: Callable[[Transaction], None],
    what: Change,
    **details: list[str],
) -> Batch:
    def change(tx: Transaction) -> Batch:
        work(tx)
        return jobs.get(tx, batch_id)

    batch = await resources.database.write(change)
    audit(what, batch_id, **details)
    resources.signals.spread(Wakeup.WORK)
    (told,) = await with_prospects(resources, [batch])
    return told


async def retry(
    resources: Resources,
    batch_id: str,
    *,
    indexes: Sequence[int] | None = None,
    expires_in_s: float | None = None,
    caller: Caller = ANYBODY,
) -> Batch:
    """Run prompts again that failed, were cancelled or expired: all, or those of `indexes`.

    All are retried piece by piece, so that a million prompts block no other writer. If the process
    dies midway, the finished pieces are queued, and the same request retries the rest.

    Raises:
        NotFound: There is no batch of that id.
        Invalid: An index is beyond the batch, or of a prompt that cannot run again.
        Conflict: The batch is being cancelled, or has no prompt that could run again.
        LimitExceeded: The queue would have more prompts than the settings or the key allow.
        StorageFull: The disk has too little room for new work.
    """
    database = resources.database

    def require_room(tx: Transaction, prompts: int) -> None:
        most = resources.settings.max_queued_prompts
        admission.require_disk_room(resources.settings)
        admission.require_room(tx, prompts, most_queued=most)
        admission.require_room_of_key(tx, prompts, caller)

    def note(tx: Transaction, prompts: int) -> None:
        told = f"{prompts} prompt{'' if prompts == 1 else 's'}"
        history.note(tx, batch_id, HistoryEvent.RETRIED, key_id=caller.key_id, detail=told)

    def choose(tx: Transaction, chosen: Sequence[int]) -> None:
        _retry_chosen(tx, batch_id, chosen, expires_in_s, require_room)
        note(tx, len(set(chosen)))

    def begin(tx: Transaction) -> bulk.Swept:
        counts = jobs.get(tx, batch_id).counts
        again = counts.failed + counts.cancelled + counts.expired
        require_room(tx, again)
        swept = _begin_retry(tx, batch_id, expires_in_s)
        note(tx, again)
        return swept

    if indexes is not None:
        await database.write(choose, indexes)
    else:
        swept = await database.write(begin)
        while swept.last_index is not None:
            swept = await database.write(_retry_more, batch_id, swept.last_index)
    audit(Change.BATCH_RETRIED, batch_id)
    resources.signals.spread(Wakeup.WORK)
    (told,) = await with_prospects(resources, [await database.read(jobs.get, batch_id)])
    return told


def _begin_retry(tx: Transaction, batch_id: str, expires_in_s: float | None) -> bulk.Swept:
    job_key = _reopen(tx, batch_id, expires_in_s=expires_in_s)
    swept = bulk.run_again(tx, job_key)
    if not swept.prompts:
        raise Conflict("The batch has no prompt that failed, was cancelled or expired.")
    return swept


def _reopen(
    tx: Transaction,
    batch_id: str,
    *,
    expires_in_s: float | None,
    unless: frozenset[JobState] = frozenset({JobState.CANCELLING}),
) -> int:
    """Reopen a batch (`transitions.reopen`), and drop the output files of the OpenAI dialect."""
    openai.lock(tx, batch_id)
    job_key = transitions.reopen(tx, batch_id, expires_in_s=expires_in_s, unless=unless)
    openai.reopen(tx, batch_id)
    return job_key


def _retry_more(
    tx: Transaction, batch_id: str, after_index: int, *, piece: int = bulk.PIECE
) -> bulk.Swept:
    # The batch may have ended or been cancelled since the previous piece.
    gone = frozenset({JobState.CANCELLING, JobState.CANCELLED})
    try:
        job_key = _reopen(tx, batch_id, expires_in_s=None, unless=gone)
    except (Conflict, NotFound):
        return bulk.Swept(prompts=0, last_index=None)
    return bulk.run_again(tx, job_key, after_index=after_index, limit=piece)


def _retry_chosen(
    tx: Transaction,
    batch_id: str,
    indexes: Sequence[int],
    expires_in_s: float | None,
    require_room: _RequireRoom,
) -> None:
    require_room(tx, len(indexes))
    total = jobs.get(tx, batch_id).counts.total
    job_key = _reopen(tx, batch_id, expires_in_s=expires_in_s)
    fit = bulk.can_run_again(tx, job_key, indexes)
    problems = tuple(
        FieldProblem(
            f"/indexes/{place}",
            f"the batch has prompts 0 to {total - 1}"
            if index >= total
            else f"prompt {index} has not failed, been cancelled or expired; leave it out",
        )
        for place, index in enumerate(indexes)
        if index not in fit
    )
    if problems:
        raise Invalid("Some of these prompts cannot run again; none was queued.", problems[:100])
    bulk.run_chosen_again(tx, job_key, indexes)

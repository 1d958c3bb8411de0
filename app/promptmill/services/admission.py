"""Admission of a batch: the checks inside the storing transaction."""

from __future__ import annotations

import secrets
import time
from typing import Final

from promptmill.domain.batches import Batch, IdempotencyKey
from promptmill.domain.errors import Invalid, LimitExceeded
from promptmill.domain.ids import RANDOM_BITS, sortable_id
from promptmill.services.resources import Resources
from promptmill.store.batches import jobs
from promptmill.store.db.database import Transaction

KEY_USED: Final = (
    "This Idempotency-Key was used with another body; take a new key for a new request."
)


def batch_of_key(tx: Transaction, idempotency: IdempotencyKey | None) -> Batch | None:
    """The batch that was made by the same request before; None if this is the first.

    Raises:
        Invalid: The key was used with another body.
    """
    known = idempotency and jobs.find_by_idempotency_key(tx, idempotency.key)
    if not (idempotency and known):
        return None
    batch_id, body_hash = known
    if body_hash != idempotency.body_hash:
        raise Invalid(KEY_USED)
    return jobs.get(tx, batch_id)


def require_room(tx: Transaction, prompts: int, *, most_queued: int) -> int:
    """Check that the queue has room for so many prompts; returns the prompts in the queue.

    Raises:
        LimitExceeded: It would have more than `most_queued`.
    """
    queued = jobs.prompts_without_outcome(tx)
    if queued + prompts > most_queued:
        raise LimitExceeded(
            f"The queue is full: {queued} prompts have no outcome yet and"
            f" {most_queued} may (PROMPTMILL_MAX_QUEUED_PROMPTS). Nothing was stored."
        )
    return queued


async def room_for(resources: Resources, prompts: int) -> int:
    """`require_room` without storing anything.

    Raises:
        LimitExceeded: There is no room now.
    """
    most = resources.settings.max_queued_prompts
    return await resources.database.read(require_room, prompts, most_queued=most)


def new_batch_id() -> str:
    """An id for a batch that is accepted now."""
    return _new_id("batch")


def new_benchmark_id() -> str:
    """An id for a benchmark that is accepted now."""
    return _new_id("bench")


def _new_id(prefix: str) -> str:
    # The id's time only makes ids sort; no decision is taken by it.
    return sortable_id(
        prefix, now_ms=time.time_ns() // 1_000_000, random=secrets.randbits(RANDOM_BITS)
    )

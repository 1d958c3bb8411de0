"""Uploads: batches that are stored piece by piece, because they are too large for memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final

from promptmill.domain.access.keys import ANYBODY, Caller
from promptmill.domain.batches import BatchDraft, IdempotencyKey, PromptDraft
from promptmill.domain.errors import Unavailable
from promptmill.observability.audit import Change, audit
from promptmill.services import admission
from promptmill.services.batches import Submission
from promptmill.services.recommended_limit import with_starting_limit
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Wakeup
from promptmill.store.batches import jobs, uploads
from promptmill.store.db.database import Transaction

PIECE_PROMPTS: Final = 2_000
"""Prompts of one transaction, which blocks other writers for some tens of milliseconds."""


class Upload:
    """Upload of one batch, which is hidden until `finish`."""

    def __init__(
        self, resources: Resources, draft: BatchDraft, key: str | None, caller: Caller = ANYBODY
    ) -> None:
        self._resources = resources
        self._draft = replace(draft, key_id=caller.key_id)
        self._key = key
        self._caller = caller
        self._job_key: int | None = None
        self._stored = 0

    async def add(self, prompts: Sequence[PromptDraft]) -> None:
        """Store the next prompts.

        Raises:
            Invalid: A model would be downloaded from an unknown server.
            LimitExceeded: The queue is full already.
            StorageFull: The disk has too little room for new work.
            Unavailable: The database cannot take them, or the upload was silent for so long that
                it was given up.
        """
        known = self._resources.settings.listed("pull_registries")
        admission.require_known_registries(self._draft, prompts, known, first_index=self._stored)
        for first in range(0, len(prompts), PIECE_PROMPTS):
            admission.require_disk_room(self._resources.settings)
            piece = prompts[first : first + PIECE_PROMPTS]
            if self._job_key is None:
                self._job_key = await self._resources.database.write(self._begin, piece)
            else:
                await self._resources.database.write(
                    uploads.extend,
                    self._job_key,
                    piece,
                    first_index=self._stored,
                    grouped=self._resources.settings.grouping,
                )
            self._stored += len(piece)

    async def finish(self, *, body_hash: str) -> Submission:
        """Accept the stored prompts as one batch; when the function returns the batch is queued.

        If the idempotency key was used with the same body before, this upload is dropped and the
        earlier batch returned.

        Raises:
            Invalid: The idempotency key was used with another body.
            LimitExceeded: The queue would have more prompts than the settings allow.
            Unavailable: As `add`.
        """
        idempotency = IdempotencyKey(key=self._key, body_hash=body_hash) if self._key else None
        submission = await self._resources.database.write(self._finish, idempotency)
        if submission.created:
            audit(Change.BATCH_CREATED, submission.batch.id, prompts=self._stored)
            self._resources.signals.spread(Wakeup.WORK)
        else:
            self._resources.signals.purge_requested.set()
        return submission

    async def discard(self) -> None:
        """Remove the upload."""
        if self._job_key is not None:
            await self._resources.database.write(uploads.discard, self._job_key)
            self._resources.signals.purge_requested.set()

    def _begin(self, tx: Transaction, prompts: Sequence[PromptDraft]) -> int:
        # Only the end decides whether there is room; this check saves sending all for nothing.
        is_replay = self._key is not None and jobs.BATCHES.find_by_idempotency_key(tx, self._key)
        if not is_replay:
            self._require_room(tx, len(prompts))
        return uploads.begin(
            tx,
            self._draft,
            prompts,
            batch_id=admission.new_batch_id(),
            grouped=self._resources.settings.grouping,
        )

    def _finish(self, tx: Transaction, idempotency: IdempotencyKey | None) -> Submission:
        if self._job_key is None:
            raise RuntimeError("An upload without prompts is to be refused, not finished.")
        known = admission.batch_of_key(tx, idempotency)
        if known is not None:
            uploads.discard(tx, self._job_key)
            return Submission(batch=known, created=False)
        self._require_room(tx, self._stored)
        batch_id = admission.new_batch_id()
        uploads.complete(
            tx,
            self._job_key,
            self._draft,
            batch_id=batch_id,
            total=self._stored,
            idempotency=idempotency,
        )
        return Submission(batch=jobs.get(tx, batch_id), created=True)

    def _require_room(self, tx: Transaction, prompts: int) -> None:
        most = self._resources.settings.max_queued_prompts
        admission.require_allowed(self._draft, prompts, self._caller)
        admission.require_room(tx, prompts, most_queued=most)
        admission.require_room_of_key(tx, prompts, self._caller)


@asynccontextmanager
async def receiving(
    resources: Resources, draft: BatchDraft, *, key: str | None, caller: Caller = ANYBODY
) -> AsyncGenerator[Upload, None]:
    """Upload that is discarded unless the block succeeds; `key` is the idempotency key."""
    upload = Upload(resources, await with_starting_limit(resources, draft), key, caller)
    try:
        yield upload
    except BaseException:  # Also when the client leaves or the service stops in the middle.
        # If the database has failed, the purger later removes the abandoned upload.
        with suppress(Unavailable):
            await upload.discard()
        raise

"""Reading of an input file into prompts: checked, stored, and released in one transaction.

Nothing of the file is visible before the transaction in which the batch begins. A worker that takes
over after a crash removes what was stored and starts again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from promptmill.domain.access.keys import ANYBODY
from promptmill.domain.batches import PromptDraft
from promptmill.domain.errors import Invalid, LimitExceeded, NotFound
from promptmill.domain.openai import LineError
from promptmill.ollama.answer_checks.json_schema import schema_fault
from promptmill.services import admission
from promptmill.services.access import keys
from promptmill.services.openai import files
from promptmill.services.openai.job_draft import job_draft
from promptmill.services.openai.lines import LineLimit, LineReader, fault_of
from promptmill.services.openai.translation.translate import Endpoint
from promptmill.services.recommended_limit import with_starting_limit
from promptmill.services.resources import Resources
from promptmill.store.batches import uploads
from promptmill.store.db.database import Database, Transaction
from promptmill.store.openai import batches, execution
from promptmill.store.openai.execution import Lease
from promptmill.store.queue import bulk, counters

_PIECE_PROMPTS: Final = 2_000


class Cancelled(Exception):  # noqa: N818 - named for what happened
    """A client asked to cancel the batch while its file was read."""


class Reading:
    """Reading of one input file by a worker."""

    def __init__(
        self, resources: Resources, database: Database, lease: Lease, *, lease_ms: int
    ) -> None:
        """Store the arguments; `database` is that of the worker's roles."""
        self._resources = resources
        self._database = database
        self._settings = resources.settings
        self._lease = lease
        self._lease_ms = lease_ms
        batch = lease.batch
        self._draft = job_draft(
            batch.endpoint, batch.options, metadata=batch.metadata, key_id=batch.key_id
        )
        self._caller = ANYBODY
        """Caller whose limits apply; looked up before the first line."""
        self._job_key: int | None = None
        self._stored = 0

    async def run(self) -> bool:
        """Read the file to its end; return whether there are prompts to run.

        Raises:
            LeaseLost: Another worker has the lease.
            Unavailable: The database does not work; the lease will expire.
        """
        lease = self._lease
        if lease.file_key is None:
            missing = f"Cannot find file {lease.batch.input_file_id}."
            errors = [LineError("invalid_request", missing, param="file_id")]
            await self._database.write(execution.refuse, lease, errors)
            return False
        self._caller = await self._database.read(keys.caller_with, lease.batch.key_id)
        reader = LineReader(
            Endpoint(lease.batch.endpoint),
            usable_schema=schema_fault,
            limit=self._most_lines(),
            installed=await self._installed(),
        )
        try:
            await self._read(reader, lease.file_key)
            if not reader.errors:
                await self._database.write(self._start, reader)
                return True
            errors = reader.errors.listed()
        except Cancelled:
            await self._database.write(execution.stop, lease)
            return False
        except LimitExceeded as error:
            errors = [LineError("token_limit_exceeded", str(error))]
        except Invalid as error:
            errors = [
                LineError("invalid_value", f"The model {problem.detail}.", param="body.model")
                for problem in error.problems
            ]
        except NotFound:
            errors = [LineError("invalid_request", "The input file was removed.", param="file_id")]
        await self._database.write(execution.refuse, lease, errors)
        return False

    async def _read(self, reader: LineReader, file_key: int) -> None:
        async with aclosing(files.blocks(self._database, file_key)) as blocks:
            async for block in blocks:
                await self._store(reader, await asyncio.to_thread(reader.feed, block))
        await self._store(reader, await asyncio.to_thread(reader.end))

    async def _store(self, reader: LineReader, drafts: Sequence[PromptDraft]) -> None:
        """Store the prompts read so far, and renew the lease even if there are none."""
        for first in range(0, max(len(drafts), 1), _PIECE_PROMPTS):
            piece = () if reader.errors else drafts[first : first + _PIECE_PROMPTS]
            if piece and self._job_key is None:
                draft = replace(self._draft, model=str(reader.model))
                self._draft = await with_starting_limit(self._resources, draft)
            known = self._settings.listed("pull_registries")
            admission.require_known_registries(self._draft, piece, known, first_index=self._stored)
            self._job_key = await self._database.write(self._add, piece)
            self._stored += len(piece)

    def _add(self, tx: Transaction, drafts: Sequence[PromptDraft]) -> int | None:
        """Add prompts to the hidden job, and return the job's key."""
        execution.renew(tx, self._lease, lease_ms=self._lease_ms)
        if execution.is_cancelled(tx, self._lease):
            raise Cancelled
        if not drafts:
            return self._job_key
        grouped = self._settings.grouping
        if self._job_key is None:
            job_key = uploads.begin(
                tx,
                self._draft,
                drafts,
                # The job gets the batch's id at the end, because a dead reading may still hold it.
                batch_id=admission.new_batch_id(),
                grouped=grouped,
            )
            execution.renew(tx, self._lease, lease_ms=self._lease_ms, job_key=job_key)
        else:
            job_key = self._job_key
            uploads.extend(tx, job_key, drafts, first_index=self._stored, grouped=grouped)
        faults = {
            index: why
            for index, draft in enumerate(drafts, start=self._stored)
            if (why := fault_of(draft)) is not None
        }
        bulk.refuse(tx, job_key, self._draft.model, faults)
        return job_key

    def _start(self, tx: Transaction, reader: LineReader) -> None:
        if self._job_key is None:
            raise RuntimeError("A file without requests is to be refused, not started.")
        batches.lock(tx, self._lease.batch.id)
        if execution.is_cancelled(tx, self._lease):
            raise Cancelled
        admission.require_room(tx, self._stored, most_queued=self._settings.max_queued_prompts)
        admission.require_room_of_key(tx, self._stored, self._caller)
        left_ms = self._lease.batch.expires_at_ms - tx.now_ms()
        draft = replace(self._draft, expires_in_s=max(left_ms, 1) / 1000)
        uploads.complete(
            tx,
            self._job_key,
            draft,
            batch_id=self._lease.batch.id,
            total=self._stored,
            idempotency=None,
        )
        counters.stop_if_too_many_failed(tx, self._job_key)
        model = None if reader.has_several_models else reader.model
        execution.start(tx, self._lease, job_key=self._job_key, model=model)

    def _most_lines(self) -> LineLimit:
        of_service, of_key = (
            self._settings.max_upload_prompts,
            self._caller.limits.max_batch_prompts,
        )
        if of_key is None or of_service <= of_key:
            return LineLimit(of_service, "one batch")
        return LineLimit(of_key, f"a batch of the key {self._caller.name}")

    async def _installed(self) -> frozenset[str] | None:
        """Models of all hosts; None if a host does not respond, or missing models are pulled."""
        if self._draft.auto_pull:
            return None
        told = await asyncio.gather(*(host.look_at_models() for host in self._resources.hosts))
        if not all(told):
            return None
        return frozenset(
            name for host in self._resources.hosts for name in host.view.names if host.may_run(name)
        )

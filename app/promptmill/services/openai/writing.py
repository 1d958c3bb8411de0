"""Writing of the output and the error file of a batch whose job has ended, as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from promptmill.domain.batches import TaskResult
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.openai import OpenAIBatch, Purpose
from promptmill.services.openai.files import FileWriter
from promptmill.services.openai.lines_out import line_of
from promptmill.services.openai.translation.translate import Endpoint
from promptmill.store.batches import results
from promptmill.store.db.database import Database, Transaction
from promptmill.store.openai import execution, marks
from promptmill.store.openai.execution import Lease

_MOST_PER_CHUNK: Final = 500
_FIRST_CHUNK: Final = 2
_TEXT_PER_CHUNK: Final = 4_000_000
"""Characters that a chunk should have; a chunk is held in memory."""

_CHARS_PER_BYTE: Final = 3
"""Characters per byte of a vector that is written in numbers."""

Lines = Sequence[tuple[bool, bytes]]
"""Lines, each with whether it belongs to the output file and not to the error file."""


class Writing:
    """Writing of one batch's files by a worker."""

    def __init__(
        self, database: Database, lease: Lease, *, lease_ms: int, usual_ttl_s: int | None
    ) -> None:
        """Store the arguments; `usual_ttl_s` is the default for files without a time to live."""
        self._database = database
        self._lease = lease
        self._lease_ms = lease_ms
        own_ttl_s = lease.batch.output_expires_s
        self._ttl_s = usual_ttl_s if own_ttl_s is None else own_ttl_s
        self._output, self._errors = self._writer("output"), self._writer("error")

    def _writer(self, name: str) -> FileWriter:
        batch_id = self._lease.batch.id
        return FileWriter(
            self._database,
            purpose=Purpose.BATCH_OUTPUT,
            filename=f"{batch_id}_{name}.jsonl",
            batch_id=batch_id,
        )

    async def run(self) -> None:
        """Write both files, and end the batch with them.

        Raises:
            LeaseLost: Another worker writes them, or the job runs again.
            Unavailable: The database does not work; the lease will expire.
        """
        async for piece in lines(self._database, self._lease.batch):
            await self._output.write(b"".join(line for succeeded, line in piece if succeeded))
            await self._errors.write(b"".join(line for succeeded, line in piece if not succeeded))
            await self._database.write(execution.renew, self._lease, lease_ms=self._lease_ms)
        for writer in (self._output, self._errors):
            if writer.size:
                await writer.close()
        await self._database.write(self._finish)

    def _finish(self, tx: Transaction) -> None:
        ids = [
            writer.finish(tx, expires_in_s=self._ttl_s).id if writer.size else None
            for writer in (self._output, self._errors)
        ]
        execution.finish(tx, self._lease, output_file_id=ids[0], error_file_id=ids[1])


async def lines(database: Database, batch: OpenAIBatch) -> AsyncGenerator[Lines, None]:
    """Yield the lines of all requests with an outcome, in the order of the input, in pieces.

    Raises:
        NotFound: The batch was deleted meanwhile.
    """
    endpoint = Endpoint(batch.endpoint)
    after, limit = None, _FIRST_CHUNK
    while True:
        chunk, found = await database.read(_chunk, batch.id, endpoint, limit, after)
        if chunk:
            yield await asyncio.to_thread(_lines, batch.id, endpoint, chunk, found)
        if len(chunk) < limit:
            return
        after = chunk[-1].index
        text = sum(map(_size, chunk))
        limit = max(min(len(chunk) * _TEXT_PER_CHUNK // (text or 1), _MOST_PER_CHUNK), 1)


def _size(result: TaskResult) -> int:
    """Approximate number of characters of a line."""
    numbers = len(result.embedding or b"") * _CHARS_PER_BYTE
    return len(result.prompt) + len(result.response or "") + numbers


def _chunk(
    tx: Transaction, batch_id: str, endpoint: Endpoint, limit: int, after: int | None
) -> tuple[Sequence[TaskResult], marks.Marks]:
    key = results.job_key(tx, batch_id)
    found = results.page(tx, key, limit=limit, after_index=after)
    marked = [
        one.index
        for one in found
        if endpoint is Endpoint.EMBEDDINGS or (one.status is TaskState.FAILED and not one.attempts)
    ]
    of_prompts = marks.marks_of(tx, key, marked)
    # If the batch was deleted between the statements, the second may lack results.
    results.job_key(tx, batch_id)
    return found, of_prompts


def _lines(
    batch_id: str, endpoint: Endpoint, chunk: Sequence[TaskResult], of_prompts: marks.Marks
) -> Lines:
    return [
        (
            each.status is TaskState.SUCCEEDED,
            line_of(batch_id, endpoint, each, of_prompts.get(each.index, {})),
        )
        for each in chunk
    ]

"""Search of a batch's results and prompts by filters, in short reads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

from promptmill.domain.batches import TaskResult
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.reading import FoundResults, ResultFilter, WaitingPrompt, WholePrompt
from promptmill.services.resources import Resources
from promptmill.store.batches import findings, prompts, results, search
from promptmill.store.db.database import Transaction

MOST_SCANNED: Final = 50_000
"""Most results that one request examines."""
LONGEST_S: Final = 1.0
"""Most seconds that one request searches."""


async def find_results(
    resources: Resources,
    batch_id: str,
    wanted: ResultFilter,
    *,
    limit: int,
    after: int | None = None,
    backwards: bool = False,
    preview: int | None = None,
) -> FoundResults:
    """Find results that match, in prompt order or backwards, beyond the index `after`.

    A search that finds little stops at `MOST_SCANNED` results or `LONGEST_S` seconds; it continues
    from `next_after`.

    Raises:
        NotFound: There is no batch of that id.
    """
    key = await resources.database.read(results.job_key, batch_id)
    found: list[TaskResult] = []
    scanned, place = 0, after
    size = search.PIECE if wanted.looks_at_rows else limit + 1
    deadline = time.monotonic() + LONGEST_S
    while True:
        piece = await resources.database.read(
            search.piece,
            key,
            wanted,
            limit=limit + 1 - len(found),
            after=place,
            backwards=backwards,
            size=size,
            preview=preview,
        )
        found += piece.results
        scanned += piece.scanned
        if len(found) > limit:
            shown = found[:limit]
            return FoundResults(
                results=shown, next_after=shown[-1].index, scanned=scanned, complete=True
            )
        if piece.scanned < size or piece.last_index is None:
            return FoundResults(results=found, next_after=None, scanned=scanned, complete=True)
        place = piece.last_index
        if scanned >= MOST_SCANNED or time.monotonic() >= deadline:
            return FoundResults(results=found, next_after=place, scanned=scanned, complete=False)


async def stream_found(
    resources: Resources, batch_id: str, wanted: ResultFilter
) -> AsyncIterator[Sequence[TaskResult]]:
    """Stream all results that match, in prompt order and in pieces; each piece is a separate read.

    Raises:
        NotFound: There is no batch of that id; raised here, and by the stream if it is deleted.
    """
    await resources.database.read(results.job_key, batch_id)

    def read(tx: Transaction, after: int | None) -> search.Piece:
        key = results.job_key(tx, batch_id)
        piece = search.piece(tx, key, wanted, limit=search.PIECE, after=after)
        results.job_key(tx, batch_id)
        return piece

    async def pieces() -> AsyncIterator[Sequence[TaskResult]]:
        place: int | None = None
        while True:
            piece = await resources.database.read(read, place)
            if piece.results:
                yield piece.results
            if piece.scanned < search.PIECE:
                return
            place = piece.last_index

    return pieces()


async def prompts_without_result(
    resources: Resources, batch_id: str, state: TaskState, *, limit: int
) -> Sequence[WaitingPrompt]:
    """List prompts that run, by index, or that wait, in the order of their start.

    Raises:
        NotFound: There is no batch of that id.
    """

    def read(tx: Transaction) -> Sequence[WaitingPrompt]:
        key = results.job_key(tx, batch_id)
        return prompts.without_result(tx, key, state, limit=limit)

    return await resources.database.read(read)


async def whole_prompt(resources: Resources, batch_id: str, index: int) -> WholePrompt:
    """Read one prompt with its result, if any.

    Raises:
        NotFound: There is no such batch, or it has no prompt of that index.
    """

    def read(tx: Transaction) -> WholePrompt:
        return prompts.whole(tx, results.job_key(tx, batch_id), index)

    return await resources.database.read(read)


async def failed_by(
    resources: Resources, batch_id: str, code: ErrorCode, sentence: str | None
) -> Sequence[int]:
    """Find the prompts that failed by a code, or by a code and the sentence of a cause.

    Raises:
        NotFound: There is no batch of that id.
    """

    def read(tx: Transaction) -> Sequence[int]:
        key = results.job_key(tx, batch_id)
        return findings.indexes_of_cause(tx, key, code, sentence)

    return await resources.database.read(read)

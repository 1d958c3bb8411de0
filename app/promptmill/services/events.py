"""Event streams of batches.

A follower's place is one number, that of the last result it has received. Numbers become visible in
their order (see `store.queue.counters`), so that a stream that continues from a place misses no
result and repeats none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from promptmill.domain.batches import Batch, TaskResult, WaitingFor
from promptmill.domain.errors import NotFound, Unavailable
from promptmill.domain.lifecycle import TERMINAL_JOB_STATES
from promptmill.services.reading.waiting import with_prospects
from promptmill.services.resources import Resources
from promptmill.store.batches import jobs, results
from promptmill.store.db.database import Transaction

APART_S: Final = 0.25
"""Seconds between two reads of one follower, and so between two `Progressed`."""
_LATER_MS: Final = 5_000
"""Milliseconds by which a wait must grow to be reported as a change."""
_RESULTS_PER_CHUNK: Final = 50
"""Results of a chunk; few, because a slow reader keeps a chunk in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """The state of the batch has changed; also the first event of every stream."""

    batch: Batch
    number: int
    """Place of the follower."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsStored:
    """Results were stored; at least one, in the order of their numbers."""

    results: Sequence[TaskResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The batch has ended and all its results were sent; no event follows."""

    batch: Batch
    number: int
    """Place of the follower: the number of the last result."""


Event = Progressed | ResultsStored | Ended


class Stop(Protocol):
    """The signal that the process is about to end."""

    async def wait(self) -> object:
        """Return when it is time to stop."""
        ...


def has_nothing_after(batch: Batch, number: int) -> bool:
    """Whether a follower that saw the end at that place has seen all events.

    False if prompts were run again since then.
    """
    return batch.state in TERMINAL_JOB_STATES and batch.last_event == number


async def follow(
    resources: Resources,
    batch_id: str,
    *,
    after: int,
    with_results: bool,
    stop: Stop,
    apart_s: float = APART_S,
) -> AsyncGenerator[Event, None]:
    """Yield the events of a batch from now on and, if wanted, the results stored after a number.

    The stream ends with `Ended`, or without it if the batch is deleted or `stop` is set. While the
    database is away no event is sent, and the stream continues afterwards. Nothing is read ahead of
    the consumer.
    """
    poll_s = resources.settings.poll_s
    told = _Told(after, apart_s)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not stopped.done():
            # Listening begins before the read, so that a change between the two is not missed.
            changed = resources.signals.job_changed.listen()
            looked_at = time.monotonic()
            look = await _look(resources, batch_id, after=told.place, with_results=with_results)
            if look is not None:
                for event in told.by(look, looked_at):
                    yield event
                if told.has_ended:
                    return
                if look.has_more:
                    continue
            if look is None or told.all_of(look.batch):
                # The signal is missing if another process without NOTIFY made the change; the read
                # shows it.
                await changed.wait(poll_s, stopped)
            rest_s = looked_at + apart_s - time.monotonic()
            if rest_s > 0:
                await asyncio.wait([stopped], timeout=rest_s)
    except NotFound:
        return
    finally:
        stopped.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """Result of one read."""

    batch: Batch
    results: Sequence[TaskResult]
    number: int
    """Place after these results."""
    has_more: bool
    """Whether more results may be stored already."""

    @property
    def is_last(self) -> bool:
        return has_nothing_after(self.batch, self.number)


class _Told:
    """State of a follower: what was sent, and what is sent next."""

    def __init__(self, after: int, apart_s: float) -> None:
        self.place = after
        self.has_ended = False
        self._apart_s = apart_s
        self._batch: Batch | None = None
        self._at = 0.0

    def by(self, look: _Look, now: float) -> Iterator[Event]:
        """Yield the events for a read; `now` is its monotonic time."""
        if self._batch is None:
            if not look.results:
                self.place = look.number
            yield self._progressed(look.batch, now)
        if look.results:
            yield ResultsStored(results=look.results)
        self.place = look.number
        if look.is_last:
            self.has_ended = True
            yield Ended(batch=look.batch, number=self.place)
        elif not self.all_of(look.batch) and now - self._at >= self._apart_s:
            yield self._progressed(look.batch, now)

    def all_of(self, batch: Batch) -> bool:
        """Whether this state of the batch was sent already, apart from the passing of time."""
        shown = self._batch
        return (
            shown is not None
            and replace(batch, read_at_ms=shown.read_at_ms) == shown
            and _is_same_wait(batch.waiting_for, shown.waiting_for)
        )

    def _progressed(self, batch: Batch, now: float) -> Progressed:
        self._batch, self._at = batch, now
        return Progressed(batch=batch, number=self.place)


def _is_same_wait(waiting: WaitingFor | None, told: WaitingFor | None) -> bool:
    if waiting is None or told is None:
        return waiting is told
    if waiting.until_ms is None or told.until_ms is None:
        return waiting == told
    return (
        replace(waiting, until_ms=told.until_ms) == told
        and abs(waiting.until_ms - told.until_ms) < _LATER_MS
    )


async def _look(
    resources: Resources, batch_id: str, *, after: int, with_results: bool
) -> _Look | None:
    """Read the batch and the next results; None while the database is away.

    Raises:
        NotFound: The batch was deleted.
    """

    async def read() -> _Look:
        work = _read_with_results if with_results else _read
        look = await resources.database.read(work, batch_id, after)
        (batch,) = await with_prospects(resources, [look.batch])
        return replace(look, batch=batch)

    try:
        if with_results:
            return await read()
        # Many pages may follow one batch, which then is read once for all of them.
        return await resources.snapshots.begun_after(("events", batch_id), read)
    except Unavailable:
        # If the stream ended, a browser would reconnect, receive 503, and give up for good.
        return None


def _read(tx: Transaction, batch_id: str, after: int) -> _Look:
    del after
    batch = jobs.get(tx, batch_id)
    return _Look(batch=batch, results=(), number=batch.last_event, has_more=False)


def _read_with_results(tx: Transaction, batch_id: str, after: int) -> _Look:
    batch = jobs.get(tx, batch_id)
    found = results.since(tx, batch.key, after, limit=_RESULTS_PER_CHUNK)
    if batch.state in TERMINAL_JOB_STATES:
        # If the batch was deleted between the two statements, the second may lack results.
        jobs.BATCHES.state_of(tx, batch_id)
    return _Look(
        batch=batch,
        results=found,
        number=number_of(found[-1]) if found else after,
        has_more=len(found) == _RESULTS_PER_CHUNK,
    )


def number_of(result: TaskResult) -> int:
    """Number of a result among those of its batch, in the order of their commits."""
    assert result.event is not None  # noqa: S101 - it is what `since` found it by
    return result.event

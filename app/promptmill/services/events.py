"""The events of a batch, until it has ended.

The rule to know: a follower's place is one number, that of the last result it has dealt with.
Numbers become visible in their order (see `store.queue.counters`), so whoever goes on from there
misses nothing and gets nothing twice, however often and wherever the telling was cut.
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
"""A wait that ends this much later than was told is news; less of it is a clock that goes on."""
_RESULTS_PER_CHUNK: Final = 50
"""Results of a chunk; few, because a slow reader keeps a chunk in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """The state of the batch has changed; also the first event of every stream."""

    batch: Batch
    number: int
    """The follower's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsStored:
    """Some results, in the order of their numbers; never none."""

    results: Sequence[TaskResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The batch has ended, and all its results have been told; nothing follows."""

    batch: Batch
    number: int
    """The follower's place, which is the number of the last result of all."""


Event = Progressed | ResultsStored | Ended


class Stop(Protocol):
    """The signal that the process is about to end."""

    async def wait(self) -> object:
        """Return when it is time to stop."""
        ...


def has_nothing_after(batch: Batch, number: int) -> bool:
    """Whether somebody who was told of the end at that place knows all about the batch.

    False when prompts were run again since: then there is more to come, or new results already.
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
    """What becomes of the batch from now on and, if wanted, each result stored after that number.

    It ends with `Ended`; without it when the batch is deleted or `stop` says so. While the database
    is away nothing is told, and it goes on afterwards. Nothing is read ahead of the consumer.
    """
    poll_s = resources.settings.poll_s
    told = _Told(after, apart_s)
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not stopped.done():
            # Listening begins before looking, so that a change between the two is not missed.
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
                # The signal may not come, when another process did it; the database shows it.
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
    """The result of one read."""

    batch: Batch
    results: Sequence[TaskResult]
    number: int
    """The place after these results."""
    has_more: bool
    """Whether more results may be there already."""

    @property
    def is_last(self) -> bool:
        return has_nothing_after(self.batch, self.number)


class _Told:
    """What a follower has been sent, and what is to be sent next."""

    def __init__(self, after: int, apart_s: float) -> None:
        self.place = after
        self.has_ended = False
        self._apart_s = apart_s
        self._batch: Batch | None = None
        self._at = 0.0

    def by(self, look: _Look, now: float) -> Iterator[Event]:
        """The events for what was read; `now` is the monotonic time of the read."""
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
        """Whether the batch was told to stand so; the mere passing of time is no news."""
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
    """The batch and the next results; None while the database is away.

    Raises:
        NotFound: It was deleted.
    """
    read = _read_with_results if with_results else _read
    try:
        look = await resources.database.read(read, batch_id, after)
        (batch,) = await with_prospects(resources, [look.batch])
        return replace(look, batch=batch)
    except Unavailable:
        # Ending the stream would make a browser ask again, be told 503, and give up for good.
        return None


def _read(tx: Transaction, batch_id: str, after: int) -> _Look:
    del after
    batch = jobs.get(tx, batch_id)
    return _Look(batch=batch, results=(), number=batch.last_event, has_more=False)


def _read_with_results(tx: Transaction, batch_id: str, after: int) -> _Look:
    batch = jobs.get(tx, batch_id)
    found = results.since(tx, batch.key, after, limit=_RESULTS_PER_CHUNK)
    if batch.state in TERMINAL_JOB_STATES:
        # Were it deleted between the two statements, results could be missing from the second.
        jobs.BATCHES.state_of(tx, batch_id)
    return _Look(
        batch=batch,
        results=found,
        number=number_of(found[-1]) if found else after,
        has_more=len(found) == _RESULTS_PER_CHUNK,
    )


def number_of(result: TaskResult) -> int:
    """The result's number among those of its batch, in the order of their commits."""
    assert result.event is not None  # noqa: S101 - it is what `since` found it by
    return result.event

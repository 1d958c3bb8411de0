"""Wakeups: signals of new work and of ended jobs, within this process and between processes.

Wakeups only save waiting. Listeners also read the database from time to time, because a wakeup of
another process may be missing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Any


class Wakeup(StrEnum):
    """Wakeups between processes that share a database."""

    WORK = "work"
    """Prompts were stored or became free."""
    ENDING = "ending"
    """A job was cancelled, or its last prompt was given up."""
    ENDED = "ended"
    """A job has reached its end."""
    BENCHMARK = "benchmark"
    """A benchmark was stored, or is to be cancelled."""
    FILES = "files"
    """A batch of the OpenAI dialect was stored or is to be cancelled."""


class Listener:
    """Wait for the next sending of a `Broadcast`."""

    def __init__(self, sent: asyncio.Future[None]) -> None:
        self._sent = sent

    async def wait(self, timeout_s: float, *others: asyncio.Future[Any]) -> bool:
        """Wait for the sending or for one of `others`; False if the time is up before."""
        done, _ = await asyncio.wait(
            [self._sent, *others], timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        return bool(done)


class Broadcast:
    """Event for many listeners; a listener that begins later waits for the next sending."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def listen(self) -> Listener:
        """Begin to listen, before the state is read."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return Listener(self._next)

    def send(self) -> None:
        """Wake all listeners."""
        if self._next is not None:
            self._next.set_result(None)
            self._next = None


class Signals:
    """Wakeups of one process; each event is cleared by the worker's role that waits for it."""

    def __init__(self) -> None:
        self.work_available = asyncio.Event()
        """Prompts were stored or became free: for the dispatcher."""
        self.job_may_end = asyncio.Event()
        """A job was cancelled or its last prompt finished: for the closer."""
        self.purge_requested = asyncio.Event()
        """A batch or a benchmark was deleted: for the purger."""
        self.benchmark_waiting = asyncio.Event()
        """A benchmark was stored, or is to be cancelled: for the benchmarker."""
        self.models_awaited = asyncio.Event()
        """A batch may wait for models, or wait no more: for the puller."""
        self.file_to_read = asyncio.Event()
        """For the intake: a batch of the OpenAI dialect was stored."""
        self.files_to_write = asyncio.Event()
        """For the finalizer: a job has ended."""
        self.job_ended = Broadcast()
        """For requests that wait for the end of a job."""
        self.job_changed = Broadcast()
        """For followers of a job: prompts were claimed or recorded, or a client changed the job."""
        self.tell_others: Callable[[Wakeup], None] = _nobody_else
        """Sends wakeups to the other processes, without waiting."""

    def spread(self, news: Wakeup) -> None:
        """Send a wakeup to this process and the others."""
        self.hear(news)
        self.tell_others(news)

    def hear(self, news: Wakeup) -> None:
        """Send a wakeup to this process."""
        if news is Wakeup.WORK:
            self.work_available.set()
            self.models_awaited.set()
        elif news is Wakeup.ENDING:
            self.job_may_end.set()
            self.models_awaited.set()
        elif news is Wakeup.BENCHMARK:
            self.benchmark_waiting.set()
        elif news is Wakeup.FILES:
            self.file_to_read.set()
        else:
            self.files_to_write.set()
            self.job_ended.send()
        self.job_changed.send()


def _nobody_else(news: Wakeup) -> None:
    """Send no wakeup: no other process uses the database, or the others poll."""
    del news

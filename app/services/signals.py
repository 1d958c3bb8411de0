"""Wake-ups inside one process: work has come, a job is to end, a job has ended.

They only save waiting. Whoever listens also looks at the database from time to time, because
another process may have done what nobody here was told.
"""

from __future__ import annotations

import asyncio


class Listener:
    """One look-out for the next sending of a `Broadcast`."""

    def __init__(self, sent: asyncio.Future[None]) -> None:
        self._sent = sent

    async def wait(self, timeout_s: float) -> bool:
        """Wait until the broadcast is sent; False when it was not in time."""
        done, _ = await asyncio.wait([self._sent], timeout=timeout_s)
        return bool(done)


class Broadcast:
    """Wakes everyone who listens; who begins to listen later waits for the next sending."""

    def __init__(self) -> None:
        self._next: asyncio.Future[None] | None = None

    def listen(self) -> Listener:
        """Begin to listen, for a sending that may come before one waits for it."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        return Listener(self._next)

    def send(self) -> None:
        """Wake all who listen."""
        if self._next is not None:
            self._next.set_result(None)
            self._next = None


class Signals:
    """The wake-ups of one process; each event is cleared by the worker's role that waits for it."""

    def __init__(self) -> None:
        self.work_available = asyncio.Event()
        """Prompts were stored or became free: for the dispatcher."""
        self.job_may_end = asyncio.Event()
        """A job was cancelled or its last prompt finished: for the closer."""
        self.purge_requested = asyncio.Event()
        """A batch was deleted: for the purger."""
        self.job_ended = Broadcast()
        """A job has reached its end: for those who wait for one."""

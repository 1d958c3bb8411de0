"""Timeouts of one call, with one timer however many chunks it has.

`asyncio.timeout` around every chunk, or the transport's own read timeout, would set and cancel a
timer per chunk. Here a chunk only stores the time; the one timer, when it fires, checks whether a
chunk has arrived meanwhile, and sets itself again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from promptmill.ollama.failures.table import Timeout

_TIMER_PRECISION_S = 0.001
"""Seconds by which an event loop may fire a timer early (uvloop counts whole milliseconds)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Timeouts of a call, in seconds; `Call.timeout_s` bounds the whole call."""

    connect_s: float = 5.0
    """Seconds for a connection, including the look-up of the name and TLS."""
    first_byte_s: float = 300.0
    """Seconds from sending to the first byte, including a wait for a slot or a loading model.
    """
    between_chunks_s: float = 120.0
    """Seconds between two pieces of an answer."""
    unload_s: float = 10.0
    """Seconds for a model to be unloaded after the server's confirmation."""
    pull_silence_s: float = 900.0
    """For the next line of a pull while no layer comes, for Ollama says nothing while it hashes
    tens of gigabytes. While one comes it tells many times a second how far: `between_chunks_s`."""


class Deadlines:
    """Cancels the current task when a timeout passes; call `stop` before any other await."""

    __slots__ = (
        "_between_s",
        "_cancelling",
        "_due",
        "_kind",
        "_loop",
        "_passed",
        "_seconds",
        "_task",
        "_timer",
        "_whole_due",
        "_whole_s",
    )

    def __init__(
        self, *, first_byte_s: float, between_chunks_s: float, whole_call_s: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs in a loop is in a task
        self._task = task
        self._cancelling = task.cancelling()
        now = self._loop.time()
        self._kind = Timeout.FIRST_BYTE
        self._seconds = first_byte_s
        self._due = now + first_byte_s
        self._between_s = between_chunks_s
        self._whole_s = whole_call_s
        self._whole_due = now + whole_call_s
        self._passed: tuple[Timeout, float] | None = None
        self._timer = self._loop.call_at(self._next_look(now), self._look)

    def progress(self) -> None:
        """Note a received chunk: from now on the time between chunks counts."""
        self._kind = Timeout.BETWEEN_CHUNKS
        self._seconds = self._between_s
        self._due = self._loop.time() + self._between_s

    def shorten(self, seconds: float) -> None:
        """Bound the remaining time."""
        self._whole_due = min(self._whole_due, self._loop.time() + seconds)
        self._timer.cancel()
        self._timer = self._loop.call_at(self._whole_due, self._look)

    def stop(self) -> None:
        """Stop all timeouts."""
        self._timer.cancel()

    def passed_and_uncancelled(self) -> tuple[Timeout, float] | None:
        """Timeout that cancelled the task, and its seconds; None for another cancellation.

        To be called once, on `CancelledError`. Afterwards the task counts as not cancelled, unless
        it was cancelled from outside as well, for which the result is None.
        """
        if self._passed is not None and self._task.uncancel() > self._cancelling:
            return None
        return self._passed

    def _look(self) -> None:
        now = self._loop.time() + _TIMER_PRECISION_S
        if now >= self._whole_due:
            self._passed = (Timeout.WHOLE_CALL, self._whole_s)
        elif now >= self._due:
            self._passed = (self._kind, self._seconds)
        else:
            self._timer = self._loop.call_at(self._next_look(now), self._look)
            return
        self._task.cancel()

    def _next_look(self, now: float) -> float:
        # The first byte may arrive at any time, after which a shorter timeout applies.
        return min(self._due, self._whole_due, now + self._between_s)

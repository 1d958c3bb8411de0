"""One loaded model: its slots, its work, and its death.

Slots are given out in the order of requests; of several free ones, that whose cache serves the
prompt best. Everything that takes time sleeps through `pause`, so that the runner's death ends it
at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence

from promptmill.simulator.engine.prefix import Slot
from promptmill.simulator.faults.refusals import RunnerDiedError
from promptmill.simulator.protocol.options import RunnerOptions
from promptmill.simulator.settings import ModelSpec

TOLERANCE_S = 0.0003
"""Seconds by which a pause may be too short; timers are no finer than a millisecond."""


class Runner:
    """A model in memory."""

    def __init__(
        self,
        spec: ModelSpec,
        key: str,
        options: RunnerOptions,
        *,
        slots: int,
        keep_alive_s: float,
    ) -> None:
        self.spec = spec
        self.key = key
        self.options = options
        self.slots = slots
        """Number of requests that the model answers at a time."""
        self._free = [Slot() for _ in range(slots)]
        """The free slots, the one that was left longest ago first."""
        self.keep_alive_s = keep_alive_s
        """Seconds that the model stays after its last request; infinite for ever, 0 not at all.

        Also the mark of a runner that must go.
        """
        self.users = 0
        """Requests that have it, in a slot or waiting for one (Ollama's refCount)."""
        self.loading: asyncio.Future[None] | None = None
        """Set while it loads; done when the load has ended, well or badly."""
        self.dead = False
        self.expires_at: float | None = None
        """Moment of unloading without further requests (seconds since 1970)."""
        self.timer: asyncio.TimerHandle | None = None
        self._queue: deque[asyncio.Future[Slot]] = deque()
        self._pauses: set[asyncio.Future[None]] = set()

    @property
    def busy(self) -> int:
        """Slots taken."""
        return self.slots - len(self._free)

    async def take_slot(self, tokens: Sequence[str] = ()) -> Slot:
        """Wait for a slot, without limit and in order of arrival.

        Of several free ones it is the one that holds most of the prompt's first tokens, and among
        equals the one that was left longest ago.
        """
        if self.dead:
            raise RunnerDiedError
        if self._free:
            best = max(self._free, key=lambda slot: slot.shared(tokens))
            self._free.remove(best)
            return best
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave_slot(turn.result())
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def leave_slot(self, slot: Slot) -> None:
        """Give the slot to the next in the queue, or back."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(slot)
                return
        self._free.append(slot)

    async def pause(self, seconds: float | None) -> None:
        """Let time pass (None: for ever); raises RunnerDiedError if the runner dies meanwhile."""
        if self.dead:
            raise RunnerDiedError
        if seconds is None:
            await self._nap(None)
            return
        # The clock of the event loop lags behind while many requests are handled in one turn, and
        # a timer set by it then fires too early; the rest is slept again.
        deadline = time.monotonic() + seconds
        if 0 < seconds <= TOLERANCE_S:
            # Too short for a timer, but the others must have their turn.
            await asyncio.sleep(0)
            if self.dead:
                raise RunnerDiedError
        while (left := deadline - time.monotonic()) > TOLERANCE_S:
            await self._nap(left)

    async def _nap(self, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, _finish, over)
        self._pauses.add(over)
        try:
            await over
        finally:
            self._pauses.discard(over)
            if timer is not None:
                timer.cancel()
        if self.dead:
            raise RunnerDiedError

    def die(self) -> None:
        """End the process: running calls are lost, and so are calls that wait for a slot."""
        self.dead = True
        for future in (*self._pauses, *self._queue):
            if not future.done():
                future.set_exception(RunnerDiedError())
        self._queue.clear()


def _finish(over: asyncio.Future[None]) -> None:
    if not over.done():
        over.set_result(None)

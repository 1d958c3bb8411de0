"""Giving the prompts of dead workers back to the queue, as soon as their leases run out."""

from __future__ import annotations

import random

from app.observability.logs import get_logger
from app.services.signals import News, Signals
from app.store import queue, workers
from app.store.database import Database, Transaction

_MOST_AT_ONCE = 500
_SPREAD = 0.02
"""Share of the lease by which workers that wait for the same lease's end may be apart."""


class Rescuer:
    """Looks for leases that ran out; any worker may, all do.

    It sleeps until the first lease of all that it saw runs out. Those of living workers are
    prolonged before that, and leases that are given meanwhile end later than a third of a lease
    from now, which is the longest that it sleeps: so none runs out unnoticed.
    """

    def __init__(self, *, database: Database, signals: Signals, lease_s: float) -> None:
        self._database = database
        self._signals = signals
        self._lease_s = lease_s

    async def run_once(self) -> float:
        """Rescue once; answers seconds until the next time, jittered so that workers spread."""
        rescued, next_end_ms = await self._database.write(_rescue)
        if rescued:
            self._tell(rescued)
        if rescued == _MOST_AT_ONCE:
            return 0.0
        apart_s = self._lease_s * _SPREAD * random.uniform(0.2, 1)  # noqa: S311 - not a secret
        longest_s = self._lease_s / 3 * random.uniform(0.8, 1)  # noqa: S311
        if next_end_ms is None:
            return longest_s
        return min(max(next_end_ms, 0) / 1000 + apart_s, longest_s)

    async def take_everything_back(self) -> None:
        """At the start of a database's only worker: whatever runs was left by its predecessor."""
        total = 0
        while rescued := await self._database.write(
            queue.rescue, limit=_MOST_AT_ONCE, all_running=True
        ):
            total += rescued
        if total:
            self._tell(total)

    def _tell(self, rescued: int) -> None:
        get_logger().info(
            "Prompts of a worker that is gone went back to the queue.",
            action="prompts_rescued",
            prompts=rescued,
        )
        self._signals.spread(News.WORK)
        self._signals.spread(News.ENDING)


def _rescue(tx: Transaction) -> tuple[int, int | None]:
    """How many prompts went back, and in how many milliseconds the next lease runs out."""
    return queue.rescue(tx, limit=_MOST_AT_ONCE), workers.next_lease_end_ms(tx)

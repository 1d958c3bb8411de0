"""Giving the prompts of dead workers back to the queue."""

from __future__ import annotations

import random

from app.observability.logs import get_logger
from app.services.signals import Signals
from app.store import queue
from app.store.database import Database

_MOST_AT_ONCE = 500


class Rescuer:
    """Looks for leases that ran out; any worker may, all do."""

    def __init__(self, *, database: Database, signals: Signals, every_s: float) -> None:
        self._database = database
        self._signals = signals
        self._every_s = every_s

    async def run_once(self) -> float:
        """Rescue once; answers seconds until the next time, jittered so that workers spread."""
        rescued = await self._database.write(queue.rescue, limit=_MOST_AT_ONCE)
        if rescued:
            self._tell(rescued)
        if rescued == _MOST_AT_ONCE:
            return 0.0
        return self._every_s * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret

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
        self._signals.work_available.set()
        self._signals.job_may_end.set()

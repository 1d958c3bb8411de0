"""Prolonging the leases of this worker's calls; aborting those whose leases were lost."""

from __future__ import annotations

from app.observability.logs import get_logger
from app.store import queue
from app.store.database import Database
from app.worker.executor import Executor


class Heartbeat:
    """One statement each `every_s` for all calls under way."""

    def __init__(
        self, *, database: Database, executor: Executor, owner: str, lease_s: float, every_s: float
    ) -> None:
        self._database = database
        self._executor = executor
        self._owner = owner
        self._lease_ms = round(lease_s * 1000)
        self._every_s = every_s

    async def run_once(self) -> float:
        """Renew once; answers seconds until the next time."""
        before = {(lease.task_id, lease.token) for lease in self._executor.leases()}
        if before:
            held = await self._database.write(
                queue.renew,
                owner=self._owner,
                task_ids=[task_id for task_id, _ in before],
                lease_ms=self._lease_ms,
            )
            lost = before - held
            # What ended meanwhile is not lost, and is not under way any more either.
            self._executor.abort_lost(lost)
            if lost:
                get_logger().warning(
                    "Leases were lost or are just being completed.",
                    action="leases_lost",
                    prompts=len(lost),
                )
        return self._every_s

"""Ending jobs: carrying out cancellations, and closing what has no prompt left."""

from __future__ import annotations

from app.observability.logs import get_logger
from app.services.signals import Signals
from app.store import jobs, queue
from app.store.database import Database
from app.worker.executor import Executor


class Closer:
    """Works in short transactions, so that a batch of a million can be cancelled under load."""

    def __init__(
        self, *, database: Database, signals: Signals, executor: Executor, every_s: float
    ) -> None:
        self._database = database
        self._signals = signals
        self._executor = executor
        self._every_s = every_s

    async def run_once(self) -> float:
        """One round; answers seconds until the next."""
        cancelling = await self._database.read(queue.cancelling_jobs)
        if cancelling:
            self._executor.abort_jobs(set(cancelling))
            for job_key in cancelling:
                while await self._database.write(queue.cancel_pending, job_key):
                    pass
        closed = await self._database.write(jobs.close_ended)
        for batch_id in closed:
            get_logger().info("A batch has ended.", action="batch_ended", batch_id=batch_id)
        if closed:
            self._signals.job_ended.send()
        return self._every_s

"""Prolonging the leases of this worker's prompts, and showing that it lives.

A prompt whose call has ended keeps its lease until its outcome is recorded. A call whose lease was
lost is aborted.
"""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.workers import WorkerIdentity
from app.observability.logs import get_logger
from app.store import queue, workers
from app.store.database import Database, Transaction
from app.worker.dispatcher import Dispatcher
from app.worker.executor import Executor


class Heartbeat:
    """One transaction each `every_s`, whether calls are under way or not."""

    def __init__(
        self,
        *,
        database: Database,
        executor: Executor,
        dispatcher: Dispatcher,
        identity: WorkerIdentity,
        lease_s: float,
        every_s: float,
    ) -> None:
        self._database = database
        self._executor = executor
        self._dispatcher = dispatcher
        self._identity = identity
        self._lease_ms = round(lease_s * 1000)
        self._every_s = every_s

    async def run_once(self) -> float:
        """Beat once; answers seconds until the next time."""
        before = self._executor.leases().keys()
        held = await self._database.write(self._beat, [task_id for task_id, _ in before])
        # What is being recorded at this moment is passed over by the renewal, and is not lost.
        if aborted := self._executor.abort_lost(before - held):
            get_logger().warning(
                "Leases were lost; their calls are given up.",
                action="leases_lost",
                prompts=aborted,
            )
        return self._every_s

    def _beat(self, tx: Transaction, task_ids: Sequence[int]) -> set[tuple[int, int]]:
        # The leases first: on them hangs the work, on the row only what people see.
        held = queue.renew(tx, owner=self._identity.id, task_ids=task_ids, lease_ms=self._lease_ms)
        workers.touch(
            tx,
            self._identity,
            finished=self._dispatcher.finished,
            fenced=self._dispatcher.fenced,
        )
        return held

"""Prolonging the leases of this worker's calls, and showing that it lives.

A call whose lease was lost is aborted. Nothing else looks at the schema after the start, so the
heartbeat does: another process may have migrated the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from app.domain.workers import WorkerIdentity
from app.observability.logs import get_logger
from app.store import queue, schema, workers
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
        stand_down: Callable[[str], None],
    ) -> None:
        """`stand_down` is told when the schema is not this version's any more, in a sentence."""
        self._database = database
        self._executor = executor
        self._dispatcher = dispatcher
        self._identity = identity
        self._lease_ms = round(lease_s * 1000)
        self._every_s = every_s
        self._stand_down = stand_down
        self._revision = schema.head()
        self._exchanged_at_last: float | None = None

    async def run_once(self) -> float:
        """Beat once; answers seconds until the next time."""
        await self._compare_schema()
        before = {(lease.task_id, lease.token) for lease in self._executor.leases()}
        held = await self._database.write(self._beat, [task_id for task_id, _ in before])
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

    async def _compare_schema(self) -> None:
        found = await self._database.read(schema.revision_of)
        if found == self._revision or self._exchanged_at_last is not None:
            return
        # From here on it exchanges nothing that counts: so the other processes see it, too.
        self._exchanged_at_last = self._dispatcher.last_exchange_at
        self._stand_down(
            f"The database has the schema {found}, and worker {self._identity.id} is of a version"
            f" that wants {self._revision}: it begins nothing more. Start it again, all of one"
            " version."
        )

    def _beat(self, tx: Transaction, task_ids: Sequence[int]) -> set[tuple[int, int]]:
        # The leases first: on them hangs the work, on the row only what people see.
        held = queue.renew(tx, owner=self._identity.id, task_ids=task_ids, lease_ms=self._lease_ms)
        exchanged_at = self._exchanged_at_last or self._dispatcher.last_exchange_at
        workers.touch(
            tx,
            self._identity,
            exchanged_ago_ms=round((time.monotonic() - exchanged_at) * 1000),
            finished=self._dispatcher.finished,
            fenced=self._dispatcher.fenced,
        )
        return held

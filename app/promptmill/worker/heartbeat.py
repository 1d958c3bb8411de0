"""The heartbeat: renews the leases of this worker's prompts and its row in the register.

It then adds the counts of the worker's calls to the database. A prompt whose call has ended keeps
its lease until its outcome is recorded; a call whose lease was lost is aborted. The heartbeat also
checks the schema, because another process may have migrated the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from promptmill.domain.workers import WorkerIdentity
from promptmill.observability.logs import get_logger
from promptmill.observability.metrics import LEASES_LOST
from promptmill.store.db import schema
from promptmill.store.db.database import Database, Transaction
from promptmill.store.hosts import workers
from promptmill.store.queue import completions
from promptmill.worker.dispatcher import Dispatcher
from promptmill.worker.executor import Executor
from promptmill.worker.reporting.activity import ActivityCounts


class Heartbeat:
    """The role that renews leases every `every_s`, with calls in flight or without."""

    def __init__(
        self,
        *,
        database: Database,
        executor: Executor,
        dispatcher: Dispatcher,
        activity: ActivityCounts,
        identity: WorkerIdentity,
        lease_s: float,
        every_s: float,
        stand_down: Callable[[str], None],
    ) -> None:
        """Store the arguments; `stand_down` is called with a sentence if the schema has changed."""
        self._database = database
        self._executor = executor
        self._dispatcher = dispatcher
        self._activity = activity
        self._identity = identity
        self._lease_ms = round(lease_s * 1000)
        self._every_s = every_s
        self._stand_down = stand_down
        self._revision = schema.head()
        self._exchanged_at_last: float | None = None

    async def run_once(self) -> float:
        """Renew once; returns seconds until the next call."""
        await self._compare_schema()
        before = self._executor.leases().keys()
        held = await self._database.write(self._beat, [task_id for task_id, _ in before])
        # The renewal skips prompts that are just being recorded, whose leases are not lost.
        if aborted := self._executor.abort_lost(before - held):
            LEASES_LOST.inc(aborted)
            get_logger().warning(
                "Leases were lost; their calls are given up.",
                action="leases_lost",
                prompts=aborted,
            )
        await self._activity.write(self._database)
        return self._every_s

    async def _compare_schema(self) -> None:
        found = await self._database.read(schema.revision_of)
        if found == self._revision or self._exchanged_at_last is not None:
            return
        # The dispatcher stops exchanging, which other processes see as well.
        self._exchanged_at_last = self._dispatcher.last_exchange_at
        self._stand_down(
            f"The database has the schema {found}, and worker {self._identity.id} is of a version"
            f" that wants {self._revision}: it begins nothing more. Start it again, all of one"
            " version."
        )

    def _beat(self, tx: Transaction, task_ids: Sequence[int]) -> set[tuple[int, int]]:
        # Leases are renewed first: work depends on them, and only displays on the row.
        held = completions.renew(
            tx, owner=self._identity.id, task_ids=task_ids, lease_ms=self._lease_ms
        )
        exchanged_at = self._exchanged_at_last or self._dispatcher.last_exchange_at
        workers.touch(
            tx,
            self._identity,
            exchanged_ago_ms=round((time.monotonic() - exchanged_at) * 1000),
            finished=self._dispatcher.finished,
            fenced=self._dispatcher.fenced,
        )
        return held

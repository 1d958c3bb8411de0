"""The intake: reads input files into batches, each under a lease; every worker has one."""

from __future__ import annotations

from promptmill.observability.logs import get_logger
from promptmill.services.openai.reading import Reading
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Wakeup
from promptmill.store.db.database import Database
from promptmill.store.openai import execution
from promptmill.store.openai.execution import LeaseLost


class Intake:
    """The role that reads input files, one batch after the other."""

    def __init__(self, resources: Resources, database: Database, *, owner: str) -> None:
        self._resources = resources
        self._database = database
        self._owner = owner
        self._lease_ms = round(resources.settings.lease_s * 1000)
        self._log = get_logger()
        self.claiming = True
        """Cleared when no more files are to be begun."""

    async def run_once(self) -> float:
        """Read one file; return seconds until the next call, 0 for another file."""
        idle_s = self._resources.settings.poll_s
        if not self.claiming:
            return idle_s
        # The check is a read, so that an idle worker does not occupy SQLite's only writer.
        if not await self._database.read(execution.is_any_to_read):
            return idle_s
        lease = await self._database.write(
            execution.take_reading, owner=self._owner, lease_ms=self._lease_ms
        )
        if lease is None:
            return idle_s
        reading = Reading(self._resources, self._database, lease, lease_ms=self._lease_ms)
        try:
            has_begun = await reading.run()
        except LeaseLost:
            self._log.info("A file is read by another worker.", action="file_left")
            return 0.0
        told = {"batch_id": lease.batch.id}
        if has_begun:
            self._log.info("A batch has begun.", action="openai_batch_begun", **told)
            # If all requests were refused, the batch ends without a call.
            for news in (Wakeup.WORK, Wakeup.ENDING):
                self._resources.signals.spread(news)
        else:
            self._log.info("A batch has no job.", action="openai_batch_refused", **told)
        return 0.0

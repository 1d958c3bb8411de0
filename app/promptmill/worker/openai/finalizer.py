"""The finalizer: writes the files of batches whose jobs have ended, each under a lease."""

from __future__ import annotations

from promptmill.domain.errors import NotFound
from promptmill.observability.logs import get_logger
from promptmill.services.openai.writing import Writing
from promptmill.services.resources import Resources
from promptmill.store.db.database import Database
from promptmill.store.openai import execution
from promptmill.store.openai.execution import LeaseLost


class Finalizer:
    """The role that writes output and error files, one batch after the other."""

    def __init__(self, resources: Resources, database: Database, *, owner: str) -> None:
        self._resources = resources
        self._database = database
        self._owner = owner
        self._lease_ms = round(resources.settings.lease_s * 1000)
        self._log = get_logger()
        self.claiming = True
        """Cleared when no more batches are to be begun."""

    async def run_once(self) -> float:
        """Write the files of one batch; return seconds until the next call, 0 for another batch."""
        idle_s = self._resources.settings.poll_s
        if not self.claiming or not await self._database.read(execution.is_any_to_finish):
            return idle_s
        lease = await self._database.write(
            execution.take_finishing, owner=self._owner, lease_ms=self._lease_ms
        )
        if lease is None:
            return idle_s
        writing = Writing(
            self._database,
            lease,
            lease_ms=self._lease_ms,
            usual_ttl_s=self._resources.settings.file_ttl_s or None,
        )
        told = {"batch_id": lease.batch.id}
        try:
            await writing.run()
        except (LeaseLost, NotFound):
            self._log.info("The files of a batch are left.", action="openai_files_left", **told)
        else:
            self._log.info("The files of a batch are there.", action="openai_files", **told)
        return 0.0

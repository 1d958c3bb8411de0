"""Removing the rows of deleted batches and benchmarks and of abandoned uploads, in pieces."""

from __future__ import annotations

from app.observability.logs import get_logger
from app.store import benchmarks, jobs, uploads
from app.store.database import Database

_EVERY_S = 60.0
_ABANDONED_AFTER_MS = 3_600_000


class Purger:
    """What `DELETE` hid is removed here, so that no request waits for a million rows to go.

    So are uploads whose client or whose process is gone: nothing was added to them for an hour.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run_once(self) -> float:
        """Remove some rows; answers 0 while there are more."""
        abandoned = await self._database.write(
            uploads.discard_abandoned, silent_ms=_ABANDONED_AFTER_MS
        )
        if abandoned:
            get_logger().info(
                "Uploads that never ended are dropped.", action="uploads_dropped", uploads=abandoned
            )
        removed = await self._database.write(jobs.purge_some)
        removed += await self._database.write(benchmarks.purge_some)
        return 0.0 if removed else _EVERY_S

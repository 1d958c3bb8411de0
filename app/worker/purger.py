"""Removing the rows of deleted batches, a few thousand at a time."""

from __future__ import annotations

from app.store import jobs
from app.store.database import Database

_EVERY_S = 60.0


class Purger:
    """What `DELETE` hid is removed here, so that no request waits for a million rows to go."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run_once(self) -> float:
        """Remove some rows; answers 0 while there are more."""
        return 0.0 if await self._database.write(jobs.purge_some) else _EVERY_S

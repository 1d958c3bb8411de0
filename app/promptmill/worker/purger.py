"""The purger: removes deleted batches, benchmarks and files, and abandoned uploads, in pieces.

It also removes old counts of activity.
"""

from __future__ import annotations

import time

from promptmill.observability.logs import get_logger
from promptmill.store.batches import jobs, uploads
from promptmill.store.benchmarks import registry
from promptmill.store.db.database import Database, Transaction
from promptmill.store.hosts import activity
from promptmill.store.openai import batches as openai
from promptmill.store.openai import files

_EVERY_S = 60.0
_FIRST_PIECE, _LARGEST_PIECE = 100, 5_000
_LONGEST_PIECE_S = 0.1
"""Target seconds of a piece: on SQLite every other write waits for it."""
_ABANDONED_AFTER_MS = 3_600_000


class Purger:
    """The role that removes rows that `DELETE` has hidden, so that no request waits for it.

    Uploads to which nothing was added for an hour, because their client or process is gone, are
    removed too.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._piece = _FIRST_PIECE

    async def run_once(self) -> float:
        """Remove some rows; return 0 while there are more."""
        abandoned = await self._database.write(
            uploads.discard_abandoned, silent_ms=_ABANDONED_AFTER_MS
        )
        if abandoned:
            get_logger().info(
                "Uploads that never ended are dropped.", action="uploads_dropped", uploads=abandoned
            )
        began = time.monotonic()
        removed = await self._database.write(jobs.purge_some, limit=self._piece)
        self._adapt(time.monotonic() - began)
        removed += await self._database.write(registry.purge_some)
        removed += await self._database.write(_remove_files)
        if removed:
            return 0.0
        await self._database.write(activity.purge)
        return _EVERY_S

    def _adapt(self, took_s: float) -> None:
        """Adapt the size of the next piece to the time of the last: prompts differ in length."""
        if took_s > _LONGEST_PIECE_S:
            self._piece = max(self._piece // 4, 1)
        elif took_s < _LONGEST_PIECE_S / 2:
            self._piece = min(self._piece * 2, _LARGEST_PIECE)


def _remove_files(tx: Transaction) -> int:
    files.discard_abandoned(tx, silent_ms=_ABANDONED_AFTER_MS)
    return files.expire_some(tx) + files.purge_some(tx) + openai.purge_some(tx)

"""The closer: carries out cancellations and expiry, and ends jobs without a prompt left.

A job usually ends in the commit that records its last prompt (`dispatcher`). The closer ends the
others: cancelled and expired jobs, and jobs whose last prompt the rescuer gave up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from promptmill.observability.logs import get_logger
from promptmill.services.wakeups import Signals, Wakeup
from promptmill.store.batches import transitions
from promptmill.store.db.database import Database, Transaction
from promptmill.store.queue import bulk
from promptmill.worker.executor import Executor


class Closer:
    """The role that ends jobs, in short transactions even for a batch of a million prompts."""

    def __init__(
        self, *, database: Database, signals: Signals, executor: Executor, every_s: float
    ) -> None:
        self._database = database
        self._signals = signals
        self._executor = executor
        self._every_s = every_s

    async def run_once(self) -> float:
        """Make one pass with a piece of each job; return seconds until the next, 0 for more pieces.

        Each pass reads anew which jobs are to end, so that a job cancelled while a large one is
        swept is aborted after one piece and not at its end.
        """
        to_end = await self._database.read(_to_end)
        self._executor.abort_jobs({one.job_key for one in to_end.early if one.abort_running})
        swept = 0
        for early in to_end.early:
            swept += await self._database.write(bulk.cancel_pending, early.job_key)
        for job_key in to_end.late:
            swept += await self._database.write(bulk.expire_pending, job_key)
        if to_end.early or to_end.late or to_end.is_any_through:
            closed = await self._database.write(transitions.close_ended)
            announce_ended(closed, self._signals)
        return 0.0 if swept else self._every_s


class _ToEnd(NamedTuple):
    early: Sequence[transitions.EndingEarly]
    late: Sequence[int]
    is_any_through: bool


def _to_end(tx: Transaction) -> _ToEnd:
    """The jobs to end, in one read, because an idle worker asks every second."""
    return _ToEnd(
        transitions.ending_early(tx), transitions.out_of_time(tx), transitions.is_any_through(tx)
    )


def announce_ended(batch_ids: Sequence[str], signals: Signals) -> None:
    """Log that these batches have ended, and send the wakeup for their end."""
    for batch_id in batch_ids:
        get_logger().info("A batch has ended.", action="batch_ended", batch_id=batch_id)
    if batch_ids:
        signals.spread(Wakeup.ENDED)

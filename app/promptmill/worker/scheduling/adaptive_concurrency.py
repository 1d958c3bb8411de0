"""Adaptive concurrency: sets the limits of batches with `max_concurrent: auto`."""

from __future__ import annotations

from promptmill.observability.logs import get_logger
from promptmill.services.wakeups import Signals, Wakeup
from promptmill.store.batches.scheduling import adaptive_concurrency
from promptmill.store.db.database import Database

_IDLE_S = 2.0
"""Seconds until the next pass when no batch is adapted."""


class ConcurrencyAdapter:
    """The role that adapts limits, each batch in a short transaction of its own."""

    def __init__(self, *, database: Database, signals: Signals) -> None:
        self._database = database
        self._signals = signals

    async def run_once(self) -> float:
        """Adapt the limit of every such batch once; return seconds until the next call."""
        job_keys = await self._database.read(adaptive_concurrency.adapted_jobs)
        for job_key in job_keys:
            changed = await self._database.write(adaptive_concurrency.adapt, job_key)
            if changed is not None:
                self._tell(changed)
        return adaptive_concurrency.LOOK_EVERY_S if job_keys else _IDLE_S

    def _tell(self, changed: adaptive_concurrency.Changed) -> None:
        get_logger().info(
            "The limit of a batch was adapted.",
            action="limit_adapted",
            batch_id=changed.batch_id,
            before=changed.before,
            max_concurrent=changed.now,
        )
        if changed.now > changed.before:
            self._signals.spread(Wakeup.WORK)
        else:
            self._signals.job_changed.send()

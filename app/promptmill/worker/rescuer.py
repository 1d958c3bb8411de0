"""The rescuer: returns prompts of dead workers to the queue when their leases expire."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from promptmill.observability.logs import get_logger
from promptmill.observability.metrics import PROMPTS_RESCUED
from promptmill.services.wakeups import Signals, Wakeup
from promptmill.store.db import clocks
from promptmill.store.db.database import Database, Transaction
from promptmill.store.hosts import workers
from promptmill.store.queue import completions
from promptmill.worker.executor import Executor

_MOST_AT_ONCE = 500
_SPREAD = 0.02
"""Share of the lease by which workers spread their rescue of the same lease."""


class Rescuer:
    """The role that looks for expired leases; every worker has it.

    A worker renews its own leases first: otherwise a worker that slept with its machine, or was cut
    off from the database, would take back its own prompts and run them twice.

    The rescuer sleeps until the first lease that it saw expires. Living workers renew theirs before
    that, and a lease given meanwhile expires later than a third of a lease from now, which is the
    longest sleep: so no lease expires unnoticed.
    """

    def __init__(
        self,
        *,
        database: Database,
        signals: Signals,
        executor: Executor,
        owner: str,
        lease_s: float,
        backoff_s: Callable[[int], float],
        retry_most_s: float,
        retry_after_most_s: float,
    ) -> None:
        self._database = database
        self._signals = signals
        self._executor = executor
        self._owner = owner
        self._lease_s = lease_s
        self._backoff_s = backoff_s
        self._longest_wait_ms = round((retry_most_s + lease_s) * 1000)
        self._longest_limit_ms = round((retry_after_most_s + lease_s) * 1000)

    async def run_once(self) -> float:
        """Rescue once; return seconds until the next call, with jitter."""
        own = [task_id for task_id, _ in self._executor.leases()]
        rescued, next_end_ms = await self._database.write(self._rescue, own)
        if rescued:
            self._tell(rescued)
        if rescued == _MOST_AT_ONCE:
            return 0.0
        apart_s = self._lease_s * _SPREAD * random.uniform(0.2, 1)  # noqa: S311 - not a secret
        longest_s = self._lease_s / 3 * random.uniform(0.8, 1)  # noqa: S311
        if next_end_ms is None:
            return longest_s
        return min(max(next_end_ms, 0) / 1000 + apart_s, longest_s)

    async def take_everything_back(self) -> None:
        """Return all running prompts, at the start of a database's only worker."""
        total = 0
        while rescued := await self._database.write(
            completions.rescue, limit=_MOST_AT_ONCE, backoff_s=self._backoff_s, all_running=True
        ):
            total += rescued
        if total:
            self._tell(total)

    def _tell(self, rescued: int) -> None:
        PROMPTS_RESCUED.inc(rescued)
        get_logger().info(
            "Prompts of a worker that is gone went back to the queue.",
            action="prompts_rescued",
            prompts=rescued,
        )
        self._signals.spread(Wakeup.WORK)
        self._signals.spread(Wakeup.ENDING)

    def _rescue(self, tx: Transaction, own: Sequence[int]) -> tuple[int, int | None]:
        """Return prompts; give their number, and the milliseconds until the next lease expires."""
        lease_ms = round(self._lease_s * 1000)
        clocks.bring_near(
            tx,
            longest_wait_ms=self._longest_wait_ms,
            longest_limit_ms=self._longest_limit_ms,
            lease_ms=lease_ms,
        )
        completions.renew(tx, owner=self._owner, task_ids=own, lease_ms=lease_ms)
        rescued = completions.rescue(tx, limit=_MOST_AT_ONCE, backoff_s=self._backoff_s)
        return rescued, workers.next_lease_end_ms(tx)

"""Recording what has finished and claiming what may start, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from app.ollama.hosts import Host
from app.services.signals import Signals
from app.store import queue
from app.store.database import Database, Transaction
from app.store.queue import Claim, Completion, HostShare, Recorded
from app.worker.executor import Executor
from app.worker.recorder import Recorder

_MOST_PER_FLUSH = 200
_NOTHING_DUE = Claim(leases=(), next_due_in_ms=None)
_NOTHING_RECORDED = Recorded(finished=0, fenced=0, job_may_end=False)


class Dispatcher:
    """Keeps as many calls under way as the limits of jobs, host and this worker allow."""

    def __init__(
        self,
        *,
        database: Database,
        signals: Signals,
        host: Host,
        executor: Executor,
        recorder: Recorder,
        share: HostShare,
        owner: str,
        concurrency: int,
        lease_s: float,
        poll_s: float,
    ) -> None:
        self._database = database
        self._signals = signals
        self._host = host
        self._executor = executor
        self._recorder = recorder
        self._share = share
        self._owner = owner
        self._concurrency = concurrency
        self._lease_ms = round(lease_s * 1000)
        self._poll_s = poll_s
        self.claiming = True
        """Cleared at the start of a graceful stop: nothing new is begun, outcomes are recorded."""
        self.fenced = 0
        """Outcomes dropped since the start, because their leases had been lost."""

    async def run_once(self) -> float:
        """One exchange with the database; answers seconds until another may be worth while.

        Raises:
            Unavailable: The database does not work; the outcomes are kept for the next time.
        """
        finished = self._recorder.take(_MOST_PER_FLUSH)
        wanted = self._wanted(len(finished))
        if not finished and not wanted:
            return self._poll_s
        try:
            recorded, claim = await self._database.write(self._exchange, finished, wanted)
        except BaseException:
            self._recorder.put_back(finished)
            raise
        self._executor.recorded(len(finished))
        self.fenced += recorded.fenced
        if recorded.job_may_end:
            self._signals.job_may_end.set()
        for lease in claim.leases:
            self._executor.start(lease)
        if len(self._recorder):
            return 0.0
        due_s = self._poll_s if claim.next_due_in_ms is None else claim.next_due_in_ms / 1000
        return min(due_s, self._poll_s)

    def _wanted(self, finished: int) -> int:
        if not self.claiming or not self._host.available:
            return 0
        return max(self._concurrency - self._executor.in_flight + finished, 0)

    def _exchange(
        self, tx: Transaction, finished: Sequence[Completion], wanted: int
    ) -> tuple[Recorded, Claim]:
        recorded = queue.complete(tx, finished) if finished else _NOTHING_RECORDED
        if not wanted:
            return recorded, _NOTHING_DUE
        claim = queue.claim(
            tx, wanted=wanted, owner=self._owner, lease_ms=self._lease_ms, share=self._share
        )
        return recorded, claim

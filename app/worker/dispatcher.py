"""Recording what has finished, ending what is through and claiming what may start: one commit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.ollama.hosts import Host
from app.services.signals import Signals
from app.store import jobs, queue
from app.store.database import Database, Transaction
from app.store.queue import Claim, Completion, HostShare, Recorded
from app.worker.closer import announce_ended
from app.worker.executor import Executor
from app.worker.recorder import Recorder

_MOST_PER_FLUSH = 200
_NOTHING_DUE = Claim(leases=(), next_due_in_ms=None)
_NOTHING_RECORDED = Recorded(finished=0, fenced=0, job_may_end=False)


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What one transaction did."""

    recorded: Recorded
    ended: Sequence[str]
    """Ids of the batches whose last prompt it recorded."""
    claim: Claim
    claimed_at: float
    """Monotonic seconds at the moment that `claim.next_due_in_ms` counts from."""


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
            done = await self._database.write(self._exchange, finished, wanted)
        except BaseException:
            self._recorder.put_back(finished)
            raise
        self._executor.recorded(len(finished))
        self.fenced += done.recorded.fenced
        for lease in done.claim.leases:
            self._executor.start(lease, claimed_at=done.claimed_at)
        announce_ended(done.ended, self._signals)
        if len(self._recorder):
            return 0.0
        due_in_ms = done.claim.next_due_in_ms
        if due_in_ms is None:
            return self._poll_s
        # The commit has taken some of that time already; a paced start must not come later by it.
        return min(due_in_ms / 1000 - (time.monotonic() - done.claimed_at), self._poll_s)

    def _wanted(self, finished: int) -> int:
        if not self.claiming or not self._host.available:
            return 0
        return max(self._concurrency - self._executor.in_flight + finished, 0)

    def _exchange(self, tx: Transaction, finished: Sequence[Completion], wanted: int) -> _Exchange:
        recorded = queue.complete(tx, finished) if finished else _NOTHING_RECORDED
        # In the same commit: nobody then sees a batch that runs although nothing of it is left.
        ended = jobs.close_ended(tx) if recorded.job_may_end else ()
        claim = _NOTHING_DUE
        if wanted:
            claim = queue.claim(
                tx, wanted=wanted, owner=self._owner, lease_ms=self._lease_ms, share=self._share
            )
        return _Exchange(recorded, ended, claim, claimed_at=time.monotonic())

"""Counts of a worker's calls, kept until the heartbeat adds them to the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptmill.domain.hosts.activity import MINUTE_S, SUCCEEDED, ActivityKey, CallTotals
from promptmill.domain.outcomes import Failed
from promptmill.observability.metrics import pair_labels
from promptmill.store.db.database import Database
from promptmill.store.hosts import activity
from promptmill.store.queue.leases import Completion


class ActivityCounts:
    """Results stored since the last heartbeat, by minute, host, model and outcome."""

    def __init__(self) -> None:
        self._counted: dict[ActivityKey, CallTotals] = {}

    def add(self, results: Sequence[Completion]) -> None:
        """Count results that a commit has stored."""
        for each in results:
            # The pairs are bounded as in the metrics, whatever models prompts name.
            host, model = pair_labels(each.host_url, each.lease.call.model)
            outcome = each.outcome
            ended = outcome.code.value if isinstance(outcome, Failed) else SUCCEEDED
            second = each.finished_at_ms // 1000
            key = second - second % MINUTE_S, host, model, ended
            totals = self._counted.get(key)
            if totals is None:
                totals = self._counted[key] = CallTotals()
            metrics = outcome.metrics
            totals.prompts += 1
            totals.prompt_tokens += metrics.prompt_eval_count or 0
            totals.completion_tokens += metrics.eval_count or 0
            totals.latency_s += metrics.latency_s or 0.0

    async def write(self, database: Database) -> None:
        """Add the counts to the database; the rest is kept for the next time."""
        taken, self._counted = self._counted, {}
        if not taken:
            return
        try:
            await database.write(activity.add, taken)
        except BaseException:
            self._put_back(taken)
            raise

    def _put_back(self, taken: Mapping[ActivityKey, CallTotals]) -> None:
        for key, totals in taken.items():
            self._counted.setdefault(key, CallTotals()).add(totals)

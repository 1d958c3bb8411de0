"""The queue as one or more workers use it, in calls that read like sentences."""

from __future__ import annotations

from typing import Any

from promptmill.domain.batches import Batch, BatchDraft, PromptDraft, TaskResult
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.limits import START_TOLERANCE_S, Limits
from promptmill.domain.outcomes import Blame, CallMetrics, ErrorCode, Failed, Outcome, Succeeded
from promptmill.domain.retry import Decision, Finish
from promptmill.store.batches import jobs, results, transitions
from promptmill.store.db.database import Database
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import bulk, candidates, claims, completions
from promptmill.store.queue.leases import Completion, HostShare, Lease, Recorded

LEASE_MS = 30_000
UNPACED = Limits(max_concurrent=5, rate_limit_delay_s=0)


class Farm:
    """The queue as one or more workers use it, in calls that read like sentences."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.host_key = database.write_now(register_host, "http://ollama:11434")
        self._batches = 0

    def submit(self, prompts: int | list[PromptDraft] = 3, **fields: Any) -> str:
        self._batches += 1
        batch_id = f"batch_{self._batches:026d}"
        if isinstance(prompts, int):
            drafts = [PromptDraft(f"Question {index}") for index in range(prompts)]
        else:
            drafts = prompts
        draft = BatchDraft(**{"prompts": drafts, "model": "qwen3:8b", "limits": UNPACED, **fields})
        self.database.write_now(jobs.insert, draft, batch_id=batch_id)
        return batch_id

    def leases(
        self,
        wanted: int = 100,
        *,
        owner: str = "w1",
        slots: int | None = None,
        aging_ms: int = candidates.NEVER_MS,
        start_window_s: float = START_TOLERANCE_S,
    ) -> list[Lease]:
        share = HostShare(key=self.host_key, url="http://ollama:11434", slots=slots)
        claimed = self.database.write_now(
            claims.claim,
            wanted=wanted,
            owner=owner,
            lease_ms=LEASE_MS,
            share=share,
            aging_ms=aging_ms,
            start_window_s=start_window_s,
        )
        return list(claimed)

    def next_due_in_ms(self) -> int | None:
        return self.database.read_now(candidates.next_due_in_ms)

    def sweep_cancelled(self) -> int:
        early = self.database.read_now(transitions.ending_early)
        return sum(self.database.write_now(bulk.cancel_pending, one.job_key) for one in early)

    def complete(
        self, *leases: Lease, outcome: Outcome | None = None, decision: Decision | None = None
    ) -> Recorded:
        return self.database.write_now(
            completions.complete,
            [
                Completion(
                    lease=lease,
                    outcome=outcome or answer(lease),
                    decision=decision or Finish(),
                    host_url="http://ollama:11434",
                    started_at_ms=lease.claimed_at_ms,
                    finished_at_ms=lease.claimed_at_ms + 5,
                )
                for lease in leases
            ],
        )

    def sweep_expired(self) -> int:
        late = self.database.read_now(transitions.out_of_time)
        return sum(self.database.write_now(bulk.expire_pending, job_key) for job_key in late)

    def close(self) -> list[str]:
        return list(self.database.write_now(transitions.close_ended))

    def batch(self, batch_id: str) -> Batch:
        return self.database.read_now(jobs.get, batch_id)

    def results(self, batch_id: str, **options: Any) -> list[TaskResult]:
        return self.database.read_now(
            lambda tx: list(
                results.page(tx, results.job_key(tx, batch_id), **{"limit": 1000, **options})
            )
        )

    def states(self, batch_id: str) -> dict[str, int]:
        counts = self.batch(batch_id).counts
        assert counts.pending + counts.running + counts.finished == counts.total
        return {state.value: number for state in TaskState if (number := getattr(counts, state))}


def answer(lease: Lease) -> Succeeded:
    return Succeeded(
        response=f"answer to {lease.call.prompt}",
        done_reason="stop",
        metrics=CallMetrics(prompt_eval_count=10, eval_count=20, eval_duration=5, latency_s=0.5),
    )


def failure(code: ErrorCode = ErrorCode.SERVER_ERROR) -> Failed:
    return Failed(code=code, message="it broke", blame=Blame.ATTEMPT)

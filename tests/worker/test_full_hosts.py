"""A worker whose hosts are full fills the slots that it frees, and does nothing else for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Succeeded
from promptmill.domain.retry import Finish
from promptmill.services.wakeups import Signals
from promptmill.store.batches import jobs
from promptmill.store.db.database import Database
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue.leases import Completion, HostShare, Lease
from promptmill.worker.dispatcher import Dispatcher
from promptmill.worker.recorder import Recorder
from promptmill.worker.reporting.activity import ActivityCounts
from promptmill.worker.reporting.call_log import CallLog
from promptmill.worker.scheduling.allocation import WorkerHost

SLOTS = 8
POLL_S = 100.0


class Calls:
    """In an executor's place: calls that end when the test says so."""

    start_window_s = 0.0

    def __init__(self) -> None:
        self.leases: dict[int, Lease] = {}

    @property
    def in_flight(self) -> int:
        return len(self.leases)

    def in_flight_by_host(self) -> Counter[int]:
        return Counter(lease.host_key for lease in self.leases.values())

    def start(self, lease: Lease) -> None:
        self.leases[lease.task_id] = lease

    def recorded(self, completions: Sequence[Completion]) -> None:
        for each in completions:
            del self.leases[each.lease.task_id]


class Worker:
    """A dispatcher with two hosts; unless told otherwise it wants more than they have slots for."""

    def __init__(self, database: Database, *, concurrency: int = 10 * SLOTS) -> None:
        self.calls = Calls()
        self.recorder = Recorder(asyncio.Event())
        keys = [database.write_now(register_host, f"http://{name}") for name in ("one", "two")]
        host: Any = SimpleNamespace(available=True, health=SimpleNamespace(on_trial=False))
        shares = [HostShare(key=key, url=f"http://{key}", slots=SLOTS) for key in keys]
        calls: Any = self.calls
        grouping: Any = SimpleNamespace(consider=_never)
        self.dispatcher = Dispatcher(
            database=database,
            signals=Signals(),
            places=[WorkerHost(host=host, share=share) for share in shares],
            grouping=grouping,
            executor=calls,
            recorder=self.recorder,
            owner="w",
            concurrency=concurrency,
            lease_s=30,
            poll_s=POLL_S,
            aging_s=0,
            activity=ActivityCounts(),
            call_log=CallLog(),
        )

    async def run_until_idle(self) -> None:
        while await self.dispatcher.run_once() < POLL_S / 2:
            pass

    def end_calls(self, number: int) -> None:
        """Let so many calls end, at both hosts in turn."""
        by_host: dict[int, list[Lease]] = {}
        for lease in self.calls.leases.values():
            by_host.setdefault(lease.host_key, []).append(lease)
        for index in range(number):
            lease = list(by_host.values())[index % len(by_host)].pop()
            self.recorder.add(
                Completion(
                    lease=lease,
                    outcome=Succeeded(response="ok"),
                    decision=Finish(),
                    host_url="http://one",
                    started_at_ms=1,
                    finished_at_ms=2,
                )
            )


async def _never(place: WorkerHost) -> bool:
    del place
    return False


def submit(database: Database, prompts: int, *, batches: int = 3) -> None:
    for number in range(batches):
        draft = BatchDraft(
            prompts=[PromptDraft("x")] * prompts,
            model="m",
            limits=Limits(max_concurrent=100, rate_limit_delay_s=0),
        )
        database.write_now(jobs.insert, draft, batch_id=f"batch_{number}")


@contextmanager
def watched() -> Iterator[Counter[str]]:
    """Counts transactions, and the statements of claims that take prompts."""
    seen: Counter[str] = Counter()

    def begun(_connection: Any) -> None:
        seen["transactions"] += 1

    def sent(_c: Any, _cursor: Any, text: str, _values: Any, _context: Any, _many: Any) -> None:
        seen["claims"] += text.startswith("WITH due") or "FROM due" in text

    sa.event.listen(sa.Engine, "begin", begun)
    sa.event.listen(sa.Engine, "before_cursor_execute", sent)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "begin", begun)
        sa.event.remove(sa.Engine, "before_cursor_execute", sent)


async def test_what_it_frees_is_filled_in_the_same_transaction_by_one_claim_at_each_host(
    database: Database,
) -> None:
    submit(database, 30)
    await Worker(database, concurrency=SLOTS).run_until_idle()
    worker = Worker(database)
    await worker.run_until_idle()
    half = [SLOTS // 2, SLOTS // 2]
    assert sorted(worker.calls.in_flight_by_host().values()) == half, "another has the others"

    worker.end_calls(6)
    with watched() as seen:
        wait_s = await worker.dispatcher.run_once()

    assert sorted(worker.calls.in_flight_by_host().values()) == half
    assert seen == {"transactions": 1, "claims": 2}
    assert wait_s > POLL_S / 2


async def test_a_look_at_full_hosts_is_one_transaction_that_looks_for_no_job(
    database: Database,
) -> None:
    submit(database, 30)
    await Worker(database).run_until_idle()
    other = Worker(database)

    with watched() as seen:
        wait_s = await other.dispatcher.run_once()

    assert seen == {"transactions": 1, "claims": 0}
    assert wait_s > POLL_S / 2

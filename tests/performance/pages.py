"""How long the pages take: 10,000 batches, and one of a million results.

    python -m tests.performance.pages [--results 1000000] [--database-url postgresql://…]

The database is filled by SQL, not by work; the worker is idle. Times are those of the service alone,
each page asked for in turn by one client in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.main import create_app
from promptmill.observability.logs import configure_logging
from promptmill.settings import Settings
from promptmill.store.batches import jobs
from promptmill.store.db import schema
from promptmill.store.db.database import Database

BATCHES = 10_000
ROUNDS = 40
LARGE = f"batch_{BATCHES - 1:026d}"
HTML = {"Accept": "text/html"}
PAGES = {
    "overview": "/",
    "batches": "/ui/batches",
    "batches, one state": "/ui/batches?status=completed",
    "batches, a text that none has": "/ui/batches?q=nowhere",
    "batch": f"/ui/batches/{LARGE}",
    "results": f"/ui/batches/{LARGE}?tab=results",
    "results, failed": f"/ui/batches/{LARGE}?tab=results&status=failed",
    "results, deep": f"/ui/batches/{LARGE}?tab=results&after=900000",
    "failures": f"/ui/batches/{LARGE}?tab=failures",
    "latency": f"/ui/batches/{LARGE}?tab=latency",
    "one result": f"/ui/batches/{LARGE}/prompts/1234",
    "search that finds nothing": f"/ui/batches/{LARGE}?tab=results&q=nowhere",
}


def fill(database: Database, results: int) -> None:
    """10,000 batches that have ended, the last of them large."""
    draft = BatchDraft(prompts=[PromptDraft("Why is the sky blue?")], model="tiny")

    def some(tx: Any, first: int) -> None:
        for number in range(first, first + 1000):
            jobs.insert(tx, draft, batch_id=f"batch_{number:026d}")

    for first in range(0, BATCHES, 1000):
        database.write_now(some, first)
    series = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most)"
        if database.is_sqlite
        else "WITH n AS (SELECT generate_series(1, :most) AS i)"
    )
    base = f"({BATCHES}::bigint << 32)" if not database.is_sqlite else f"({BATCHES} << 32)"
    for statement in (
        f"INSERT INTO prompt (id, text) {series} SELECT {base} + i, 'Question number ' || i FROM n",
        f"""INSERT INTO result (id, status, model, response, error_code, error, attempts, host,
        eval_count, latency_s, ttft_s, started_at_ms, finished_at_ms, event_id) {series}
        SELECT {base} + i, CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'succeeded' END, 'tiny',
        'An answer of some length to question number ' || i,
        CASE WHEN i % 50 = 0 THEN 'timeout' END, CASE WHEN i % 50 = 0 THEN 'No answer within 300 s.' END,
        1, 'http://host-' || (i % 3), i % 200, (i % 97) / 10.0, (i % 13) / 10.0,
        1800000000000 + i * 10, 1800000000000 + i * 10 + 500, {base} + i FROM n""",
        f"""UPDATE job_stats SET total = :most + 1, succeeded = :most - :most / 50,
        failed = :most / 50 + 1, last_event = :most WHERE job_key = {BATCHES}""",
        f"UPDATE job_stats SET succeeded = 1 WHERE job_key < {BATCHES}",
        "UPDATE job SET state = 'completed', started_at_ms = created_at_ms, finished_at_ms = created_at_ms",
        "DELETE FROM task",
        f"""INSERT INTO task (id, job_key, state, attempt, losses, available_at_ms, group_key)
        VALUES ({base} + 1234, {BATCHES}, 'succeeded', 1, 0, 0, 0)""",
        "ANALYZE",
    ):
        database.write_now(_run, statement.replace(":most", str(results)))


def _run(tx: Any, statement: str) -> None:
    text = statement.replace("%", "%%") if not tx.is_sqlite else statement
    tx.connection.exec_driver_sql(text)


async def measure(settings: Settings) -> None:
    """The 50th and 95th percentile of each page, the processor's time, and the size."""
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=60
        ) as client:
            print(f"{'page':32} {'p50':>9} {'p95':>9} {'cpu':>9} {'kB':>6}")
            for name, path in PAGES.items():
                times: list[float] = []
                size, worked = 0, time.process_time()
                for _ in range(ROUNDS if "nothing" not in name else 4):
                    began = time.perf_counter()
                    answer = await client.get(path, headers=HTML)
                    times.append(time.perf_counter() - began)
                    assert answer.status_code == 200, (name, answer.status_code)
                    size = len(answer.content)
                worked = (time.process_time() - worked) / len(times)
                cuts = quantiles(times[1:], n=20, method="inclusive")
                figures = " ".join(
                    f"{value * 1000:6.1f} ms" for value in (cuts[9], cuts[18], worked)
                )
                print(f"{name:32} {figures} {size / 1000:6.1f}", flush=True)


def main() -> None:
    """Fill a database, and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--database-url")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = given.database_url or f"sqlite:///{Path(folder) / 'pages.db'}"
        schema.upgrade(url)
        database = Database(url)
        began = time.perf_counter()
        fill(database, given.results)
        database.close_now()
        print(
            f"{BATCHES} batches and {given.results} results in {time.perf_counter() - began:.0f} s"
        )
        configure_logging(level="error", as_json=False)
        settings = Settings(database_url=url, embedded_worker=False)
        asyncio.run(measure(settings))


if __name__ == "__main__":
    main()

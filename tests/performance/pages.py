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
from statistics import median, quantiles
from typing import Any

import httpx

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.main import create_app
from promptmill.observability.logs import configure_logging
from promptmill.settings import Settings
from promptmill.store.batches import jobs
from promptmill.store.db import schema
from promptmill.store.db.database import Database
from promptmill.store.db.tables.batches import job

BATCHES = 10_000
ROUNDS = 40
HTML = {"Accept": "text/html"}
PAGES = {
    "overview": "/",
    "batches": "/ui/batches",
    "batches, one state": "/ui/batches?status=completed",
    "batches, a text that none has": "/ui/batches?q=nowhere",
    "batch": "/ui/batches/{large}",
    "results": "/ui/batches/{large}?tab=results",
    "results, failed": "/ui/batches/{large}?tab=results&status=failed",
    "results, deep": "/ui/batches/{large}?tab=results&after=900000",
    "failures": "/ui/batches/{large}?tab=failures",
    "latency": "/ui/batches/{large}?tab=latency",
    "running": "/ui/batches/{large}?tab=running",
    "request": "/ui/batches/{large}?tab=request",
    "one result": "/ui/batches/{large}/prompts/1234",
    "hosts": "/ui/hosts",
    "benchmarks": "/ui/benchmarks",
    "search that finds nothing": "/ui/batches/{large}?tab=results&q=nowhere",
}
HEALTH = "/health"


def fill(database: Database, results: int, batches: int = BATCHES) -> str:
    """Batches that have ended, the last of them large; returns the id of that one."""
    draft = BatchDraft(prompts=[PromptDraft("Why is the sky blue?")], model="tiny")

    database.write_now(jobs.insert, draft, batch_id=f"batch_{0:026d}")
    series = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most)"
        if database.is_sqlite
        else "WITH n AS (SELECT generate_series(1, :most) AS i)"
    )
    base = f"({batches}::bigint << 32)" if not database.is_sqlite else f"({batches} << 32)"
    name = "printf('%026d', i)" if database.is_sqlite else "lpad(i::text, 26, '0')"
    columns = ", ".join(each.name for each in job.columns if each.name not in {"key", "id"})
    copied = ", ".join(f"job.{each}" for each in columns.split(", "))
    for statement in (
        f"""INSERT INTO job (id, {columns}) {series} SELECT 'batch_' || {name}, {copied}
        FROM n, job WHERE job.key = 1""".replace(":most", str(batches - 1)),
        """INSERT INTO job_stats (job_key, total, succeeded, failed, cancelled, expired,
        prompt_tokens, completion_tokens, last_event, setbacks)
        SELECT key, 1, 0, 0, 0, 0, 0, 0, 0, 0 FROM job WHERE key > 1""",
        f"INSERT INTO prompt (id, text) {series} SELECT {base} + i, 'Question number ' || i FROM n",
        f"""INSERT INTO result (id, status, model, response, error_code, error, attempts, host,
        eval_count, latency_s, ttft_s, started_at_ms, finished_at_ms, event_id) {series}
        SELECT {base} + i, CASE WHEN i % 50 = 0 THEN 'failed' ELSE 'succeeded' END, 'tiny',
        'An answer of some length to question number ' || i,
        CASE WHEN i % 50 = 0 THEN 'timeout' END, CASE WHEN i % 50 = 0 THEN 'No answer within 300 s.' END,
        1, 'http://host-' || (i % 3), i % 200, (i % 97) / 10.0, (i % 13) / 10.0,
        1800000000000 + i * 10, 1800000000000 + i * 10 + 500, {base} + i FROM n""",
        f"""UPDATE job_stats SET total = :most + 1, succeeded = :most - :most / 50,
        failed = :most / 50 + 1, last_event = :most WHERE job_key = {batches}""",
        f"UPDATE job_stats SET succeeded = 1 WHERE job_key < {batches}",
        "UPDATE job SET state = 'completed', started_at_ms = created_at_ms, finished_at_ms = created_at_ms",
        "DELETE FROM task",
        f"""INSERT INTO task (id, job_key, state, attempt, losses, available_at_ms, group_key)
        VALUES ({base} + 1234, {batches}, 'succeeded', 1, 0, 0, 0)""",
        "ANALYZE",
    ):
        database.write_now(_run, statement.replace(":most", str(results)))
    return f"batch_{batches - 1:026d}"


def _run(tx: Any, statement: str) -> None:
    text = statement.replace("%", "%%") if not tx.is_sqlite else statement
    tx.connection.exec_driver_sql(text)


async def measure(settings: Settings, large: str) -> None:
    """The 50th and 95th percentile of each page, the processor's time, and the size.

    The last column is the median beside that of `GET /health`, asked for in turn: of two runs on a
    machine with other work, these can be compared.
    """
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=60
        ) as client:
            print(f"{'page':32} {'p50':>9} {'p95':>9} {'cpu':>9} {'kB':>6} {'of health':>9}")
            for name, path in PAGES.items():
                times: list[float] = []
                beside: list[float] = []
                size, worked = 0, time.process_time()
                for _ in range(ROUNDS if "nothing" not in name else 4):
                    began = time.perf_counter()
                    answer = await client.get(path.format(large=large), headers=HTML)
                    times.append(time.perf_counter() - began)
                    began = time.perf_counter()
                    await client.get(HEALTH)
                    beside.append(time.perf_counter() - began)
                    assert answer.status_code == 200, (name, answer.status_code)
                    size = len(answer.content)
                worked = (time.process_time() - worked) / len(times)
                cuts = quantiles(times[1:], n=20, method="inclusive")
                figures = " ".join(
                    f"{value * 1000:6.1f} ms" for value in (cuts[9], cuts[18], worked)
                )
                ratio = median(times) / median(beside)
                print(f"{name:32} {figures} {size / 1000:6.1f} {ratio:8.0f}", flush=True)


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
        large = fill(database, given.results)
        database.close_now()
        print(
            f"{BATCHES} batches and {given.results} results in {time.perf_counter() - began:.0f} s"
        )
        configure_logging(level="error", as_json=False)
        settings = Settings(database_url=url, embedded_worker=False)
        asyncio.run(measure(settings, large))


if __name__ == "__main__":
    main()

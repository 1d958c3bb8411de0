"""What a page costs: few statements, none of which reads a whole table that grows with the work."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from promptmill.api import build_api
from promptmill.dashboard import install_dashboard
from promptmill.domain.hosts.activity import DAY_S, MINUTE_S, CallTotals
from promptmill.runtime import open_resources
from promptmill.settings import Settings
from promptmill.store.db.database import Database
from promptmill.store.db.tables.activity import attempt
from promptmill.store.db.tables.batches import prompt, prompt_id, task
from promptmill.store.hosts import activity
from tests.api.conftest import answer_as_ollama
from tests.dashboard.conftest import HTML
from tests.performance.pages import PAGES, fill

GROWING = ("job", "job_stats", "prompt", "task", "result", "activity", "attempt")
WHOLE = re.compile(
    # SQLite's and PostgreSQL's words; a scan along an index, which a LIMIT ends, is none.
    rf"SCAN ({'|'.join(GROWING)})(?! USING)|Seq Scan on ({'|'.join(GROWING)})\b"
)
MOST_STATEMENTS, LARGEST_PAGE = 25, 60_000
MORE = (
    "/?window=72h&by=host",
    "/ui/batches?status=running",
    "/ui/batches?from=2026-01-01",
    "/ui/batches/{large}?tab=events",
    "/ui/settings",
)


def _work_of_days(tx: Any) -> None:
    """Rows of activity and attempts, as they are after some days."""
    minutes = range(0, 3 * DAY_S, 5 * MINUTE_S)
    now_s = tx.now_ms() // 1_000
    now_s -= now_s % MINUTE_S
    for host in range(4):
        key = f"http://host-{host}", "tiny", "succeeded"
        activity.add(tx, {(now_s - ago, *key): CallTotals(1, 1, 1, 1.0) for ago in minutes})
    row = {"token": 1, "number": 1, "charged": True, "ended_at_ms": 1, "error_code": "timeout"}
    attempts = [{**row, "id": prompt_id(5_000, index), "error": "late"} for index in range(20_000)]
    tx.execute(sa.insert(attempt), attempts)
    ended = sa.select(prompt.c.id, *map(sa.literal, (5_000, "succeeded", 1, 0, 0, 0))).where(
        prompt.c.id.not_in(sa.select(task.c.id))
    )
    columns = ["id", "job_key", "state", "attempt", "losses", "available_at_ms", "group_key"]
    tx.execute(sa.insert(task).from_select(columns, ended, include_defaults=False))
    tx.connection.exec_driver_sql("ANALYZE")


@pytest.fixture
async def filled(database_url: str) -> AsyncIterator[tuple[httpx.AsyncClient, Database, str]]:
    settings = Settings(database_url=database_url, embedded_worker=False)
    transport = httpx.MockTransport(answer_as_ollama)
    async with open_resources(settings, transport=transport) as resources:
        large = fill(resources.database, 20_000, batches=5_000)
        resources.database.write_now(_work_of_days)
        app = build_api()
        app.state.resources = resources
        install_dashboard(app)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://service.localhost"
        ) as client:
            yield client, resources.database, large


async def test_a_page_is_small_takes_few_statements_and_none_reads_a_whole_table(filled) -> None:
    client, database, large = filled
    sent: dict[str, Any] = {}
    number = 0

    def remember(_connection, _cursor, text, values, _context, _many) -> None:
        nonlocal number
        number += 1
        if text.lstrip().startswith(("SELECT", "WITH")):
            sent.setdefault(text, values)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", remember)
    try:
        for path in (*PAGES.values(), *MORE):
            number = 0
            answer = await client.get(path.format(large=large), headers=HTML)
            assert answer.status_code == 200, path
            # A search goes on in pieces, each a read of its own, until it has looked at enough.
            assert "nowhere" in path or number <= MOST_STATEMENTS, (path, number)
            assert len(answer.content) <= LARGEST_PAGE, path
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", remember)
    assert len(sent) > 20
    prefix = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "

    def plan(tx: Any, text: str, values: Any) -> str:
        rows = tx.connection.exec_driver_sql(prefix + text, values).all()
        return "\n".join(str(row[-1]) for row in rows)

    whole = {
        text: found
        for text, values in sent.items()
        if WHOLE.search(found := database.read_now(plan, text, values))
    }
    assert whole == {}

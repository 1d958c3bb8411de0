"""The hot statements use their indexes, so that a claim costs the same in a table of any size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.store.batches import jobs, results, throughput
from promptmill.store.db.compiled import Pairs, Prepared
from promptmill.store.db.database import Database, Transaction
from promptmill.store.hosts import exclusivity, model_switching
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import bulk, candidates, claims, completions
from promptmill.store.queue.leases import HostShare
from tests.store.farm import UNPACED

FEW = {"now": 2**50, "aging": 10_000, "job_key": 1, "host_key": 1, "at_host": 1, "most": 1}
TAKE = {
    "claimed_job": 1,
    "claimed_group": 1,
    "claimed_load": 1,
    "now": 2**50,
    "most": 5,
    "token": 1,
    "owner": "w",
    "until": 1,
    "at_host": 1,
}
LOOK = {
    **FEW,
    "seen": Pairs([(1, 1)]),
    "seen_1": [1],
    "seen_2": [1],
    "among": [1, 2],
    "turn_of": 1,
    "leave": 0,
}
LOOKS = candidates._LOOKS
STATEMENTS: dict[str, tuple[sa.Executable, dict[str, Any], str]] = {
    "candidate": (LOOKS[False, False].locked, LOOK, "ix_task_pending"),
    "candidate of a group": (LOOKS[True, False].locked, LOOK, "ix_task_pending"),
    "candidate by affinity": (LOOKS[True, True].locked, LOOK, "ix_task_pending"),
    "candidate among the first": (LOOKS[True, False].locked_among, LOOK, "ix_task_pending"),
    "waiting groups": (model_switching._WAITING, FEW, "ix_task_pending"),
    "count running": (claims._COUNT_RUNNING, FEW, "ix_task_running"),
    "count at host": (exclusivity._RUNNING_AT, FEW, "ix_task_host"),
    "take": (claims._TAKE[False], TAKE, "ix_task_pending"),
    "take of a group": (claims._TAKE[True], TAKE, "ix_task_pending"),
    "lost leases": (completions._LOST, {"before": 9, "most": 5}, "ix_task_lease"),
    "next due": (candidates._NEXT_DUE, FEW, "ix_task_pending"),
    "cancel": (bulk._CANCEL, {"swept_job": 1, "most": 5}, "ix_task_pending"),
    "rate": (throughput._FINISHED_AT, {"events": [2**32 + 5, 2**33 + 5]}, "ix_result_event"),
    "failures": (
        results._PAGE_OF_NOT_SUCCEEDED,
        {"low": 2**32, "high": 2**33, "most": 5, "wanted_status": "failed"},
        "ix_result_not_succeeded",
    ),
}


def _run(tx: Any, statement: str) -> None:
    tx.connection.exec_driver_sql(
        statement.replace("%", "%%")
        if "psycopg" in str(tx.connection.dialect.driver)
        else statement
    )


@pytest.fixture
def large(database: Database) -> Database:
    for number in range(2):
        draft = BatchDraft(
            prompts=[PromptDraft("x")] * 20_000, model="m", limits=Limits(rate_limit_delay_s=0)
        )
        database.write_now(jobs.insert, draft, batch_id=f"batch_{number}")
    for statement in (
        """UPDATE task SET state = 'running', lease_until_ms = id % 1000, host_key = id % 7,
        lease_token = id % 9 WHERE id % 100 = 0""",
        """INSERT INTO result (id, status, model, attempts, finished_at_ms, event_id)
        SELECT id, CASE WHEN id % 100 = 1 THEN 'failed' ELSE 'succeeded' END, 'm', 1, 1, id
        FROM task""",
        "ANALYZE",
    ):
        database.write_now(_run, statement)
    return database


def test_a_hot_statement_uses_its_index(large: Database, subtests: pytest.Subtests) -> None:
    for name, (statement, parameters, index) in STATEMENTS.items():
        with subtests.test(name):
            found = plan(large, statement, parameters)
            assert index in found, found


def test_completing_finds_its_rows_by_their_key(large: Database) -> None:
    from promptmill.domain.lifecycle import TaskEvent

    held = [(2**32 + number, number) for number in range(50)]
    ids = [task_id for task_id, _ in held]
    text = plan(
        large,
        completions._FINISH[TaskEvent.SUCCEED],
        {"ids": ids, "held": Pairs(held), "held_1": ids, "held_2": [token for _, token in held]},
    )
    if large.is_sqlite:
        assert "SEARCH task USING INTEGER PRIMARY KEY" in text
    else:
        assert "pk_task" in text
        # Until they are vacuumed, the indexes of what runs hold whatever ran.
        assert "ix_task_running" not in text
        assert "ix_task_lease" not in text


def plan(database: Database, statement: sa.Executable, parameters: dict[str, Any]) -> str:
    """The plan of the SQL that is really sent, with its parameters."""
    sent: list[tuple[str, Any]] = []

    def explain(tx: Any) -> str:
        def remember(_connection, _cursor, text, values, _context, _many) -> None:
            sent.append((text, values))

        sa.event.listen(tx.connection, "before_cursor_execute", remember)
        if isinstance(statement, Prepared):
            statement.run(tx, parameters)
        else:
            tx.execute(statement, parameters)
        sa.event.remove(tx.connection, "before_cursor_execute", remember)
        text, values = sent[0]
        prefix = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        rows = tx.connection.exec_driver_sql(prefix + text, values).all()
        return "\n".join(str(row[-1]) for row in rows)

    return re.sub(r"\s+", " ", database.write_now(explain))


def steps(database: Database, work: Any, *arguments: Any, **options: Any) -> int:
    """How many hundreds of instructions SQLite takes for the work."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    def counted(tx: Transaction) -> None:
        connection = tx.connection.connection.driver_connection
        connection.set_progress_handler(step, 100)
        work(tx, *arguments, **options)
        connection.set_progress_handler(None, 100)

    database.write_now(counted)
    return taken


@pytest.fixture
def many(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)

    def store(tx: Transaction) -> None:
        for number in range(1_000):
            draft = BatchDraft(prompts=[PromptDraft("x")], model="m", limits=UNPACED)
            jobs.insert(tx, draft, batch_id=f"batch_{number:04}")

    opened.write_now(store)
    yield opened
    opened.close_now()


def test_a_claim_of_many_batches_looks_at_all_that_are_live_once(many: Database) -> None:
    key = many.write_now(register_host, "http://gpu")
    share = HostShare(key=key, url="http://gpu", slots=None)
    claim = {"owner": "w", "lease_ms": 60_000, "share": share}

    one = steps(many, claims.claim, wanted=1, **claim)
    ten = steps(many, claims.claim, wanted=10, **claim)

    assert ten < 2 * one


def test_a_page_of_batches_looks_at_all_that_wait_once(many: Database) -> None:
    one = steps(many, jobs.page, limit=1)
    hundred = steps(many, jobs.page, limit=100)

    assert hundred < 3 * one


@pytest.mark.postgresql
def test_statements_are_planned_for_what_the_tables_hold_now(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    mode = database.read_now(
        lambda tx: tx.connection.exec_driver_sql("SHOW plan_cache_mode").scalar()
    )
    database.close_now()

    assert mode == "force_custom_plan"

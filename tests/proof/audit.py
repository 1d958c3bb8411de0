"""What the database granted, written down by the database itself while a run goes on.

Triggers, put in by the harness and not by the service, note every change of a task's state and
every start that a job was permitted, with the database's own clock. They are part of the
transaction that they watch: what is rolled back was never granted. So limits are judged by the
grants, whatever a frozen worker may still be doing at the host.

A permit that the service takes back, because nothing was started by it, is marked as such and no
distance is counted from it. That really nothing was started is judged by what arrives at the host.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import sqlalchemy as sa

from promptmill.store.db.database import Database, Transaction

_NOTE = (
    "at_ms BIGINT, task_id BIGINT, job_key BIGINT, host_key BIGINT, before TEXT, after TEXT,"
    " token BIGINT"
)
_PERMIT = "job_key BIGINT, at_ms BIGINT, taken_back INTEGER DEFAULT 0"
_TAKE_BACK = """UPDATE permit SET taken_back = 1
        WHERE seq = (SELECT max(seq) FROM permit WHERE job_key = NEW.key)"""
_SQLITE_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
_ON_SQLITE = (
    f"CREATE TABLE audit (seq INTEGER PRIMARY KEY, {_NOTE})",
    f"CREATE TABLE permit (seq INTEGER PRIMARY KEY, {_PERMIT})",
    f"""CREATE TRIGGER note_task AFTER UPDATE OF state ON task WHEN OLD.state <> NEW.state BEGIN
        INSERT INTO audit (at_ms, task_id, job_key, host_key, before, after, token)
        VALUES ({_SQLITE_NOW}, NEW.id, NEW.job_key, coalesce(NEW.host_key, OLD.host_key),
                OLD.state, NEW.state, coalesce(NEW.lease_token, OLD.lease_token)); END""",
    """CREATE TRIGGER note_start AFTER UPDATE OF last_claimed_at_ms ON job
        WHEN OLD.last_claimed_at_ms <> NEW.last_claimed_at_ms OR NEW.rate_limit_delay_s > 0 BEGIN
        INSERT INTO permit (job_key, at_ms) VALUES (NEW.key, NEW.last_claimed_at_ms); END""",
    f"""CREATE TRIGGER note_take_back AFTER UPDATE OF next_start_at_ms ON job
        WHEN NEW.next_start_at_ms < OLD.next_start_at_ms BEGIN {_TAKE_BACK}; END""",
)
_ON_POSTGRESQL = (
    f"CREATE TABLE audit (seq BIGSERIAL PRIMARY KEY, {_NOTE})",
    f"CREATE TABLE permit (seq BIGSERIAL PRIMARY KEY, {_PERMIT})",
    """CREATE FUNCTION note_task() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO audit (at_ms, task_id, job_key, host_key, before, after, token)
        VALUES ((extract(epoch FROM clock_timestamp()) * 1000)::bigint, NEW.id, NEW.job_key,
                coalesce(NEW.host_key, OLD.host_key), OLD.state, NEW.state,
                coalesce(NEW.lease_token, OLD.lease_token));
        RETURN NULL; END $$""",
    """CREATE FUNCTION note_start() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO permit (job_key, at_ms) VALUES (NEW.key, NEW.last_claimed_at_ms);
        RETURN NULL; END $$""",
    f"""CREATE FUNCTION note_take_back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        {_TAKE_BACK}; RETURN NULL; END $$""",
    """CREATE TRIGGER note_task AFTER UPDATE ON task FOR EACH ROW
        WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION note_task()""",
    """CREATE TRIGGER note_start AFTER UPDATE OF last_claimed_at_ms ON job FOR EACH ROW
        EXECUTE FUNCTION note_start()""",
    """CREATE TRIGGER note_take_back AFTER UPDATE OF next_start_at_ms ON job FOR EACH ROW
        WHEN (NEW.next_start_at_ms < OLD.next_start_at_ms) EXECUTE FUNCTION note_take_back()""",
)


def begin_audit(tx: Transaction) -> None:
    """Note from now on what is granted."""
    for statement in _ON_SQLITE if tx.is_sqlite else _ON_POSTGRESQL:
        tx.connection.exec_driver_sql(statement)


@dataclass
class Audit:
    """What was noted, and what follows from it."""

    claims: int = 0
    put_back: int = 0
    """Tasks that went back to the queue: retried, released or rescued."""
    finished: Counter[int] = field(default_factory=Counter)
    """How often each task reached an end."""
    double_leases: int = 0
    """Claims of a task that was running already."""
    most_of_job: dict[int, int] = field(default_factory=dict)
    most_of_host: dict[int, int] = field(default_factory=dict)
    shortest_gap_ms: dict[int, int] = field(default_factory=dict)
    """Between two permits of the same job, of those that were not taken back."""
    ended_at_ms: list[int] = field(default_factory=list)
    """The moments at which tasks reached an end, in their order."""
    permits: int = 0
    taken_back: int = 0
    """Permits that ended before a call was made."""


def read_audit(database: Database) -> Audit:
    """Replay the notes in their order."""
    notes = database.read_now(_rows, "SELECT * FROM audit ORDER BY seq")
    permits = database.read_now(_rows, "SELECT * FROM permit ORDER BY seq")
    audit = Audit()
    running: dict[int, Any] = {}
    of_job: Counter[int] = Counter()
    of_host: Counter[int] = Counter()
    for note in notes:
        if note.after == "running":
            audit.claims += 1
            audit.double_leases += note.task_id in running
            running[note.task_id] = note
            of_job[note.job_key] += 1
            most = audit.most_of_job.get(note.job_key, 0)
            audit.most_of_job[note.job_key] = max(most, of_job[note.job_key])
            of_host[note.host_key] += 1
            most = audit.most_of_host.get(note.host_key, 0)
            audit.most_of_host[note.host_key] = max(most, of_host[note.host_key])
            continue
        claimed = running.pop(note.task_id, None)
        if claimed is not None:
            of_job[note.job_key] -= 1
            of_host[claimed.host_key] -= 1
        if note.after == "pending":
            audit.put_back += 1
        else:
            audit.finished[note.task_id] += 1
            audit.ended_at_ms.append(note.at_ms)
    moments: defaultdict[int, list[int]] = defaultdict(list)
    audit.permits = len(permits)
    audit.taken_back = sum(permit.taken_back for permit in permits)
    for permit in permits:
        if permit.taken_back:
            continue
        moments[permit.job_key].append(permit.at_ms)
    for job_key, at_ms in moments.items():
        gaps = [later - earlier for earlier, later in pairwise(at_ms)]
        audit.shortest_gap_ms[job_key] = min(gaps, default=0)
    return audit


def _rows(tx: Transaction, sql: str) -> list[Any]:
    return list(tx.execute(sa.text(sql)))

"""What workers tell of the hosts: of which of them it counts, and for how long."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from promptmill.domain.hosts.reports import CallSpeed, HostReport, Quarantine
from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.workers import WorkerIdentity
from promptmill.store.db.database import Database
from promptmill.store.hosts import host_reports, workers
from promptmill.store.hosts.hosts import register_host
from tests.store.farm import LEASE_MS

URL = "http://ollama:11434"
DAY_S = 24 * 60 * 60


def register(database: Database, name: str) -> None:
    identity = WorkerIdentity(id=name, host_name="gpu", pid=7, version="0.1.0", concurrency=256)
    database.write_now(workers.register, identity)


def tell(database: Database, name: str, **fields: Any) -> HostReport:
    report = HostReport(
        **{
            "url": URL,
            "slots": 4,
            "aside": None,
            "on_trial": False,
            "calls": 3,
            "failed": 1,
            "latency_s": 0.5,
            **fields,
        }
    )
    key = database.write_now(register_host, URL)
    database.write_now(host_reports.write, name, {key: report})
    return report


def told(database: Database) -> dict[str, HostReport]:
    found = database.read_now(host_reports.of_hosts, lease_ms=LEASE_MS)
    return {worker_id: report for worker_id, _, report in found}


def call_seconds(database: Database) -> dict[str, float]:
    found = database.read_now(host_reports.call_seconds, lease_ms=LEASE_MS)
    return {model: seconds for of_host in found.values() for model, seconds in of_host.items()}


def rows(database: Database) -> list[int]:
    return [
        database.read_now(
            lambda tx, name=name: tx.execute(
                sa.select(sa.func.count()).select_from(sa.table(name))
            ).scalar_one()
        )
        for name in ("host_report", "host_pace")
    ]


def test_what_a_worker_tells_is_read_as_it_was_told(database: Database, clock: Any) -> None:
    register(database, "w1")
    aside = Quarantine(error_code=ErrorCode.SERVER_BUSY, reason="busy", next_look_s=4.0)
    report = tell(database, "w1", aside=aside, on_trial=True, slots=None, latency_s=None)

    assert told(database) == {"w1": report}
    clock.forward(3)
    (later,) = told(database).values()
    assert later.aside == Quarantine(
        error_code=ErrorCode.SERVER_BUSY, reason="busy", next_look_s=1.0
    )
    clock.forward(3)
    (overdue,) = told(database).values()
    assert overdue.aside is not None
    assert overdue.aside.next_look_s == 0


def test_it_takes_the_place_of_what_was_told_before(database: Database) -> None:
    register(database, "w1")
    tell(database, "w1", paces={"a": CallSpeed(call_s=1.0, age_s=0.0)})
    tell(database, "w1", calls=9, paces={"b": CallSpeed(call_s=2.0, age_s=0.0)})

    assert [report.calls for report in told(database).values()] == [9]
    assert call_seconds(database) == {"b": 2.0}
    assert rows(database) == [1, 1]


def test_only_what_living_workers_tell_counts(database: Database, clock: Any) -> None:
    for name in ("silent", "stopped", "alive"):
        register(database, name)
        tell(database, name, paces={name: CallSpeed(call_s=1.0, age_s=0.0)})
    database.write_now(workers.mark_stopped, "stopped", finished=0, fenced=0)
    assert set(told(database)) == {"silent", "alive"}
    assert rows(database) == [2, 2]

    clock.forward(20)
    identity = WorkerIdentity(id="alive", host_name="gpu", pid=7, version="1", concurrency=256)
    database.write_now(workers.touch, identity, exchanged_ago_ms=0, finished=0, fenced=0)
    clock.forward(20)

    assert set(told(database)) == {"alive"}
    assert call_seconds(database) == {"alive": 1.0}


def test_what_a_forgotten_worker_told_is_removed_when_the_next_one_starts(
    database: Database, clock: Any
) -> None:
    register(database, "old")
    tell(database, "old", paces={"a": CallSpeed(call_s=1.0, age_s=0.0)})
    clock.forward(DAY_S + 1)
    register(database, "new")

    assert rows(database) == [0, 0]


def test_of_what_several_measured_the_newest_stands(database: Database) -> None:
    for name, call_s, age_s in (("w1", 1.0, 9.0), ("w2", 2.0, 1.0), ("w3", 3.0, 5.0)):
        register(database, name)
        tell(database, name, paces={"a": CallSpeed(call_s=call_s, age_s=age_s)})

    assert call_seconds(database) == {"a": 2.0}

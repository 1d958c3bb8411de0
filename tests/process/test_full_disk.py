"""A database that can be read and not written, under a real service: it refuses, waits, goes on."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy.engine import make_url

from promptmill.simulator import answer_text

pytestmark = pytest.mark.proof

NO_FILE_GROWS_BEYOND = 4096
"""Bytes; less than any database has already, so that every write is refused by the system."""
PROMPTS = [f"question {number}" for number in range(60)]


@contextlib.contextmanager
def no_room(pid: int) -> Iterator[None]:
    """The system lets the process write nothing beyond its files' first bytes meanwhile."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (NO_FILE_GROWS_BEYOND, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def read_only(url: str) -> Iterator[None]:
    """The server takes no writes into this database meanwhile, from whomever."""
    name = make_url(url).database
    elsewhere = make_url(url).set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        try:
            yield
        finally:
            # Sessions that were opened meanwhile stay read-only: the service has to leave them.
            connection.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


def submit(service: Any, prompts: list[str]) -> httpx.Response:
    body = {"model": "tiny", "prompts": prompts, "rate_limit_delay": 0}
    return service.http.post("/batches", json=body)


def until(look: Callable[[], Any], is_right: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + 30
    while not is_right(found := look()):
        assert time.monotonic() < deadline, found
    return found


def check_that_it_reads_on(service: Any, batch_id: str) -> None:
    counts = service.batch(batch_id)["counts"]
    assert sum(counts.values()) == 2 * len(PROMPTS)
    assert 5 <= counts["succeeded"] < len(PROMPTS)
    assert len(service.results(batch_id)) >= 5
    assert service.http.get("/batches").status_code == 200
    assert service.http.get("/health").status_code == 200


def check_that_nothing_is_missing(service: Any, batch_id: str) -> None:
    counts = service.ended(batch_id)["counts"]
    assert counts["succeeded"] == counts["total"] == len(PROMPTS)
    results = service.results(batch_id)
    assert [one["prompt"] for one in results] == PROMPTS
    assert [one["response"] for one in results] == [answer_text("tiny", text) for text in PROMPTS]


def test_a_full_disk_refuses_new_work_keeps_the_old_and_is_recovered_from(
    serve: Any, simulate: Any
) -> None:
    host, simulator = simulate(slots=64, request_s=0.1)
    service = serve(host)
    batch_id = service.submit(PROMPTS, max_concurrent=4)
    until(lambda: service.batch(batch_id)["counts"]["succeeded"], lambda number: number >= 5)
    with no_room(service.process.pid):
        refusal = submit(service, ["not accepted"])
        assert refusal.status_code == 507
        assert refusal.headers["content-type"] == "application/problem+json"
        assert refusal.json()["type"] == "/problems/storage-full"
        assert "cannot store anything now" in refusal.json()["detail"]
        assert service.http.post(f"/batches/{batch_id}/cancel").status_code == 507
        check_that_it_reads_on(service, batch_id)
        # The calls that were under way end; what they brought waits for room.
        until(lambda: simulator.stats()["in_flight"], lambda number: number == 0)
        assert service.batch(batch_id)["counts"]["running"] == 4
    check_that_nothing_is_missing(service, batch_id)
    listed = service.http.get("/batches").json()["data"]
    assert [batch["id"] for batch in listed] == [batch_id]
    assert submit(service, ["accepted again"]).status_code == 202


def test_a_disk_that_is_full_for_longer_than_two_leases_with_the_log_on_it_costs_no_call(
    serve: Any, simulate: Any, tmp_path: Path
) -> None:
    host, simulator = simulate(slots=64, request_s=0.1)
    log = tmp_path / "log"
    log.write_bytes(b"." * NO_FILE_GROWS_BEYOND)
    lease_s = 2.0
    with log.open("ab", buffering=0) as stderr:
        service = serve(
            host,
            stderr=stderr,
            PROMPTMILL_LEASE_S=f"{lease_s}",
            PROMPTMILL_HEARTBEAT_S="0.5",
            PROMPTMILL_LOG_LEVEL="info",
        )
    batch_id = service.submit(PROMPTS, max_concurrent=4)
    until(lambda: service.batch(batch_id)["counts"]["succeeded"], lambda number: number >= 5)
    with no_room(service.process.pid):
        until(lambda: simulator.stats()["in_flight"], lambda number: number == 0)
        written = log.stat().st_size
        full_since = time.monotonic()
        # In vain roles try to write into the database, and then to tell of it in the log.
        until(lambda: time.monotonic() - full_since, lambda seconds: seconds > 2.5 * lease_s)
        assert log.stat().st_size == written
        idle = service.http.get("/ready")
        assert idle.status_code == 503
        assert "last exchange with the database" in idle.json()["detail"]
        check_that_it_reads_on(service, batch_id)
    check_that_nothing_is_missing(service, batch_id)
    assert simulator.stats()["prompts_by_number_of_calls"] == {"1": len(PROMPTS)}
    assert service.http.get("/ready").status_code == 200


@pytest.mark.postgresql
def test_a_read_only_database_refuses_new_work_keeps_the_old_and_is_recovered_from(
    serve: Any, simulate: Any, postgresql_url: str
) -> None:
    host, _ = simulate(slots=64, request_s=0.1)
    service = serve(host, DATABASE_URL=postgresql_url)
    batch_id = service.submit(PROMPTS, max_concurrent=4)
    until(lambda: service.batch(batch_id)["counts"]["succeeded"], lambda number: number >= 5)
    with read_only(postgresql_url):
        refusal = submit(service, ["not accepted"])
        assert refusal.status_code == 503
        assert refusal.json()["type"] == "/problems/unavailable"
        assert "read-only transaction" in refusal.json()["detail"]
        check_that_it_reads_on(service, batch_id)
    check_that_nothing_is_missing(service, batch_id)
    until(lambda: submit(service, ["accepted again"]).status_code, lambda status: status == 202)

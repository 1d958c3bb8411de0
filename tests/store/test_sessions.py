"""What holds in the sessions of a database, however its server, role or machine is set up."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from promptmill.domain.errors import Unavailable
from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.notify import LISTENER_NAME
from promptmill.store.queue import candidates, claims
from promptmill.store.queue.leases import HostShare, Lease
from tests.own_postgresql import OwnPostgresql
from tests.store.farm import LEASE_MS, Farm

on_postgresql = pytest.mark.postgresql


def one_value(database: Database, statement: str) -> Any:
    return database.write_now(lambda tx: tx.execute(sa.text(statement)).scalar_one())


@pytest.fixture
def opened() -> Iterator[Callable[..., Database]]:
    """`opened(url, ...)` is a `Database` that is closed after the test."""
    databases: list[Database] = []

    def open_one(url: str, **options: Any) -> Database:
        databases.append(Database(url, **options))
        return databases[-1]

    yield open_one
    for database in databases:
        database.close_now()


@pytest.fixture
def set_for_all(postgresql_url: str) -> Callable[[str], None]:
    """Change a setting for all sessions of the test's database that begin from now on."""

    def change(setting: str) -> None:
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            name = make_url(postgresql_url).database
            connection.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())

    return change


# --- a worker that stands still ----------------------------------------------------------------

LOCK_AND_STAND_STILL = """
    import sys, time
    import sqlalchemy as sa
    from promptmill.store.db.database import Database

    def lock(tx):
        tx.execute(sa.text("SELECT * FROM job_stats FOR UPDATE"))
        print("locked", flush=True)
        time.sleep(600)

    url, pooling, lease_s = sys.argv[1:]
    Database(url, transaction_pooling=pooling == "True", lease_s=float(lease_s)).write_now(lock)
"""


@pytest.mark.proof
@on_postgresql
@pytest.mark.parametrize("pooling", [False, True])
def test_a_worker_frozen_in_the_middle_of_its_exchange_stops_others_for_a_tenth_of_a_lease(
    postgresql_url: str, pooling: bool, opened: Callable[..., Database]
) -> None:
    farm = Farm(opened(postgresql_url))
    farm.submit(1)
    (lease,) = farm.leases()
    command = [sys.executable, "-c", textwrap.dedent(LOCK_AND_STAND_STILL)]
    frozen = subprocess.Popen(
        [*command, postgresql_url, str(pooling), "20"], stdout=subprocess.PIPE, text=True
    )
    assert frozen.stdout is not None
    try:
        assert frozen.stdout.readline() == "locked\n"
        frozen.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert farm.complete(lease).finished == 1
        assert time.monotonic() - began < 2 + 3
    finally:
        frozen.kill()
        frozen.wait(10)
        frozen.stdout.close()


@on_postgresql
def test_a_transaction_that_was_cut_off_while_it_stood_still_is_told_as_unavailable(
    postgresql_url: str, opened: Callable[..., Database]
) -> None:
    database = opened(postgresql_url, lease_s=10)

    def stand_still(tx: Transaction) -> None:
        own = tx.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with psycopg.connect(postgresql_url, autocommit=True) as other:
            here = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
            while other.execute(here, [own]).fetchone() != (0,):
                pass
        tx.now_ms()

    with pytest.raises(Unavailable):
        database.write_now(stand_still)
    assert database.read_now(lambda tx: tx.now_ms()) > 0


# --- a server that vanished --------------------------------------------------------------------


def user_timeouts_ms() -> list[int]:
    """The option TCP_USER_TIMEOUT of every TCP socket that this process has connected."""
    found: list[int] = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            copied = socket.socket(fileno=os.dup(int(descriptor.name)))
        except OSError:
            continue
        with copied:
            if copied.family == socket.AF_INET and copied.type == socket.SOCK_STREAM:
                timeout = copied.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                found.append(timeout)
    return found


@on_postgresql
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the sockets in /proc")
@pytest.mark.parametrize("pooling", [False, True])
async def test_no_session_waits_longer_than_a_third_of_a_lease_for_a_server_that_says_nothing(
    own_postgresql: OwnPostgresql, pooling: bool, opened: Callable[..., Database]
) -> None:
    database = opened(own_postgresql.tcp_url, transaction_pooling=pooling, lease_s=36)
    before = user_timeouts_ms()
    assert database.read_now(lambda tx: tx.now_ms()) > 0
    arguments = database.session_arguments(application_name=LISTENER_NAME)
    async with await psycopg.AsyncConnection.connect(**arguments):
        assert sorted(user_timeouts_ms()) == sorted([*before, 12_000, 12_000])


# --- settings of the server, the role, the URL ------------------------------------------------


@on_postgresql
@pytest.mark.parametrize("pooling", [False, True])
def test_slots_are_exact_on_a_database_whose_transactions_are_repeatable_reads(
    postgresql_url: str,
    pooling: bool,
    set_for_all: Callable[[str], None],
    opened: Callable[..., Database],
) -> None:
    set_for_all("default_transaction_isolation = 'repeatable read'")
    database = opened(postgresql_url, transaction_pooling=pooling)
    farm = Farm(database)
    farm.submit(2)
    farm.submit(2)
    share = HostShare(key=farm.host_key, url="http://ollama:11434", slots=3)

    def claim(tx: Transaction) -> Sequence[Lease]:
        return claims.claim(
            tx,
            wanted=2,
            owner="w",
            lease_ms=LEASE_MS,
            share=share,
            aging_ms=candidates.NEVER_MS,
        )

    with ThreadPoolExecutor(1) as threads:

        def begun_before(tx: Transaction) -> tuple[Sequence[Lease], Sequence[Lease]]:
            # Here a repeatable read would take the snapshot that it then counts by.
            tx.execute(sa.text("SELECT count(*) FROM task")).scalar_one()
            beside = threads.submit(database.write_now, claim).result(20)
            return beside, claim(tx)

        beside, claimed = database.write_now(begun_before)
        assert [len(beside), len(claimed)] == [2, 1]


@on_postgresql
@pytest.mark.parametrize("pooling", [False, True])
def test_a_commit_is_on_disk_where_the_database_would_not_wait_for_that(
    postgresql_url: str,
    pooling: bool,
    set_for_all: Callable[[str], None],
    opened: Callable[..., Database],
) -> None:
    set_for_all("synchronous_commit = off")
    database = opened(postgresql_url, transaction_pooling=pooling)
    assert one_value(database, "SHOW synchronous_commit") == "on"


def test_a_commit_is_on_disk_where_the_system_leaves_that_to_the_disk(
    sqlite_url: str, opened: Callable[..., Database]
) -> None:
    database = opened(sqlite_url)
    assert one_value(database, "PRAGMA fullfsync") == 1
    assert one_value(database, "PRAGMA synchronous") == 2


@on_postgresql
def test_options_in_the_url_change_what_they_name_and_nothing_else(
    postgresql_url: str, opened: Callable[..., Database]
) -> None:
    url = make_url(postgresql_url).update_query_dict({"options": "-c lock_timeout=7s"})
    database = opened(url.render_as_string(hide_password=False), lease_s=30)
    names = ("lock_timeout", "idle_in_transaction_session_timeout", "plan_cache_mode")
    shown = [one_value(database, f"SHOW {name}") for name in names]
    assert shown == ["7s", "3s", "force_custom_plan"]

"""Words between processes, over a real PostgreSQL: told, heard, and heard again after a break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.errors import Unavailable
from promptmill.store.db.database import Database
from promptmill.store.db.notify import LISTENER_NAME, Notifier, notifying
from tests.own_postgresql import OwnPostgresql

pytestmark = pytest.mark.postgresql

LISTENERS = sa.text(
    "SELECT pid FROM pg_stat_activity WHERE application_name = :name"
    " AND datname = current_database()"
)


class Ear:
    """What a process has heard, and when it may have missed something."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.openings = 0
        self.changed = asyncio.Condition()

    def hear(self, word: str) -> None:
        self.words.append(word)
        self._tell()

    def missed(self) -> None:
        self.openings += 1
        self._tell()

    def _tell(self) -> None:
        async def tell() -> None:
            async with self.changed:
                self.changed.notify_all()

        self._task = asyncio.ensure_future(tell())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(15), self.changed:
            await self.changed.wait_for(condition)


class Process:
    """One process's use of the database."""

    def __init__(self, database: Database, ear: Ear, notifier: Notifier) -> None:
        self.database, self.ear, self.tell = database, ear, notifier.tell

    async def until_heard(self, word: str) -> None:
        await self.ear.until(lambda: word in self.ear.words)


@contextlib.asynccontextmanager
async def process(url: str) -> AsyncIterator[Process]:
    database, ear = Database(url), Ear()
    try:
        async with notifying(database, hear=ear.hear, missed=ear.missed) as notifier:
            await ear.until(lambda: ear.openings > 0)
            yield Process(database, ear, notifier)
    finally:
        await database.close()


async def test_what_one_process_tells_another_hears(postgresql_url: str) -> None:
    async with process(postgresql_url) as one, process(postgresql_url) as other:
        one.tell("work")
        await other.until_heard("work")
        other.tell("ended")
        await one.until_heard("ended")


async def test_words_told_in_haste_go_out_together_and_the_last_is_not_lost(
    postgresql_url: str,
) -> None:
    async with process(postgresql_url) as one, process(postgresql_url) as other:
        begun = asyncio.get_running_loop().time()
        for _ in range(100):
            one.tell("work")
            await asyncio.sleep(0.002)
        lasted = asyncio.get_running_loop().time() - begun
        one.tell("ended")
        await other.until_heard("ended")

    # The first at once, then one in 50 ms; the last word is on its way with the last of them.
    assert 3 <= other.ear.words.count("work") <= lasted / 0.05 + 2


async def test_a_word_told_just_before_the_end_is_still_sent(postgresql_url: str) -> None:
    async with process(postgresql_url) as stays:
        async with process(postgresql_url) as leaves:
            leaves.tell("work")
            leaves.tell("ended")
        await stays.until_heard("work")
        await stays.until_heard("ended")


async def test_a_session_that_was_terminated_is_opened_again(postgresql_url: str) -> None:
    async with process(postgresql_url) as one, process(postgresql_url) as other:
        assert len(await listeners(one.database)) == 2
        await one.database.write(
            lambda tx: tx.execute(
                sa.text(f"SELECT pg_terminate_backend(pid) FROM ({LISTENERS}) own"),
                {"name": LISTENER_NAME},
            )
        )
        # Words may have gone by meanwhile, and it says so.
        await other.ear.until(lambda: other.ear.openings == 2)

        one.tell("work")
        await other.until_heard("work")


async def test_listening_goes_on_after_the_server_was_restarted(
    own_postgresql: OwnPostgresql,
) -> None:
    async with process(own_postgresql.tcp_url) as one, process(own_postgresql.socket_url) as other:
        await asyncio.to_thread(own_postgresql.stop)
        one.tell("work")
        with pytest.raises(Unavailable):
            await one.database.read(lambda tx: tx.now_ms())
        await asyncio.to_thread(own_postgresql.start)
        await other.ear.until(lambda: other.ear.openings == 2)
        await one.ear.until(lambda: one.ear.openings == 2)

        one.tell("ended")
        await other.until_heard("ended")
        other.tell("work")
        await one.until_heard("work")


async def listeners(database: Database) -> list[int]:
    return await database.read(
        lambda tx: list(tx.execute(LISTENERS, {"name": LISTENER_NAME}).scalars())
    )


# --- behind PgBouncer ------------------------------------------------------------------------


@pytest.fixture
def pooled(postgresql_url: str) -> Any:
    opened = Database(postgresql_url, transaction_pooling=True)
    yield opened
    opened.close_now()


def one_value(database: Database, statement: str) -> Any:
    return database.read_now(lambda tx: tx.execute(sa.text(statement)).scalar_one())


def test_with_transaction_pooling_nothing_is_left_in_a_session(
    pooled: Database, postgresql_url: str
) -> None:
    for _ in range(20):
        assert pooled.read_now(lambda tx: tx.now_ms()) > 0
    prepared = "SELECT count(*) FROM pg_prepared_statements"
    of_session = "SELECT reset_val FROM pg_settings WHERE name = 'lock_timeout'"
    assert (one_value(pooled, prepared), one_value(pooled, of_session)) == (0, "0")

    ordinary = Database(postgresql_url)
    for _ in range(20):
        ordinary.read_now(lambda tx: tx.now_ms())
    kept = (one_value(ordinary, prepared) > 0, one_value(ordinary, of_session))
    ordinary.close_now()

    assert kept == (True, "10000")


@pytest.mark.parametrize("pooling", [False, True])
def test_the_limits_of_waiting_hold_in_every_transaction(
    postgresql_url: str, pooling: bool
) -> None:
    database = Database(postgresql_url, transaction_pooling=pooling)
    try:
        for _ in range(2):
            assert one_value(database, "SHOW lock_timeout") == "10s"
            assert one_value(database, "SHOW idle_in_transaction_session_timeout") == "3s"
    finally:
        database.close_now()

"""Wakeups between processes over PostgreSQL: NOTIFY and LISTEN.

A wakeup is sent after a commit, and only saves other processes the rest of their poll interval,
because every listener also reads the tables from time to time. A lost wakeup therefore does no
harm.

NOTIFY takes a lock of the whole server at its commit. Wakeups are therefore sent in transactions of
their own, beside those that do the work, and at most one in `_APART_S` from each process.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import LiteralString

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from promptmill.domain.errors import Unavailable
from promptmill.observability.logs import get_logger
from promptmill.store.db.database import Database, Transaction

LISTENER_NAME = "promptmill listener"
"""Name of the listening session in `pg_stat_activity`."""
_CHANNEL: LiteralString = "promptmill"
_APART_S = 0.05
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0

# Without waiting for the disk: a wakeup lost in a crash does no harm.
_IN_A_HURRY = sa.text("SET LOCAL synchronous_commit = off")
_NOTIFY = sa.text("SELECT pg_notify(:channel, word) FROM unnest(CAST(:words AS text[])) word")


class Notifier:
    """Sender of wakeups: the first at once, those that follow soon after together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: set[str] = set()
        self._told = asyncio.Event()

    def tell(self, word: str) -> None:
        """Queue a wakeup to be sent; called on the event loop, it returns at once."""
        self._waiting.add(word)
        self._told.set()

    async def run(self) -> None:
        """Send queued wakeups, until cancelled."""
        while True:
            await self._told.wait()
            await self.send()
            await asyncio.sleep(_APART_S)

    async def send(self) -> None:
        """Send the queued wakeups; if the database refuses, they are dropped."""
        self._told.clear()
        words, self._waiting = sorted(self._waiting), set()
        if not words:
            return
        try:
            await self._database.write(_notify, words)
        except (Unavailable, SQLAlchemyError) as error:
            get_logger().debug(str(error), action="notify_failed", words=words)


def _notify(tx: Transaction, words: Sequence[str]) -> None:
    tx.execute(_IN_A_HURRY)
    tx.execute(_NOTIFY, {"channel": _CHANNEL, "words": words})


class NotifyListener:
    """Listener with a session of its own, which is opened again when it breaks.

    `hear` receives each wakeup; `missed` is called whenever wakeups may have been missed, which is
    at every opening of the session. Both run on the event loop.
    """

    def __init__(
        self, database: Database, *, hear: Callable[[str], None], missed: Callable[[], None]
    ) -> None:
        self._database = database
        self._hear = hear
        self._missed = missed
        self.listening = asyncio.Event()
        """Set while the session is open."""

    async def run(self) -> None:
        """Listen until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._listen()
            except (psycopg.Error, OSError) as error:
                # A broken session may stay broken for long, and is logged once.
                had_listened = self.listening.is_set()
                log = get_logger().warning if had_listened else get_logger().debug
                log(
                    "No wake-ups from the database for now; work is found by polling.",
                    action="listener_lost",
                    reason=str(error).strip(),
                )
                pause_s = _FIRST_PAUSE_S if had_listened else min(pause_s * 2, _LONGEST_PAUSE_S)
            finally:
                self.listening.clear()
            # Jittered, so that many processes do not reconnect to a restarted server at once.
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - not a secret

    async def _listen(self) -> None:
        """Listen over one session; ends only by raising."""
        arguments = self._database.session_arguments(application_name=LISTENER_NAME)
        session = await psycopg.AsyncConnection.connect(**arguments, autocommit=True)
        async with session:
            await session.execute(f"LISTEN {_CHANNEL}")
            self.listening.set()
            self._missed()
            async for told in session.notifies():
                self._hear(told.payload)
        raise psycopg.OperationalError("The session ended.")


@contextlib.asynccontextmanager
async def notifying(
    database: Database, *, hear: Callable[[str], None], missed: Callable[[], None]
) -> AsyncGenerator[Notifier, None]:
    """Listen and notify during the block; pending wakeups are sent before it ends."""
    notifier, listener = Notifier(database), NotifyListener(database, hear=hear, missed=missed)
    roles = [
        asyncio.create_task(notifier.run(), name="notifier"),
        asyncio.create_task(listener.run(), name="listener"),
    ]
    try:
        yield notifier
    finally:
        for role in roles:
            role.cancel()
        await asyncio.gather(*roles, return_exceptions=True)
        await notifier.send()

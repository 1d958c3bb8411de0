"""Opening and closing of the resources that live as long as the process: database and hosts."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncGenerator

import httpx

from promptmill.domain.errors import Unavailable
from promptmill.domain.hosts.address import is_of_the_machine
from promptmill.domain.hosts.spec import HostSpec
from promptmill.observability.logs import get_logger
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.deadlines import Timeouts
from promptmill.ollama.hosts import Host
from promptmill.ollama.transport import CertificatesError
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Signals, Wakeup
from promptmill.settings import Settings
from promptmill.store.db import schema
from promptmill.store.db.database import Database
from promptmill.store.db.notify import notifying

_SWITCH_INTERVAL_S = 0.0005


@contextlib.asynccontextmanager
async def open_resources(
    settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncGenerator[Resources, None]:
    """Migrate the database to the current schema, and open it and the Ollama hosts.

    `transport` replaces the network to Ollama in tests.

    Raises:
        Unavailable: The database cannot be reached, or the certificates that verify hosts cannot be
            read.
    """
    _tune_the_interpreter()
    pooling = settings.poll_only
    await asyncio.to_thread(
        schema.upgrade,
        settings.database_url,
        transaction_pooling=pooling,
        waiting=lambda sentence: get_logger().info(sentence, action="schema_waits"),
    )
    database = Database(
        settings.database_url, transaction_pooling=pooling, lease_s=settings.lease_s
    )
    signals = Signals()
    hosts = tuple(open_host(settings, spec, transport) for spec in settings.hosts)
    try:
        async with contextlib.AsyncExitStack() as stack:
            if not (database.is_sqlite or settings.poll_only):
                await stack.enter_async_context(_told_by_others(database, signals))
            yield Resources(settings=settings, database=database, hosts=hosts, signals=signals)
    finally:
        for host in hosts:
            await host.client.aclose()
        await database.close()


def open_host(
    settings: Settings, spec: HostSpec, transport: httpx.AsyncBaseTransport | None = None
) -> Host:
    """Open the client of a host described by `spec`; the caller closes the client.

    Raises:
        Unavailable: The certificates that the environment names cannot be read.
    """
    timeouts = Timeouts(
        connect_s=settings.connect_timeout_s,
        first_byte_s=settings.first_byte_timeout_s,
        between_chunks_s=settings.stall_timeout_s,
    )
    try:
        client = OllamaClient(
            spec.url, timeouts=timeouts, credentials=spec.credentials, transport=transport
        )
    except CertificatesError as error:
        raise Unavailable(f"No connection to {spec.url} can be made: {error}.") from None
    machine = settings.machine_identity if is_of_the_machine(spec.url) else None
    return Host(client, spec=spec, longest_limit_s=settings.retry_after_most_s, machine=machine)


@contextlib.asynccontextmanager
async def _told_by_others(database: Database, signals: Signals) -> AsyncGenerator[None, None]:
    """Exchange wakeups with the other processes on the same database while the block runs.

    PostgreSQL carries the wakeups; a SQLite file has one worker, in one process.
    """

    def hear(word: str) -> None:
        # A newer version of the service may send wakeups that this version does not have.
        if word in set(Wakeup):
            signals.hear(Wakeup(word))

    def missed() -> None:
        for news in Wakeup:
            signals.hear(news)

    async with notifying(database, hear=hear, missed=missed) as notifier:
        signals.tell_others = notifier.tell
        yield


def _tune_the_interpreter() -> None:
    """Set the interpreter's switch interval and freeze its objects; see docs/performance.md."""
    # Database statements run in threads. With Python's default interval of 5 ms, a busy event loop
    # delays such a thread by that much after each statement.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # Imported modules hold hundreds of thousands of objects that are never freed. Scanning them at
    # every full collection stops the event loop for 100 ms and more.
    gc.collect()
    gc.freeze()

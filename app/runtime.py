"""Opening and closing what lives as long as the process: the database and the Ollama host."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import AsyncGenerator

import httpx

from app.ollama.client import OllamaClient, Timeouts
from app.ollama.hosts import Host
from app.services.resources import Resources
from app.services.signals import Signals
from app.settings import Settings
from app.store import schema
from app.store.database import Database

_SWITCH_INTERVAL_S = 0.0005


@contextlib.asynccontextmanager
async def open_resources(
    settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncGenerator[Resources, None]:
    """Bring the database to this version's schema and open everything.

    `transport` takes the place of the network to Ollama, for tests.

    Raises:
        Unavailable: The database cannot be reached.
    """
    _tune_the_interpreter()
    await asyncio.to_thread(schema.upgrade, settings.database_url)
    database = Database(settings.database_url)
    client = OllamaClient(
        settings.ollama_host,
        timeouts=Timeouts(
            connect_s=settings.connect_timeout_s,
            first_byte_s=settings.first_byte_timeout_s,
            between_chunks_s=settings.stall_timeout_s,
        ),
        transport=transport,
    )
    try:
        yield Resources(settings=settings, database=database, host=Host(client), signals=Signals())
    finally:
        await client.aclose()
        await database.close()


def _tune_the_interpreter() -> None:
    """Two settings of the process; what is known of their worth is in docs/performance.md."""
    # The database works in threads. With Python's own 5 ms between two of them, a busy event loop
    # keeps such a thread waiting that long after each of its statements.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    # The hundreds of thousands of objects of imported modules stay for ever. Looked through again
    # at every full collection, they stop the event loop for 100 ms and more.
    gc.collect()
    gc.freeze()

"""Whether the service can do its work now."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.errors import Unavailable
from app.ollama.errors import OllamaError
from app.ollama.hosts import LOOK_S, Host
from app.services.resources import Resources
from app.store import jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Whether the service can work, and what it has to do without."""

    ready: bool
    """The database answers, and one Ollama host at least."""
    missing: Sequence[str]
    """What does not answer, a sentence each; also hosts whose work others can do."""


async def check_ready(resources: Resources) -> Readiness:
    """Ask the database and every host, all at once."""
    database, *hosts = await asyncio.gather(
        _missing_database(resources), *(_missing_host(host) for host in resources.hosts)
    )
    return Readiness(
        ready=database is None and None in hosts,
        missing=[sentence for sentence in (database, *hosts) if sentence is not None],
    )


async def _missing_database(resources: Resources) -> str | None:
    try:
        await resources.database.read(jobs.page, limit=1)
    except Unavailable as error:
        return str(error)
    return None


async def _missing_host(host: Host) -> str | None:
    try:
        await host.client.version(within_s=LOOK_S)
    except OllamaError as error:
        return error.failed.message
    return None

"""The installation: versions, settings in force, the database, retention times."""

from __future__ import annotations

import asyncio
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from promptmill.domain.hosts.activity import HOUR_S, KEPT_S, MINUTE_S
from promptmill.services.resources import Resources
from promptmill.settings import ListedSetting, list_settings, without_password
from promptmill.store.db import facts
from promptmill.store.db.facts import DatabaseFacts
from promptmill.version import version


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """The disk of a SQLite file."""

    wal_bytes: int
    """The write-ahead log beside the file."""
    free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A process of the service with its database."""

    version: str
    python: str
    database_url: str
    """Without a password."""
    database: DatabaseFacts
    disk: Disk | None
    """None with PostgreSQL, whose disk is another machine's."""
    retention_s: Mapping[str, int | None]
    """For how long each kind of data is kept; None: until somebody deletes it."""
    settings: Sequence[ListedSetting]


async def describe(resources: Resources) -> Installation:
    """This process and its database.

    Raises:
        Unavailable: The database does not answer.
    """
    settings = resources.settings
    path = settings.sqlite_path
    return Installation(
        version=version(),
        python=platform.python_version(),
        database_url=without_password(settings.database_url),
        database=await resources.database.read(facts.read),
        disk=None if path is None else await asyncio.to_thread(_disk_of, path),
        retention_s={
            "batches": None,
            "benchmarks": None,
            "files": settings.file_ttl_s or None,
            "throughput_by_minute": KEPT_S[MINUTE_S],
            "throughput_by_hour": KEPT_S[HOUR_S],
        },
        settings=list_settings(settings),
    )


def _disk_of(path: Path) -> Disk:
    log = path.with_name(f"{path.name}-wal")
    return Disk(
        wal_bytes=log.stat().st_size if log.exists() else 0,
        free_bytes=shutil.disk_usage(path.parent).free,
    )

"""Checks of the database, of the disk it lies on, and of the workers that it knows."""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from promptmill.diagnosis.findings import Finding, Level
from promptmill.domain.errors import PromptmillError
from promptmill.domain.workers import Worker, WorkerState
from promptmill.settings import Settings, without_password
from promptmill.store.db import schema
from promptmill.store.db.database import Database
from promptmill.store.hosts import workers
from promptmill.version import version

T = TypeVar("T")

_LITTLE_ROOM: Final = 1 << 30
_LARGE: Final = 10 << 30


def check_database(settings: Settings) -> Sequence[Finding]:
    """Whether it can be reached, has this version's schema, and has room; and who works on it."""
    url = without_password(settings.database_url)
    path = settings.sqlite_path
    if path is not None and not path.exists():
        return [Finding("database", Level.NOTE, f"{url} is made at the first start.", "", True)]
    try:
        state = schema.check(settings.database_url, transaction_pooling=settings.poll_only)
        if not state.is_current:
            have = state.current or "none"
            told = f"{url} has the schema {have}, and this version wants {state.head}."
            advice = "`promptmill db upgrade` or the next start of the service brings it there."
            return [Finding("database", Level.WARNING, told, advice, True)]
        found = [Finding("database", Level.OK, f"{url} has the schema {state.current}.", "", True)]
        found += _check_workers(settings)
    except PromptmillError as error:
        advice = "Start it, or correct DATABASE_URL."
        return [Finding("database", Level.FAILURE, str(error), advice)]
    return found + ([] if path is None else list(_check_file(path)))


def _check_file(path: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    # Windows has no such modes; Python shows some that mean nothing.
    if sys.platform != "win32" and mode & (stat.S_IROTH | stat.S_IWOTH):
        told = f"Every user of this machine may read {path} (mode {mode:o})."
        yield Finding("database", Level.WARNING, told, f"chmod 600 {path}")
    free, size = shutil.disk_usage(path.parent).free, path.stat().st_size
    told = f"{size / 1e6:.0f} MB, and {free / 1e9:.1f} GB of the disk are free."
    if free < max(_LITTLE_ROOM, size // 10):
        yield Finding("database", Level.WARNING, told, "Make room, or delete batches.")
    else:
        yield Finding("database", Level.OK, told)
    if size > _LARGE:
        advice = "Nothing is deleted by itself: delete batches whose results you have."
        yield Finding("database", Level.NOTE, "The database is large.", advice)


def _check_workers(settings: Settings) -> Sequence[Finding]:
    lease_ms = round(settings.lease_s * 1000)

    def listing(database: Database) -> Sequence[Worker]:
        return database.read_now(workers.list_workers, lease_ms=lease_ms)

    listed = read(settings, listing)
    alive = [each for each in listed if each.state is WorkerState.ALIVE]
    lost = [each.identity.id for each in listed if each.state is WorkerState.LOST]
    found: list[Finding] = []
    if alive:
        found.append(Finding("workers", Level.OK, f"{len(alive)} alive."))
    else:
        found.append(Finding("workers", Level.NOTE, "No worker is alive.", "`serve` brings one."))
    if lost:
        told = f"Lost without a word: {', '.join(lost)}."
        found.append(
            Finding("workers", Level.WARNING, told, "Their prompts go back by themselves.")
        )
    versions = {each.identity.version for each in alive} | {version()}
    if len(versions) > 1:
        told = f"Several versions: {', '.join(sorted(versions))}."
        found.append(Finding("workers", Level.WARNING, told, "Start all with one version."))
    return found


def read(settings: Settings, work: Callable[[Database], T]) -> T:
    """What `work` reads from the database of the settings, opened for it alone."""
    database = Database(settings.database_url, transaction_pooling=settings.poll_only)
    try:
        return work(database)
    finally:
        database.close_now()

"""Checks of the database, of the disk that it lies on, and of the workers that it knows."""

from __future__ import annotations

import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from promptmill.diagnosis.findings import Finding, Level, clock_finding
from promptmill.diagnosis.workers import check_workers
from promptmill.domain.errors import PromptmillError
from promptmill.settings import Settings, without_password
from promptmill.store.db import inspection, schema
from promptmill.store.db.database import POSTGRESQL_CONNECTIONS, Database

T = TypeVar("T")

_LITTLE_ROOM: Final = 1 << 30
_LARGE: Final = 10 << 30
_CHECK_S: Final = 10.0
_MANY_DEAD: Final = 100_000
_MOUNTS: Final = Path("/proc/self/mounts")
_OF_THE_NETWORK: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "fuse.sshfs", "9p"}
)


def check_database(settings: Settings) -> Sequence[Finding]:
    """Whether it can be reached, has this version's schema, and has room; and who works on it."""
    url = without_password(settings.database_url)
    path = settings.sqlite_path
    if path is not None and not path.exists():
        return [Finding("database", Level.NOTE, f"{url} is made at the first start.", "", True)]
    files = [] if path is None else list(_check_file(path, settings.min_free_bytes))
    try:
        state = schema.check(settings.database_url, transaction_pooling=settings.poll_only)
        if not state.is_current:
            have = state.current or "none"
            told = f"{url} has the schema {have}, and this version wants {state.head}."
            advice = "`promptmill db upgrade` or the next start of the service brings it there."
            return [Finding("database", Level.WARNING, told, advice, True)]
        inside = read(settings, _check_inside)
        lease_ms = round(settings.lease_s * 1000)
        workers = read(settings, partial(check_workers, lease_ms=lease_ms))
    except PromptmillError as error:
        advice = "Start it, or correct DATABASE_URL."
        return [Finding("database", Level.FAILURE, str(error), advice), *files]
    reached = Finding("database", Level.OK, f"{url} has the schema {state.current}.", "", True)
    return [reached, *inside, *files, *workers]


def _check_inside(database: Database) -> Sequence[Finding]:
    return list(_check_pages(database) if database.is_sqlite else _check_server(database))


def _check_pages(database: Database) -> Iterator[Finding]:
    free = database.read_now(inspection.free_page_bytes)
    try:
        damage = database.read_now(inspection.first_damage, within_s=_CHECK_S)
    except TimeoutError:
        told = f"Whether the file is sound could not be found out within {_CHECK_S:.0f} s."
        yield Finding("database", Level.NOTE, told, "`PRAGMA quick_check` of sqlite3 takes longer.")
    else:
        if damage is not None:
            advice = "Stop the service, keep a copy of the file, and restore a backup."
            yield Finding("database", Level.FAILURE, f"The file is damaged: {damage}", advice)
        else:
            told = f"The file is sound; {free / 1e6:.0f} MB of free pages are used again."
            yield Finding("database", Level.OK, told)


def _check_server(database: Database) -> Iterator[Finding]:
    state = database.read_now(inspection.postgresql_state)
    told = (
        f"PostgreSQL {state.version}, {state.connections} of {state.most_connections} connections."
    )
    left = state.most_connections - state.connections
    if left < POSTGRESQL_CONNECTIONS:
        advice = f"A process takes up to {POSTGRESQL_CONNECTIONS}: raise max_connections."
        yield Finding("database", Level.WARNING, told, advice)
    else:
        yield Finding("database", Level.OK, told)
    if state.dead > max(state.live, _MANY_DEAD):
        told = f"The table task has {state.dead} dead rows beside {state.live} living ones."
        yield Finding("database", Level.WARNING, told, "Look whether autovacuum runs.")
    ahead_s = database.read_now(lambda tx: tx.now_ms()) / 1000 - time.time()
    yield clock_finding("the database", ahead_s)


def _check_file(path: Path, min_free_bytes: int) -> Iterator[Finding]:
    kind = file_system_of(path.resolve())
    if kind in _OF_THE_NETWORK:
        told = f"{path} lies on a network file system ({kind}), where SQLite loses data."
        yield Finding("database", Level.FAILURE, told, "Move it to a disk of this machine.")
    mode = stat.S_IMODE(path.stat().st_mode)
    # Windows has no such modes; Python shows some that mean nothing.
    if sys.platform != "win32" and mode & (stat.S_IROTH | stat.S_IWOTH):
        told = f"Every user of this machine may read {path} (mode {mode:o})."
        yield Finding("database", Level.WARNING, told, f"chmod 600 {path}")
    free, size = shutil.disk_usage(path.parent).free, path.stat().st_size
    log = path.with_name(f"{path.name}-wal")
    log_size = log.stat().st_size if log.exists() else 0
    told = f"{size / 1e6:.0f} MB and a log of {log_size / 1e6:.0f} MB; {free / 1e9:.1f} GB of the"
    told += " disk are free."
    if free < min_free_bytes:
        advice = "New work is refused until there is room (PROMPTMILL_MIN_FREE_BYTES)."
        yield Finding("database", Level.FAILURE, told, advice)
    elif free < max(_LITTLE_ROOM, size // 10):
        yield Finding("database", Level.WARNING, told, "Make room, or delete batches.")
    else:
        yield Finding("database", Level.OK, told)
    if size > _LARGE:
        advice = "Nothing is deleted by itself: delete batches whose results you have."
        yield Finding("database", Level.NOTE, "The database is large.", advice)


def read(settings: Settings, work: Callable[[Database], T]) -> T:
    """Run `work` on the database of the settings, opened for that purpose."""
    database = Database(settings.database_url, transaction_pooling=settings.poll_only)
    try:
        return work(database)
    finally:
        database.close_now()


def file_system_of(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The kind of file system that a file lies on; None where the system has no list of mounts."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    found = [line.split(" ")[1:3] for line in lines]
    holding = [(point, kind) for point, kind in found if path.is_relative_to(_unescaped(point))]
    return max(holding, key=lambda each: len(each[0]))[1] if holding else None


def _unescaped(point: str) -> str:
    return point.replace("\\040", " ")

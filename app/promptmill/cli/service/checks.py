"""The checks of `promptmill doctor`. None of them changes anything."""

from __future__ import annotations

import asyncio
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from promptmill.cli.service.service_settings import (
    given_variables,
    unknown_variables,
    without_password,
)
from promptmill.cli.service.serving import is_loopback
from promptmill.domain.access.keys import ApiKey
from promptmill.domain.calls import Call
from promptmill.domain.errors import PromptmillError
from promptmill.domain.outcomes import Succeeded
from promptmill.domain.workers import Worker, WorkerState
from promptmill.ollama.hosts import Host
from promptmill.runtime import open_host
from promptmill.services import keys
from promptmill.settings import Settings
from promptmill.store.db import schema
from promptmill.store.db.database import Database
from promptmill.store.hosts import workers
from promptmill.version import version

T = TypeVar("T")

_LITTLE_ROOM: Final = 1 << 30
_LARGE: Final = 10 << 30
_SPARE_FILES: Final = 128
"""Open files beside the calls: the database, the log, clients of the API."""
_LEVELS: Final = (1, 2, 4, 8)
_LOOK_S: Final = 5.0
_PROBE_S: Final = 300.0
_SLOWER: Final = 1.5
"""A time that grows by this factor when the requests double shows that they wait for each other."""


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result."""

    area: str
    level: Level
    told: str
    advice: str = ""
    """What to do, in a sentence; empty where there is nothing to do."""
    is_contact: bool = False
    """Whether the database or a host has answered."""

    def document(self) -> dict[str, Any]:
        """The finding as `--json` prints it."""
        return {
            "area": self.area,
            "level": self.level.value,
            "finding": self.told,
            "advice": self.advice or None,
        }


def check_variables() -> Iterator[Finding]:
    """Variables that are set, and those that look like settings and are none."""
    given = given_variables()
    told = f"Set in the environment: {', '.join(given)}." if given else "No setting is set."
    yield Finding("settings", Level.OK, told)
    for name, nearest in unknown_variables().items():
        advice = f"Did you mean {nearest}?" if nearest else "`promptmill serve -h` lists all."
        yield Finding("settings", Level.WARNING, f"{name} is no setting of Promptmill.", advice)


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

    def read(database: Database) -> Sequence[Worker]:
        return database.read_now(workers.list_workers, lease_ms=lease_ms)

    listed = _read(settings, read)
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


def _read(settings: Settings, work: Callable[[Database], T]) -> T:
    database = Database(settings.database_url, transaction_pooling=settings.poll_only)
    try:
        return work(database)
    finally:
        database.close_now()


def check_access(settings: Settings) -> Sequence[Finding]:
    """Where the service listens, and who may use it."""
    stored: Sequence[ApiKey] = ()
    try:
        path = settings.sqlite_path
        is_there = path is None or path.exists()
        pooling = settings.poll_only
        if is_there and schema.check(settings.database_url, transaction_pooling=pooling).is_current:
            stored = _read(settings, keys.list_keys)
    except PromptmillError:
        pass  # The check of the database tells of it.
    number = len(stored) + len(settings.environment_keys)
    where = f"{settings.host}:{settings.port}"
    if is_loopback(settings.host):
        told = f"{where} is reached from this machine only; {number or 'no'} keys."
        found = [Finding("access", Level.OK, told)]
    elif number:
        advice = "A key goes over plain http: put a proxy with TLS before the service."
        found = [Finding("access", Level.NOTE, f"{where} is open, {number} keys.", advice)]
    elif settings.allow_no_keys:
        told = f"Whoever reaches {where} can use the service (PROMPTMILL_ALLOW_NO_KEYS)."
        found = [Finding("access", Level.WARNING, told, "`promptmill keys create NAME`")]
    else:
        told = f"The service will not listen on {where} without keys."
        found = [Finding("access", Level.FAILURE, told, "`promptmill keys create NAME`")]
    now_ms = time.time() * 1000
    over = [key.name for key in stored if key.expires_at_ms and key.expires_at_ms < now_ms]
    if over:
        told = f"Keys that have expired: {', '.join(over)}."
        found.append(
            Finding("access", Level.NOTE, told, "Rotate is not for these: create new ones.")
        )
    return found


def check_process(settings: Settings) -> Iterator[Finding]:
    """What this machine lets a process do; nothing where it has no such limit, as on Windows."""
    try:
        import resource  # noqa: PLC0415  # absent on some systems
    except ImportError:
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.concurrency + _SPARE_FILES
    told = f"{soft} files may be open, and {settings.concurrency} calls in flight."
    if soft != resource.RLIM_INFINITY and soft < wanted:
        yield Finding("process", Level.WARNING, told, f"ulimit -n {wanted}, or lower it.")
    else:
        yield Finding("process", Level.OK, told)


async def check_hosts(settings: Settings, *, probe: bool) -> Sequence[Finding]:
    """Whether each host answers, has the default model, and how much it does at a time."""
    found: list[Finding] = []
    for spec in settings.hosts:
        host = open_host(settings, spec)
        try:
            found += await _check_host(settings, host, probe=probe)
        finally:
            await host.client.aclose()
    return found


async def _check_host(settings: Settings, host: Host, *, probe: bool) -> Sequence[Finding]:
    began = time.monotonic()
    view = await host.look(within_s=_LOOK_S, judging=False)
    took_ms = (time.monotonic() - began) * 1000
    if view.trouble is not None:
        advice = "Start Ollama there, or correct OLLAMA_HOST."
        return [Finding("hosts", Level.FAILURE, view.trouble.message, advice)]
    told = f"{host.url} is Ollama {view.version}, answered in {took_ms:.0f} ms,"
    told += f" and has {len(view.installed or ())} models."
    found = [Finding("hosts", Level.OK, told, "", True)]
    if host.has_model(settings.default_model) is False:
        told = f"{host.url} has no model {settings.default_model}, the default one."
        advice = f"`ollama pull {settings.default_model}` there, or set PROMPTMILL_DEFAULT_MODEL."
        found.append(Finding("hosts", Level.NOTE, told, advice))
    if host.spec.slots is None:
        advice = "Set PROMPTMILL_OLLAMA_SLOTS to Ollama's OLLAMA_NUM_PARALLEL."
        found.append(Finding("hosts", Level.NOTE, f"{host.url} has no slots set.", advice))
    if probe:
        found.append(await _probe(settings, host))
    return found


async def _probe(settings: Settings, host: Host) -> Finding:
    options = {"num_predict": 1, "temperature": 0}
    call = Call(
        model=settings.default_model,
        prompt="Say one word.",
        parameters={"options": options, "think": False},
        timeout_s=_PROBE_S,
    )
    first = await host.client.run(call)
    if not isinstance(first, Succeeded):
        return Finding("hosts", Level.WARNING, f"{host.url}: {first.message}", "See its own log.")
    took: list[float] = []
    for level in _LEVELS:
        began = time.monotonic()
        await asyncio.gather(*(host.client.run(call) for _ in range(level)))
        took.append(time.monotonic() - began)
    parallel = 1
    for level, before, after in zip(_LEVELS[1:], took, took[1:], strict=False):
        if after > before * _SLOWER:
            break
        parallel = level
    shown = ", ".join(f"{n} in {s:.2f} s" for n, s in zip(_LEVELS, took, strict=True))
    told = f"{host.url} answered {shown}: about {parallel} at a time."
    slots = host.spec.slots
    if slots is not None and slots > parallel and parallel < _LEVELS[-1]:
        return Finding("hosts", Level.WARNING, told, f"{slots} slots are set: set fewer.")
    return Finding("hosts", Level.OK, told)

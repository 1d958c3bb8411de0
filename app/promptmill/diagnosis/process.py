"""Checks of the environment of a process: its variables, and what the machine lets it do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import Iterator
from typing import Final

from promptmill.diagnosis.findings import Finding, Level
from promptmill.settings import Settings, given_variables, unknown_variables

_LOOKS: Final = 20
_LATE_MS: Final = 100
_SPARE_FILES: Final = 128
"""Open files beside the calls: the database, the log, clients of the API."""


def check_variables() -> Iterator[Finding]:
    """Variables that are set, and those that look like settings and are none."""
    given = given_variables()
    told = f"Set in the environment: {', '.join(given)}." if given else "No setting is set."
    yield Finding("settings", Level.OK, told)
    for name, nearest in unknown_variables().items():
        advice = f"Did you mean {nearest}?" if nearest else "`promptmill serve -h` lists all."
        yield Finding("settings", Level.WARNING, f"{name} is no setting of Promptmill.", advice)


def check_process(settings: Settings) -> Iterator[Finding]:
    """The machine that the process runs on, and how many files it may open."""
    told = f"Python {platform.python_version()}, {os.cpu_count()} processors"
    with contextlib.suppress(ValueError, OSError, AttributeError):  # Not every system tells it.
        page = os.sysconf("SC_PAGE_SIZE")
        whole, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
        told += f", {whole / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB of it free"
    yield Finding("process", Level.OK, f"{told}.")
    yield from _check_files(settings)


async def check_loop() -> Finding:
    """Measure for a second how late an event loop wakes up on this machine."""
    latest_ms = 0.0
    for _ in range(_LOOKS):
        due = time.monotonic() + 1 / _LOOKS
        await asyncio.sleep(1 / _LOOKS)
        latest_ms = max(latest_ms, (time.monotonic() - due) * 1000)
    told = f"Within a second a timer was {latest_ms:.0f} ms late at most."
    return Finding("process", Level.OK if latest_ms <= _LATE_MS else Level.NOTE, told)


def _check_files(settings: Settings) -> Iterator[Finding]:
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

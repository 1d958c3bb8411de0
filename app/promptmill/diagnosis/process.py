"""Checks of the environment of a process: its variables, and what the machine lets it do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from promptmill.diagnosis.findings import Finding, Level
from promptmill.settings import Settings, given_variables, unknown_variables

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

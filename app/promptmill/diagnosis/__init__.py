"""Diagnosis: what is well with the settings, the database, the hosts, the machine and the keys.

No check changes anything, and each works while no service runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from promptmill.diagnosis.access import check_access
from promptmill.diagnosis.database import check_database
from promptmill.diagnosis.findings import Finding, Level
from promptmill.diagnosis.hosts import check_hosts
from promptmill.diagnosis.process import check_loop, check_process, check_variables
from promptmill.settings import Settings

__all__ = ["Finding", "Level", "check_variables", "diagnose"]


async def diagnose(settings: Settings, *, probe: bool = False) -> Sequence[Finding]:
    """The findings of all checks.

    `probe` asks each host for some short answers at once, for which the default model is loaded.
    """
    database = await asyncio.to_thread(check_database, settings)
    access = await asyncio.to_thread(check_access, settings)
    hosts = await check_hosts(settings, probe=probe)
    process = [*check_process(settings), await check_loop()]
    return [*check_variables(), *database, *hosts, *process, *access]

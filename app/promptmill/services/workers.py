"""Service functions of workers."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.domain.workers import Worker
from promptmill.services.resources import Resources
from promptmill.store.hosts import workers


async def list_workers(resources: Resources) -> Sequence[Worker]:
    """List the workers of the last day, those that have not stopped first.

    A worker counts as alive if it was seen within `lease_s` of this process's settings.

    Raises:
        Unavailable: The database does not respond.
    """
    lease_ms = round(resources.settings.lease_s * 1000)
    return await resources.database.read(workers.list_workers, lease_ms=lease_ms)

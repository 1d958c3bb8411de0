"""The workers of the queue."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.domain.workers import Worker
from promptmill.services.resources import Resources
from promptmill.store.hosts import workers


async def list_workers(resources: Resources) -> Sequence[Worker]:
    """The workers of the last day, those that have not stopped first.

    Alive is who was seen within the lease, by the settings of this process.

    Raises:
        Unavailable: The database does not answer.
    """
    lease_ms = round(resources.settings.lease_s * 1000)
    return await resources.database.read(workers.list_workers, lease_ms=lease_ms)

"""Whether the service can do its work now."""

from __future__ import annotations

from collections.abc import Sequence

from app.domain.errors import Unavailable
from app.ollama.errors import OllamaError
from app.services.resources import Resources
from app.store import jobs


async def check_ready(resources: Resources) -> Sequence[str]:
    """What is missing, a sentence each; nothing when the service is ready."""
    missing: list[str] = []
    try:
        await resources.database.read(jobs.page, limit=1)
    except Unavailable as error:
        missing.append(str(error))
    try:
        await resources.host.client.version()
    except OllamaError as error:
        missing.append(error.failed.message)
    return missing

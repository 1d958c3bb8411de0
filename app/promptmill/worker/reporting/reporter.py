"""The reporter: writes what this worker sees of its hosts, for the other processes.

State that changes with every call is written with each heartbeat; urgent changes (a quarantine, its
end, the first measurements of a model) within half a second.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from promptmill.ollama.hosts import Host
from promptmill.store.db.database import Database
from promptmill.store.hosts import host_reports
from promptmill.worker.scheduling.allocation import WorkerHost

_LOOK_EVERY_S = 0.5


class Reporter:
    """The role that writes the state of the hosts, at changes and at intervals."""

    def __init__(
        self, database: Database, places: Sequence[WorkerHost], *, worker_id: str, every_s: float
    ) -> None:
        self._database = database
        self._places = places
        self._worker_id = worker_id
        self._every_s = every_s
        self._told: object = None
        self._due_at = 0.0

    async def run_once(self) -> float:
        """Write the report if it changed or is due; return seconds until the next call."""
        news = [_news_of(place.host) for place in self._places]
        if news != self._told or time.monotonic() >= self._due_at:
            seen = {place.share.key: place.host.report() for place in self._places}
            await self._database.write(host_reports.write, self._worker_id, seen)
            self._told, self._due_at = news, time.monotonic() + self._every_s
        return _LOOK_EVERY_S


def _news_of(host: Host) -> object:
    """The part of a report whose change is written at once."""
    health = host.health
    # Each of the first calls for a model changes its mean much, later calls hardly.
    measured = {model: own.answered.bit_length() for model, own in host.tally.models.items()}
    return health.trouble, health.rest_until, health.on_trial, measured

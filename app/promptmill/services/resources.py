"""The resources of a process: opened once by `runtime`, and passed to every use case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from promptmill.domain.access.attempts import Attempts
from promptmill.domain.access.keys import ApiKey
from promptmill.domain.access.streams import OpenStreams
from promptmill.domain.scheduling.forecast import Forecast
from promptmill.ollama.hosts import Host
from promptmill.services.reading.snapshots import Snapshots
from promptmill.services.wakeups import Signals
from promptmill.settings import Settings
from promptmill.store.db.database import Database


@dataclass(slots=True)
class LastForecast:
    """The last forecast, kept by `services.forecasts`."""

    forecast: Forecast | None = None
    fresh_until: float = 0.0
    """Monotonic seconds."""


@dataclass(slots=True)
class LastStats:
    """When the gauges of the database were last read; kept by `services.monitoring.gauges`."""

    fresh_until: float = 0.0
    """Monotonic seconds."""


@dataclass(slots=True)
class KnownKeys:
    """The API keys as they were last read from the database; kept by `services.access.keys`."""

    by_id: Mapping[str, ApiKey] = field(default_factory=dict[str, ApiKey])
    exist: bool = False
    """Whether there was ever one since the start."""
    read_at_ms: int = 0
    """The database's clock when they were read."""
    read_at: float | None = None
    """The same moment in monotonic seconds; None before the first time."""
    uses: dict[str, float] = field(default_factory=dict[str, float])
    """When the use of each key was last noted, in monotonic seconds."""


@dataclass(slots=True, kw_only=True)
class OwnWorker:
    """The state of a worker of this process, for `/health` and `/ready`."""

    last_exchange_at: Callable[[], float]
    """Monotonic seconds when its dispatcher last had nothing left to tell the database."""
    ended: str | None = None
    """The role that has ended, in a sentence; the worker is not working any more."""
    outdated: str | None = None
    """Why the worker begins nothing any more, in a sentence: the schema is another version's."""


@dataclass(slots=True)
class Waiting:
    """How many online calls of this process wait for a slot."""

    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The long-lived things of one process."""

    settings: Settings
    database: Database
    hosts: tuple[Host, ...]
    """The Ollama hosts that work goes to, one at least, in the order of the settings."""
    signals: Signals
    own_workers: dict[str, OwnWorker] = field(default_factory=dict[str, OwnWorker])
    """The workers of this process by their ids; of hosts `hosts` tells more than they report."""
    last_stats: LastStats = field(default_factory=LastStats)
    known_keys: KnownKeys = field(default_factory=KnownKeys)
    attempts: Attempts = field(default_factory=Attempts)
    streams: OpenStreams = field(default_factory=OpenStreams)
    last_forecast: LastForecast = field(default_factory=LastForecast)
    snapshots: Snapshots = field(default_factory=Snapshots)

    online: Waiting = field(default_factory=Waiting)

    @property
    def host(self) -> Host:
        """The first host."""
        return self.hosts[0]

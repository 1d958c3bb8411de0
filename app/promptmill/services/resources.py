"""Resources of a process: opened once by `runtime`, and passed to every service function."""

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
    """Time of the last read of the database's gauges; kept by `services.monitoring.gauges`."""

    fresh_until: float = 0.0
    """Monotonic seconds."""


@dataclass(slots=True)
class KnownKeys:
    """The API keys as they were last read from the database; kept by `services.access.keys`."""

    by_id: Mapping[str, ApiKey] = field(default_factory=dict[str, ApiKey])
    exist: bool = False
    """Whether any key has existed since the start."""
    read_at_ms: int = 0
    """The database's clock when they were read."""
    read_at: float | None = None
    """The same moment in monotonic seconds; None before the first time."""
    uses: dict[str, float] = field(default_factory=dict[str, float])
    """Monotonic seconds at which the use of each key was last noted."""


@dataclass(slots=True, kw_only=True)
class OwnWorker:
    """The state of a worker of this process, for `/health` and `/ready`."""

    last_exchange_at: Callable[[], float]
    """Monotonic seconds at which the dispatcher last had nothing left to record."""
    ended: str | None = None
    """Sentence with the role that has ended, after which the worker does not work."""
    outdated: str | None = None
    """Sentence with the reason why the worker begins no more work: another schema version."""


@dataclass(slots=True)
class Waiting:
    """Number of online calls of this process that wait for a slot."""

    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Long-lived objects of one process."""

    settings: Settings
    database: Database
    hosts: tuple[Host, ...]
    """Ollama hosts that work goes to, at least one, in the order of the settings."""
    signals: Signals
    own_workers: dict[str, OwnWorker] = field(default_factory=dict[str, OwnWorker])
    """Workers of this process by id; for them `hosts` is more current than their reports."""
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

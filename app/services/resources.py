"""What the use cases work with: opened once by `app.runtime`, handed to every function here."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.domain.forecast import Forecast
from app.ollama.hosts import Host
from app.services.signals import Signals
from app.settings import Settings
from app.store.database import Database


@dataclass(slots=True)
class LastForecast:
    """What forecasts were made of last; kept by `app.services.forecasts`."""

    forecast: Forecast | None = None
    fresh_until: float = 0.0
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The long-lived things of one process."""

    settings: Settings
    database: Database
    hosts: tuple[Host, ...]
    """The Ollama hosts that work goes to, one at least, in the order of the settings."""
    signals: Signals
    own_workers: set[str] = field(default_factory=set[str])
    """Ids of the workers of this process: `hosts` tells more than what they report."""
    last_forecast: LastForecast = field(default_factory=LastForecast)

    @property
    def host(self) -> Host:
        """The first host."""
        return self.hosts[0]

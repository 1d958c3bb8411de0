"""What the use cases work with: opened once by `app.runtime`, handed to every function here."""

from __future__ import annotations

from dataclasses import dataclass

from app.ollama.hosts import Host
from app.services.signals import Signals
from app.settings import Settings
from app.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The long-lived things of one process."""

    settings: Settings
    database: Database
    hosts: tuple[Host, ...]
    """The Ollama hosts that work goes to, one at least, in the order of the settings."""
    signals: Signals

    @property
    def host(self) -> Host:
        """The first host."""
        return self.hosts[0]

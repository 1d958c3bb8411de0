"""What the use cases work with: opened once by `app.runtime`, handed to every function here."""

from __future__ import annotations

from dataclasses import dataclass

from app.ollama.hosts import Host
from app.services.signals import Signals
from app.settings import Settings
from app.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The long-lived things of one process; `host` is the Ollama server that work goes to."""

    settings: Settings
    database: Database
    host: Host
    signals: Signals

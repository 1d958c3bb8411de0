"""Log lines about hosts: quarantines, usage limits, and their ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from promptmill.observability.logs import get_logger
from promptmill.ollama.hosts import Host

_BACK_S = 10.0
"""Seconds without work for which a host must stay available to count as back."""


class HostLog:
    """Comparison of a host's state with what was logged about it.

    A host that comes back and fails again at once, as a busy one does every few seconds, is logged
    once: only a successful call, or a period without failures, ends the failure.
    """

    def __init__(self, host: Host, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._host = host
        self._clock = clock
        self._log = get_logger()
        self._told = False
        self._troubled_at = 0.0
        self._limited: set[str] = set()

    def note(self) -> None:
        """Log changes of the state."""
        self._note_health()
        self._note_limits()

    def _note_health(self) -> None:
        health, now = self._host.health, self._clock()
        if health.trouble is not None:
            self._troubled_at = now
            if not self._told:
                self._told = True
                self._log.warning(
                    f"A host is set aside. {health.trouble.message}",
                    action="host_aside",
                    host=self._host.url,
                    error_code=health.trouble.code.value,
                )
        elif self._told and (not health.on_trial or now - self._troubled_at >= _BACK_S):
            self._told = False
            self._log.info("A host is back.", action="host_back", host=self._host.url)

    def _note_limits(self) -> None:
        standing = self._host.limits.standing
        for model in standing.keys() - self._limited:
            limit = standing[model]
            wait = timedelta(seconds=max(-self._host.seconds_since(limit.until), 0.0))
            self._log.warning(
                f"A model waits at a host. {limit.failed.message}",
                action="model_limited",
                host=self._host.url,
                model=model,
                until=(datetime.now(UTC) + wait).isoformat(timespec="seconds"),
            )
        for model in self._limited - standing.keys():
            self._log.info(
                "A model that waited at a host is answered again.",
                action="model_back",
                host=self._host.url,
                model=model,
            )
        self._limited = set(standing)

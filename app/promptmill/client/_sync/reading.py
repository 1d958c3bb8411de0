# Generated from _async/reading.py by scripts/sync_client.py: change that file instead.
"""What the synchronous client reads beyond batches and their results."""

from __future__ import annotations

from typing import Literal

from promptmill.client._sync.connection import Connection
from promptmill.client.reading_records import (
    Stats,
    Summary,
    Throughput,
    WaitingPrompt,
    WholePrompt,
)
from promptmill.client.requests import reading


class Reading(Connection):
    """The part of `Promptmill` that reads single prompts, summaries and the whole service."""

    def prompts(
        self, batch_id: str, *, state: Literal["running", "pending"] = "running", limit: int = 100
    ) -> tuple[WaitingPrompt, ...]:
        """Prompts that run, with host and worker, or those that will start next."""
        return self._call(reading.waiting_prompts(batch_id, state=state, limit=limit))

    def prompt(self, batch_id: str, index: int) -> WholePrompt:
        """One prompt whole, with its result if there is one."""
        return self._call(reading.one_prompt(batch_id, index))

    def summary(self, batch_id: str) -> Summary:
        """The course of a batch, percentiles, shares, failures by cause."""
        return self._call(reading.summary(batch_id))

    def stats(self) -> Stats:
        """The service at a glance: what waits, runs and works, and what needs a hand."""
        return self._call(reading.stats())

    def throughput(
        self,
        *,
        window: Literal["15m", "1h", "6h", "24h", "72h", "30d", "365d"] = "1h",
        by: Literal["none", "model", "host"] = "none",
    ) -> Throughput:
        """What calls came to over the window, of everything or by model or host."""
        return self._call(reading.throughput(window, by))

"""What the client for ordinary code reads beyond batches and their results."""

from __future__ import annotations

from typing import Literal, TypeVar

from promptmill.client.reading_records import Stats, Summary, WaitingPrompt, WholePrompt
from promptmill.client.requests import reading
from promptmill.client.requests.batches import Request

T = TypeVar("T")


class Reading:
    """A part of `Promptmill`."""

    def _call(self, request: Request[T]) -> T:
        raise NotImplementedError

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

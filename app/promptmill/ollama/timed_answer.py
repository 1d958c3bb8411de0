"""Answer that records the times of its lines.

Separate from `Answer`, so that prompts of batches, whose lines are not timed, do not pay for it.
"""

from __future__ import annotations

from typing import Any

from promptmill.domain.benchmarks.timeline import Timeline
from promptmill.ollama.answer import Answer


class TimedAnswer(Answer):
    """Answer that fills in a timeline as it arrives."""

    __slots__ = ("_now", "_timeline")

    def __init__(self, timeline: Timeline, *, chat: bool) -> None:
        super().__init__(chat=chat)
        self._timeline = timeline
        self._now = 0.0

    def feed(self, chunk: bytes, now: float) -> bool:
        """Feed the next bytes, read at `now`; return whether the rest is irrelevant."""
        self._now = now
        over = super().feed(chunk, now)
        self._timeline.done_at = self.done_at
        return over

    def end(self, now: float) -> None:
        """Note the end of the response."""
        self._now = now
        super().end(now)
        self._timeline.done_at = self.done_at

    def _take(self, item: Any) -> None:  # noqa: ANN401 - as in `Answer`: checked by using it
        answered, thought = len(self._texts), len(self._thoughts)
        super()._take(item)
        timeline = self._timeline
        if item.get("remote_host") or item.get("remote_model"):
            timeline.remote = True
        if answered == len(self._texts) and thought == len(self._thoughts):
            return
        timeline.chunk_times.append(self._now)
        if timeline.first_text_at is None:
            timeline.first_text_at = self._now
        if timeline.first_answer_at is None and self._texts:
            timeline.first_answer_at = self._now

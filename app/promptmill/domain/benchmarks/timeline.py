"""Timeline of one answer: the measurements of a call that its outcome does not have.

A chunk is one line of the stream with text in it, neither a token nor a read from the network.
Lines of one read share its time.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Timeline:
    """Moments of one call, filled in while it runs; each call needs a new timeline.

    Times are monotonic seconds of the client's clock; only their differences have a meaning. A time
    is None until it is reached, and stays None if the call ends before.
    """

    sent_at: float | None = None
    """Moment at which the request was sent; None if the call could not be written as a request."""
    first_text_at: float | None = None
    """Moment of the first text of any kind, thinking included."""
    first_answer_at: float | None = None
    """Moment of the first text of the answer itself, without thinking."""
    chunk_times: list[float] = field(default_factory=list[float])
    """Moments of all chunks, thinking included, in their order."""
    done_at: float | None = None
    """Moment of `done: true`; None if it did not arrive."""
    remote: bool = False
    """Whether another server made the answer, to which the host forwards calls for this model."""

    @property
    def ttft_s(self) -> float | None:
        """Seconds to the first text of any kind; None without text."""
        return self._since_sent(self.first_text_at)

    @property
    def ttfo_s(self) -> float | None:
        """Seconds to the first text of the answer itself; None without text."""
        return self._since_sent(self.first_answer_at)

    def _since_sent(self, moment: float | None) -> float | None:
        return None if moment is None or self.sent_at is None else moment - self.sent_at

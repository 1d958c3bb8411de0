"""When the pieces of one answer came: what a benchmark needs to know of a call beyond its outcome.

The one rule to know: a chunk is one line of the stream with text in it, neither a token nor a read
from the network. Lines that came in one read share its time.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Timeline:
    """The moments of one call, filled in while it runs; hand a new one to each call.

    Times are monotonic seconds of the client's clock; only their differences mean something. A time
    is None until it has come, and stays None when the call ends before.
    """

    sent_at: float | None = None
    """When the request was sent; None for a call that could not be written as a request."""
    first_text_at: float | None = None
    """When the first text of any kind came, thinking included."""
    first_answer_at: float | None = None
    """When the first text of the answer itself came, thinking left out."""
    chunk_times: list[float] = field(default_factory=list[float])
    """When each chunk came, thinking included, in their order."""
    done_at: float | None = None
    """When `done: true` came; None for an answer that never said so."""
    remote: bool = False
    """Whether another server made the answer: the host only passes this model's calls on."""

    @property
    def ttft_s(self) -> float | None:
        """Seconds to the first text of any kind; None if none came."""
        return self._since_sent(self.first_text_at)

    @property
    def ttfo_s(self) -> float | None:
        """Seconds to the first text of the answer itself; None if none came."""
        return self._since_sent(self.first_answer_at)

    def _since_sent(self, moment: float | None) -> float | None:
        return None if moment is None or self.sent_at is None else moment - self.sent_at

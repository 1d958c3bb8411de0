"""What the metrics cost a prompt at zero latency: with and without, in turn.

    python -m tests.performance.metrics [--prompts 4000] [--rounds 6] [--database-url postgresql://…]

As `tests.performance.activity`: in every other round a worker counts nothing of what it records.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from promptmill.worker import dispatcher
from tests.performance import activity


@contextmanager
def without() -> Iterator[None]:
    """Nothing that is recorded is counted within the block."""
    with patch.object(dispatcher, "count_recorded", lambda *_, **__: None):
        yield


class Counting(activity.Share):
    """Seconds of the processor that the counting for the metrics takes."""

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Within the block all of it is timed."""
        with patch.object(dispatcher, "count_recorded", self.timed(dispatcher.count_recorded)):
            yield


if __name__ == "__main__":
    activity.main(__doc__, without, Counting())

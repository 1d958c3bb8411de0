"""The recorder: keeps outcomes until a commit has stored them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from promptmill.domain.outcomes import Blame, ErrorCode, Failed
from promptmill.domain.retry import Finish
from promptmill.ollama.text import one_line
from promptmill.store.queue.leases import Completion

_LONGEST_REASON = 200


class Recorder:
    """Outcomes gathered between two commits, so that one commit records many.

    Outcomes are kept until the database has acknowledged them: those of a failed transaction are
    put back, and their slots stay taken.
    """

    def __init__(self, arrived: asyncio.Event) -> None:
        self._arrived = arrived
        self._waiting: list[Completion] = []

    def add(self, completion: Completion) -> None:
        """Add an outcome."""
        self._waiting.append(completion)
        self._arrived.set()

    def take(self, most: int) -> Sequence[Completion]:
        """Take about `most` outcomes, oldest first, for the next transaction.

        The outcomes of one call stay together, because its slot becomes free when all are recorded.
        """
        end = min(most, len(self._waiting))
        while end < len(self._waiting) and not self._waiting[end].lease.takes_slot:
            end += 1
        taken, self._waiting = self._waiting[:end], self._waiting[end:]
        return taken

    def put_back(self, taken: Sequence[Completion]) -> None:
        """Put outcomes of a failed transaction back, before all later ones."""
        self._waiting[:0] = taken

    def __len__(self) -> int:
        return len(self._waiting)


def could_not_be_stored(completion: Completion, error: Exception) -> Completion:
    """Replace an outcome that the database refused by a failure.

    The failure holds nothing of the outcome except the message of the database's driver.
    """
    reason = one_line(str(getattr(error, "orig", None) or type(error).__name__), _LONGEST_REASON)
    failed = Failed(
        code=ErrorCode.COULD_NOT_BE_STORED,
        message=f"The database refused the outcome of the call: {reason}",
        blame=Blame.PROMPT,
    )
    return replace(completion, outcome=failed, decision=Finish())

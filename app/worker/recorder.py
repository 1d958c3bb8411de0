"""Outcomes on their way into the database: kept here until a commit has taken them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from app.store.leases import Completion


class Recorder:
    """Gathers outcomes between two commits, so that one commit records many.

    Nothing is forgotten before the database has acknowledged it: what a failed transaction took
    is put back, and the slots of its prompts stay taken meanwhile.
    """

    def __init__(self, arrived: asyncio.Event) -> None:
        self._arrived = arrived
        self._waiting: list[Completion] = []

    def add(self, completion: Completion) -> None:
        """Hand over an outcome."""
        self._waiting.append(completion)
        self._arrived.set()

    def take(self, most: int) -> Sequence[Completion]:
        """Up to `most` outcomes, the oldest first, for the next transaction."""
        taken, self._waiting = self._waiting[:most], self._waiting[most:]
        return taken

    def put_back(self, taken: Sequence[Completion]) -> None:
        """The transaction failed: its outcomes go before all later ones."""
        self._waiting[:0] = taken

    def __len__(self) -> int:
        return len(self._waiting)

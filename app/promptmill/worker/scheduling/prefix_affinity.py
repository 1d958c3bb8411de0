"""Prefix affinity: which prefix group has its turn at each host.

No prompt waits for its turn: a turn only orders prompts of equal priority, and ends soon while
others wait.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from promptmill.store.queue.leases import Affinity, Lease

TURN_S = 1.0
"""The shortest turn, in seconds."""
TURN_PROMPTS = 8
"""The shortest turn, in prompts."""
_FORGOTTEN_S = 60.0
"""Seconds without a prompt of a prefix group after which claims are made without turns."""


@dataclass(slots=True)
class _Turn:
    group: int
    since: float
    prompts: int = 0


class PrefixTurns:
    """Turns of prefix groups at this worker's hosts.

    All groups have turns while a prefix group has prompts; otherwise it alone would continue where
    others alternate. Without prefix groups there are no turns.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._turns: dict[int, _Turn] = {}
        self._matter_until = 0.0

    @property
    def matter(self) -> bool:
        """Whether a prompt of a prefix group was claimed in the last minute."""
        return self._clock() < self._matter_until

    def affinity(self, host_key: int, *, leave: bool = False) -> Affinity | None:
        """Prefix group to claim first for the host; None without prefix groups.

        `leave` is for a first round over several hosts.
        """
        if not self.matter:
            return None
        turn = self._turns.get(host_key)
        lasts = turn is not None and (
            turn.prompts < TURN_PROMPTS or self._clock() - turn.since < TURN_S
        )
        return Affinity(group=turn.group if turn and lasts else None, leave=leave)

    def note(self, host_key: int, leases: Sequence[Lease]) -> None:
        """Note the prompts that the host was given."""
        now = self._clock()
        for lease in leases:
            if lease.begins_alike:
                self._matter_until = now + _FORGOTTEN_S
            turn = self._turns.get(host_key)
            if turn is None or turn.group != lease.group_key:
                turn = self._turns[host_key] = _Turn(lease.group_key, now)
            turn.prompts += 1

"""Prefix affinity: which prefix group has its turn at each host.

The rule to know: nothing waits for this. A turn only says which of several prompts of equal
priority goes first, and it ends soon while others wait.
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
"""Without a prompt that begins like others for so long, claims are made without turns."""


@dataclass(slots=True)
class _Turn:
    group: int
    since: float
    prompts: int = 0


class PrefixTurns:
    """What this worker gave its hosts last.

    All groups have turns while there is one of prompts that begin alike, or it would be the only
    one that goes on where others alternate. Without any, claims are made as if this did not exist.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._turns: dict[int, _Turn] = {}
        self._matter_until = 0.0

    @property
    def matter(self) -> bool:
        """Whether some prompts began alike in the last minute."""
        return self._clock() < self._matter_until

    def affinity(self, host_key: int, *, leave: bool = False) -> Affinity | None:
        """What is to be claimed first for the host; None where nothing begins alike.

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
        """The host was given these prompts."""
        now = self._clock()
        for lease in leases:
            if lease.begins_alike:
                self._matter_until = now + _FORGOTTEN_S
            turn = self._turns.get(host_key)
            if turn is None or turn.group != lease.group_key:
                turn = self._turns[host_key] = _Turn(lease.group_key, now)
            turn.prompts += 1

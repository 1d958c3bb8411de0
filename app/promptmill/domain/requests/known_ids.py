"""Detection of ids that occur twice among the prompts of a batch."""

from __future__ import annotations

import hashlib
import secrets
from array import array
from typing import Final, Protocol

_SHARDS: Final = 256
_FIRST_SLOTS: Final = 16


class KnownIds(Protocol):
    """The ids of the prompts so far."""

    def clash(self, custom_id: str, index: int) -> str | None:
        """Add an id; if another prompt has it already, return the sentence that reports that."""
        ...


class IdsByName:
    """Whole ids with their prompts, for batches that are in memory anyway."""

    def __init__(self) -> None:
        self._index_of: dict[str, int] = {}

    def clash(self, custom_id: str, index: int) -> str | None:
        """Add an id; if another prompt has it already, return the sentence that reports that."""
        other = self._index_of.setdefault(custom_id, index)
        return None if other == index else f"is already the id of prompt {other}"


class IdsByHash:
    """Eight bytes of each id, for batches of any size: 16 to 32 MB for a million ids.

    The hash has a secret key, so that nobody can construct two ids with the same hash. By chance
    that happens to one batch of 10 million ids in 300,000.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(16)
        # Many small tables, because growing a large table blocks for long.
        self._shards = [_HashSet() for _ in range(_SHARDS)]

    def clash(self, custom_id: str, index: int) -> str | None:
        """Add an id; if another prompt has it already, return the sentence that reports that."""
        del index
        digest = hashlib.blake2b(custom_id.encode(), digest_size=8, key=self._key).digest()
        is_new = self._shards[digest[0]].add(int.from_bytes(digest, "little") or 1)
        return None if is_new else "is already the id of a prompt above"


class _HashSet:
    """Set of 64-bit numbers other than 0, in a flat array with open addressing.

    Python's own set takes 66 bytes and more for each.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * _FIRST_SLOTS))
        self._count = 0

    def add(self, number: int) -> bool:
        """Add a number; False if it was in the set."""
        if self._count * 3 >= len(self._slots) * 2:
            self._grow()
        place = self._place_of(number)
        if self._slots[place] == number:
            return False
        self._slots[place] = number
        self._count += 1
        return True

    def _place_of(self, number: int) -> int:
        slots = self._slots
        mask = len(slots) - 1
        # The lowest byte is the same for the whole shard.
        place = (number >> 8) & mask
        while slots[place] and slots[place] != number:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        numbers = self._slots
        self._slots = array("Q", bytes(16 * len(numbers)))
        for number in numbers:
            if number:
                self._slots[self._place_of(number)] = number

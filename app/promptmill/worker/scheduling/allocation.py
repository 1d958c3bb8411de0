"""Where this worker's calls can run: the Ollama hosts, and what each may be given."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from promptmill.ollama.hosts import Host
from promptmill.store.queue.leases import HostShare


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A host and its row in the database."""

    host: Host
    share: HostShare


@dataclass(slots=True)
class Ask:
    """How many calls are still to be asked for at a place."""

    place: Place
    wanted: int
    held: int
    """Calls that are there already."""
    freed: int = 0
    """Slots there that the transaction under way has freed and not filled again."""
    exhausted: bool = False
    """Whether the last claim there brought less than was asked for."""

    @property
    def fullness(self) -> float:
        """The share of its slots that is taken; without slots, the calls."""
        return self.held / (self.place.share.slots or 1)

    def take(self, number: int) -> None:
        """Note what was claimed."""
        self.wanted -= number
        self.held += number
        self.freed -= number


_STEPS = (1, 1, 2, 4, 8)


def in_steps(asked: Sequence[Ask], *, plenty: bool = False) -> Iterator[tuple[Ask, int]]:
    """Whom to ask next for how many; the caller notes what came of it.

    The emptiest place first, in small steps that grow: a batch that runs few at a time is then
    spread over all places, and one that runs many takes few claims. Where there is `plenty` of
    work each place is asked once for all that it is to have.
    """
    steps = {ask.place.share.key: iter(_STEPS) for ask in asked}
    for ask in asked:
        ask.exhausted = False
    while able := [ask for ask in asked if ask.wanted > 0 and not ask.exhausted]:
        ask = min(able, key=lambda ask: ask.fullness)
        step = next(steps[ask.place.share.key], _STEPS[-1])
        yield ask, ask.wanted if plenty or len(asked) == 1 else min(step, ask.wanted)


def spread(wanted: int, places: Sequence[Place], in_flight: Mapping[int, int]) -> dict[int, int]:
    """How many calls to ask for at each place, so that all are about equally full.

    A place without slots is taken to be as large as any; one that is full gets none.
    """
    asked = {place.share.key: 0 for place in places}
    if len(places) == 1:
        return {places[0].share.key: wanted}
    heap = [
        (in_flight.get(place.share.key, 0) / (place.share.slots or 1), place.share.key)
        for place in places
    ]
    heapq.heapify(heap)
    slots = {place.share.key: place.share.slots for place in places}
    for _ in range(wanted):
        if not heap:
            break
        _, key = heap[0]
        asked[key] += 1
        most = slots[key]
        taken = in_flight.get(key, 0) + asked[key]
        if most is not None and taken >= most:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (taken / (most or 1), key))
    return asked

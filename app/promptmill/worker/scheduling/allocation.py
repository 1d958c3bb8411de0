"""Host allocation: how many calls a worker claims at each of its hosts."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from promptmill.ollama.hosts import Host
from promptmill.store.queue.leases import HostShare


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHost:
    """Host of this worker, with its row in the database."""

    host: Host
    share: HostShare


@dataclass(slots=True)
class Allocation:
    """Calls that are still to be claimed at a host."""

    place: WorkerHost
    wanted: int
    held: int
    """Calls in flight at the host."""
    freed: int = 0
    """Slots of the host that the present transaction has freed and not filled again."""
    exhausted: bool = False
    """Whether the last claim at the host returned fewer prompts than wanted."""
    is_short: bool = False
    """Whether the last claim at the host returned fewer prompts than there was room for."""
    passed_over: bool = False
    """Whether the host has free slots at which another worker was claiming."""

    @property
    def fullness(self) -> float:
        """The share of the host's slots in use; without a limit, the number of calls."""
        return self.held / (self.place.share.slots or 1)

    def take(self, number: int) -> None:
        """Subtract claimed calls."""
        self.wanted -= number
        self.held += number
        self.freed -= number


_STEPS = (1, 1, 2, 4, 8)


def in_steps(
    asked: Sequence[Allocation], *, plenty: bool = False
) -> Iterator[tuple[Allocation, int]]:
    """Yield the next host and number to claim, until all is claimed; the caller notes the result.

    The emptiest host comes first, in small steps that grow, so that few calls are spread over all
    hosts, and many calls take few claims. With `plenty` of work each host is claimed at once for
    all its calls.
    """
    steps = {ask.place.share.key: iter(_STEPS) for ask in asked}
    for ask in asked:
        ask.exhausted = False
    while able := [ask for ask in asked if ask.wanted > 0 and not ask.exhausted]:
        ask = min(able, key=lambda ask: ask.fullness)
        step = next(steps[ask.place.share.key], _STEPS[-1])
        yield ask, ask.wanted if plenty or len(asked) == 1 else min(step, ask.wanted)


def allocate(
    wanted: int, places: Sequence[WorkerHost], in_flight: Mapping[int, int]
) -> dict[int, int]:
    """Divide calls among hosts so that all hosts are about equally full.

    A host without a limit of slots counts as large as any; a full host gets none.
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

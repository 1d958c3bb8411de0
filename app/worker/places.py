"""Where this worker's calls can run: the Ollama hosts, and what each may be given."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.ollama.hosts import Host
from app.store.leases import HostShare


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A host and its row in the database."""

    host: Host
    share: HostShare


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

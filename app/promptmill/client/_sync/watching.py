# Generated from _async/watching.py by scripts/sync_client.py: change that file instead.
"""Polling of a batch or benchmark until it has ended, through outages of the service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from promptmill.client.errors import PromptmillError, WaitTimeout
from promptmill.client.judgement import Outage, Patience, long_polls
from promptmill.contract.batches import Batch
from promptmill.display.texts import numbers


class Ending(Protocol):
    """Batch or benchmark that is polled until it has ended."""

    @property
    def has_ended(self) -> bool:
        """Whether the state is final."""
        ...


W = TypeVar("W", bound=Ending)


def watched(
    get: Callable[[float], W],
    *,
    every_s: float,
    timeout_s: float | None,
    reconnect_s: float,
) -> Iterator[W | Outage]:
    """Yield the results of `get`, which takes the seconds of a long poll, until the last has ended.

    Polling stops after `timeout_s`. While the service cannot be reached, an `Outage` is yielded and
    `get` repeated, for at most `reconnect_s`; then its error is raised.
    """
    patience = Patience(reconnect_s)
    for wait_s in long_polls(every_s, timeout_s, time.monotonic):
        try:
            seen = get(wait_s)
        except PromptmillError as error:
            pause_s = patience.pause_s(error, time.monotonic())
            if pause_s is None:
                raise
            yield Outage(error)
            time.sleep(pause_s)
            continue
        patience.answered()
        yield seen
        if seen.has_ended:
            return


def shown(sightings: Iterator[Batch | Outage]) -> Iterator[Batch | Outage]:
    """Pass on the sightings of a batch, and show its progress meanwhile."""
    from promptmill.display.progress import display_here  # noqa: PLC0415 - only when asked for

    batch_id, is_away = "", False
    with display_here() as display:
        try:
            for sighting in sightings:
                if isinstance(sighting, Outage):
                    if not is_away:
                        display.note(f"Lost the service ({sighting.error}); trying again …")
                else:
                    counts, batch_id = sighting.counts, sighting.id
                    told = numbers(sighting)
                    display.draw(sighting.status, counts.finished, counts.total, told)
                is_away = isinstance(sighting, Outage)
                yield sighting
        except KeyboardInterrupt:
            display.note(f"The batch goes on; wait({batch_id!r}) continues to wait for it.")
            raise


def ended(sightings: Iterator[W | Outage], what: str, timeout_s: float | None) -> W:
    """Return the last sighting.

    Raises:
        WaitTimeout: The batch or benchmark had not ended after `timeout_s`.
    """
    for sighting in sightings:
        if not isinstance(sighting, Outage) and sighting.has_ended:
            return sighting
    raise WaitTimeout(f"{what} had not ended after {timeout_s:g} s")

"""The loop of every background role: run once, then wait for a wakeup or some time."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable

from promptmill.domain.errors import Unavailable
from promptmill.observability.logs import get_logger
from promptmill.observability.metrics import ROLE_FAILURES

_PAUSE_AFTER_ERROR_S = 1.0
_TOLD_FOR_S = 60.0
"""Seconds for which a repeated error of a role is counted and not logged again."""


async def repeat(name: str, run_once: Callable[[], Awaitable[float]], wake: asyncio.Event) -> None:
    """Call `run_once` for ever; it returns the seconds until its next call.

    Setting `wake` calls it sooner. An error outside (the database away, the disk full) is logged
    and pauses the role without ending it; so does a bug, because ending would stop all work.
    """
    log = get_logger()
    told = ToldErrors()
    while True:
        wake.clear()
        try:
            wait_s = await run_once()
        except Exception as error:
            ROLE_FAILURES.labels(name).inc()
            repeats = told.repeats_before(error)
            if repeats is None:
                pass
            elif isinstance(error, Unavailable):
                log.warning(str(error), action="role_paused", role=name, repeats=repeats)
            else:
                log.exception(
                    "A background role failed and will be run again.",
                    action="role_failed",
                    role=name,
                    repeats=repeats,
                )
            wait_s = _PAUSE_AFTER_ERROR_S
            wake.clear()
        if wait_s > 0:
            await wait_for(wake, wait_s)


class ToldErrors:
    """The errors logged in the last minute; a repeated one is counted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives monotonic seconds."""
        self._clock = clock
        self._told: dict[object, tuple[float, int]] = {}

    def repeats_before(self, error: Exception) -> int | None:
        """Repetitions since the error was last logged; None if it is not to be logged now."""
        now, key = self._clock(), _kind_of(error)
        told_at, repeats = self._told.get(key, (-_TOLD_FOR_S, 0))
        if now - told_at < _TOLD_FOR_S:
            self._told[key] = told_at, repeats + 1
            return None
        self._told = {
            other: told for other, told in self._told.items() if now - told[0] < _TOLD_FOR_S
        }
        self._told[key] = now, 0
        return repeats


def _kind_of(error: Exception) -> object:
    """Identity of an error: the message of an error outside, the place of a bug."""
    if isinstance(error, Unavailable):
        return str(error)
    stack = traceback.walk_tb(error.__traceback__)
    return type(error), tuple((frame.f_code, line) for frame, line in stack)


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait until the event is set; False if the time is up."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True

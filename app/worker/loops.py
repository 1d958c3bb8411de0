"""The loop around every background role: run once, then wait for a wake-up or some time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.domain.errors import Unavailable
from app.observability.logs import get_logger

_PAUSE_AFTER_ERROR_S = 1.0


async def repeat(name: str, run_once: Callable[[], Awaitable[float]], wake: asyncio.Event) -> None:
    """Call `run_once` for ever; it answers after how many seconds it wants to be called again.

    Setting `wake` calls it sooner. A fault outside (the database away, the disk full) pauses the
    role and is logged, it does not end it; neither does a bug, which would stop everybody's work.
    """
    log = get_logger()
    while True:
        wake.clear()
        try:
            wait_s = await run_once()
        except Unavailable as error:
            log.warning(str(error), action="role_paused", role=name)
            wait_s = _PAUSE_AFTER_ERROR_S
            wake.clear()
        except Exception:
            log.exception(
                "A background role failed and will be run again.", action="role_failed", role=name
            )
            wait_s = _PAUSE_AFTER_ERROR_S
            wake.clear()
        if wait_s > 0:
            await wait_for(wake, wait_s)


async def wait_for(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait until the event is set; False when it was not in time."""
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True

"""Measurement of how late this process's event loop runs its timers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from typing import Final

from promptmill.observability.metrics import LOOP_LAG

_EVERY_S: Final = 0.5


@contextlib.asynccontextmanager
async def measuring_lag() -> AsyncGenerator[None, None]:
    """Measure the event loop's lag while the block runs."""
    measuring = asyncio.create_task(_measure(), name="event-loop-lag")
    try:
        yield
    finally:
        measuring.cancel()


async def _measure() -> None:
    while True:
        due = time.monotonic() + _EVERY_S
        await asyncio.sleep(_EVERY_S)
        LOOP_LAG.observe(max(time.monotonic() - due, 0.0))

"""Snapshots: values that are shown to many readers, and read once for all of them.

A reader within the age of a snapshot gets that snapshot, and only one request at a time makes a new
one, so that open pages cost neither the database nor a host.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")
_MOST_KEPT: Final = 256


class Snapshots:
    """Values by name, each with the time at which it was made."""

    def __init__(self) -> None:
        self._kept: dict[object, tuple[float, Any]] = {}
        self._locks: dict[object, asyncio.Lock] = {}
        self._next: dict[object, asyncio.Future[Any]] = {}
        self._running: dict[object, asyncio.Future[Any]] = {}

    def forget(self, *names: object) -> None:
        """Drop the values, so that they are made again at their next use."""
        for name in names:
            self._kept.pop(name, None)

    async def shared(self, name: object, age_s: float, make: Callable[[], Awaitable[T]]) -> T:
        """Value of a name, made again if it is older than `age_s`."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            made_at, value = self._kept.get(name, (-age_s - 1.0, None))
            if time.monotonic() - made_at > age_s:
                value = await make()
                self._kept.pop(name, None)  # Reinserted, to keep the order of making.
                self._kept[name] = time.monotonic(), value
            while len(self._kept) > _MOST_KEPT:
                oldest = next(iter(self._kept))
                del self._kept[oldest]
                self._locks.pop(oldest, None)
            return value

    async def begun_after(self, name: object, make: Callable[[], Awaitable[T]]) -> T:
        """The value of that name as it is after this call, made once for all who ask meanwhile.

        Whoever asks while the value is being made gets the next one: the one under way may be older
        than what the caller knows to have changed.
        """
        waiting = self._next.get(name)
        if waiting is None:
            waiting = asyncio.ensure_future(self._make_next(name, make))
            self._next[name] = waiting
        return await asyncio.shield(waiting)

    async def _make_next(self, name: object, make: Callable[[], Awaitable[T]]) -> T:
        if (running := self._running.get(name)) is not None:
            await asyncio.wait([running])
        this = self._running[name] = self._next.pop(name)
        try:
            return await make()
        finally:
            if self._running.get(name) is this:
                del self._running[name]

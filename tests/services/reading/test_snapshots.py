"""Values that are made once for all who ask: those of an age, and those begun after the asking."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.services.reading.snapshots import Snapshots


class Source:
    """Makes values that count how often they were made; each waits until it is let go."""

    def __init__(self) -> None:
        self.made = 0
        self.go = asyncio.Event()

    async def make(self) -> int:
        self.made += 1
        number = self.made
        await self.go.wait()
        return number


async def asked(snapshots: Snapshots, source: Source, times: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(snapshots.begun_after("x", source.make)) for _ in range(times)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_whoever_asks_while_a_value_is_made_gets_the_next_one() -> None:
    snapshots, source = Snapshots(), Source()
    first = await asked(snapshots, source, 3)
    later = await asked(snapshots, source, 20)
    assert source.made == 1
    source.go.set()
    assert await asyncio.gather(*first) == [1, 1, 1]
    assert set(await asyncio.gather(*later)) == {2}
    assert await snapshots.begun_after("x", source.make) == 3


async def test_one_that_gives_up_takes_the_value_from_nobody() -> None:
    snapshots, source = Snapshots(), Source()
    one, other = await asked(snapshots, source, 2)
    one.cancel()
    source.go.set()
    assert await other == 1


async def test_an_error_is_everybodys_and_is_not_kept() -> None:
    snapshots = Snapshots()

    async def fail() -> int:
        raise ValueError("away")

    async def work() -> int:
        return 7

    for _ in range(2):
        with pytest.raises(ValueError, match="away"):
            await snapshots.begun_after("x", fail)
    assert await snapshots.begun_after("x", work) == 7

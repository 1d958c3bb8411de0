"""The loop around a role: it goes on whatever happens, and says so once a minute."""

from __future__ import annotations

import asyncio

import structlog

from promptmill.domain.errors import Unavailable
from promptmill.worker.loops import ToldErrors, repeat


class Failing:
    """A role that fails each time, in the way that is its turn; it wakes itself at once."""

    def __init__(self, *errors: Exception) -> None:
        self._left = list(errors)
        self.wake = asyncio.Event()
        self.through = asyncio.Event()

    async def run_once(self) -> float:
        if not self._left:
            self.through.set()
            return 60.0
        asyncio.get_running_loop().call_soon(self.wake.set)
        raise self._left.pop(0)


async def told_of(*errors: Exception) -> list[tuple[str, str]]:
    """What the log says of a role in which these errors come one after another."""
    failing = Failing(*errors)
    with structlog.testing.capture_logs() as logs:
        role = asyncio.create_task(repeat("closer", failing.run_once, failing.wake))
        await failing.through.wait()
        role.cancel()
        await asyncio.wait({role})
    return [(line["action"], line["event"]) for line in logs]


async def test_a_role_that_fails_again_and_again_is_told_of_once() -> None:
    told = await told_of(*[ValueError(f"row {number} is odd") for number in range(20)])

    assert [action for action, _ in told] == ["role_failed"]


async def test_a_fault_outside_is_told_of_once_for_each_of_its_reasons() -> None:
    away, full = [Unavailable("away")] * 5, [Unavailable("full")] * 5

    told = await told_of(*away, *full, *away)

    assert told == [("role_paused", "away"), ("role_paused", "full")]


def failure_at(place: int) -> Exception:
    """An error that was raised at one of two places."""
    try:
        if place:
            int("one")
        int("two")
    except ValueError as error:
        return error
    raise AssertionError


def test_after_a_minute_an_error_is_told_again_with_the_number_of_its_repeats() -> None:
    now = 100.0
    told = ToldErrors(lambda: now)
    assert told.repeats_before(failure_at(0)) == 0
    assert [told.repeats_before(failure_at(0)) for _ in range(59)] == [None] * 59
    assert told.repeats_before(failure_at(1)) == 0, "another error"

    now += 60

    assert told.repeats_before(failure_at(0)) == 59
    assert told.repeats_before(failure_at(0)) is None

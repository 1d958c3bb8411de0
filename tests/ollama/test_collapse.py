"""Which failures are of a single call, and which are of what ran several."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome, Succeeded
from promptmill.ollama.failures.collapse import Flights

OK = Succeeded(response="x")
BROKEN = Failed(code=ErrorCode.SERVER_ERROR, message="500", blame=Blame.ATTEMPT)
WRONG = Failed(code=ErrorCode.INVALID_REQUEST, message="400", blame=Blame.PROMPT)
LATE = replace(BROKEN, code=ErrorCode.TIMEOUT)
REFUSED = Failed(code=ErrorCode.HOST_UNREACHABLE, message="refused", blame=Blame.HOST)


class Host:
    """Calls whose ends are told from outside."""

    def __init__(self) -> None:
        self.flights = Flights()
        self._ends: dict[str, asyncio.Future[Outcome]] = {}
        self._calls: dict[str, asyncio.Task[bool]] = {}

    async def begin(self, *names: str, model: str = "tiny") -> None:
        for name in names:
            self._ends[name] = asyncio.get_running_loop().create_future()
            self._calls[name] = asyncio.create_task(self._run(name, model))
        await asyncio.sleep(0)

    async def _run(self, name: str, model: str) -> bool:
        with self.flights.begin(model) as flight:
            return await flight.fell_with_others(await self._ends[name])

    async def end(self, **outcomes: Outcome) -> None:
        for name, outcome in outcomes.items():
            self._ends[name].set_result(outcome)
            await asyncio.sleep(0)

    async def give_up(self, name: str) -> None:
        self._calls[name].cancel()
        await asyncio.wait([self._calls[name]])

    async def fell(self, *names: str) -> list[bool]:
        return await asyncio.gather(*(self._calls[name] for name in names))


@pytest.fixture
def host() -> Host:
    return Host()


async def test_calls_that_fail_together_fell_with_what_ran_them(host: Host) -> None:
    await host.begin("a", "b", "c")
    await host.end(a=BROKEN, b=replace(BROKEN, code=ErrorCode.INCOMPLETE), c=BROKEN)

    assert await host.fell("a", "b", "c") == [True] * 3


async def test_a_call_that_fails_alone_has_itself_to_blame(host: Host) -> None:
    await host.begin("a")
    await host.end(a=BROKEN)

    assert await host.fell("a") == [False]


@pytest.mark.parametrize("other", [OK, WRONG, LATE])
async def test_a_call_that_goes_on_shows_that_nothing_fell(host: Host, other: Outcome) -> None:
    await host.begin("a", "b", "c")
    await host.end(a=BROKEN, b=other, c=BROKEN)

    assert await host.fell("a", "b", "c") == [False] * 3


async def test_a_call_that_is_still_under_way_after_a_moment_shows_it_too(host: Host) -> None:
    await host.begin("a", "b")
    await host.end(a=BROKEN)

    assert await host.fell("a") == [False]
    await host.end(b=BROKEN)
    assert await host.fell("b") == [False], "it was alone by then"


async def test_a_call_that_outlived_a_failure_can_fall_with_others_later(host: Host) -> None:
    await host.begin("a", "b")
    await host.end(a=BROKEN)
    assert await host.fell("a") == [False]

    await host.begin("c")
    await host.end(b=BROKEN, c=BROKEN)

    assert await host.fell("b", "c") == [True, True]


async def test_calls_to_another_model_have_another_process(host: Host) -> None:
    await host.begin("a", "b")
    await host.begin("c", model="small")
    await host.end(a=BROKEN, b=BROKEN, c=OK)

    assert await host.fell("a", "b", "c") == [True, True, False]


async def test_one_model_has_one_process_however_it_is_spelled(host: Host) -> None:
    await host.begin("a", model="tiny")
    await host.begin("b", model="Tiny:latest")
    await host.end(a=BROKEN, b=BROKEN)

    assert await host.fell("a", "b") == [True, True]


async def test_what_never_got_through_or_was_given_up_says_nothing(host: Host) -> None:
    await host.begin("a", "b", "c", "d")
    await host.end(a=BROKEN, c=REFUSED)
    await host.give_up("d")
    await host.end(b=BROKEN)

    assert await host.fell("a", "b", "c") == [True, True, False]


async def test_a_call_that_begins_after_the_failure_is_no_part_of_it(host: Host) -> None:
    await host.begin("a", "b")
    await host.end(a=BROKEN)
    await host.begin("new")
    await host.end(b=BROKEN)

    assert await host.fell("a", "b") == [True, True]
    await host.end(new=OK)
    assert await host.fell("new") == [False]

"""Distinction between the collapse of a model's process or host and the failure of a single call.

Ollama runs the calls to a model in one process. If it or the host goes down, every call in flight
fails at the same moment, whichever was at fault; a call that fails while others continue has only
itself, or chance, to blame.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator

from promptmill.domain.model_names import normalise_model
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome

GRACE_S = 0.25
"""Seconds after the first failure within which the other calls of a dead process fail."""
_COLLAPSES = frozenset({ErrorCode.SERVER_ERROR, ErrorCode.INCOMPLETE, ErrorCode.HOST_UNREACHABLE})
_TURNED_AWAY = frozenset({Blame.HOST, Blame.REFUSAL, Blame.LIMIT})


class Flight:
    """Call that is in flight."""

    __slots__ = ("_all", "collapse")

    def __init__(self, all_of_model: set[Flight]) -> None:
        self._all = all_of_model
        self.collapse: _Collapse | None = None
        """Collapse that the call may be part of."""

    async def fell_with_others(self, outcome: Outcome) -> bool:
        """Whether the call failed together with every other call to its model in flight.

        The result of a failure is delayed by up to `GRACE_S`, to see the fate of the others.
        """
        if isinstance(outcome, Failed) and outcome.blame in _TURNED_AWAY:
            return False  # the call did not reach the host, which is no evidence about the others
        if not _may_be_a_collapse(outcome):
            if self.collapse is not None:
                self.collapse.deny()
            return False
        if self.collapse is None and len(self._all) > 1:
            _Collapse(self._all)
        return False if self.collapse is None else await self.collapse.joined(self)


def _may_be_a_collapse(outcome: Outcome) -> bool:
    return (
        isinstance(outcome, Failed)
        and outcome.blame is Blame.ATTEMPT
        and outcome.code in _COLLAPSES
    )


class _Collapse:
    """Suspected collapse: the calls that were in flight when one of them failed."""

    def __init__(self, flights: set[Flight]) -> None:
        self._standing = {flight for flight in flights if flight.collapse is None}
        self._alone = len(self._standing) == 1
        self._verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for flight in self._standing:
            flight.collapse = self

    def deny(self) -> None:
        """Note that one of the calls did not fail, or not in time."""
        if not self._verdict.done():
            self._verdict.set_result(False)
        for flight in self._standing:
            flight.collapse = None
        self._standing.clear()

    def left(self, flight: Flight) -> None:
        """Note that one of the calls ended without evidence."""
        self._standing.discard(flight)
        self._decide()

    async def joined(self, flight: Flight) -> bool:
        """Note that another call failed; return whether all of them did in the end."""
        self._standing.discard(flight)
        self._decide()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                return await asyncio.shield(self._verdict)
        self.deny()
        return False

    def _decide(self) -> None:
        if not self._standing and not self._verdict.done():
            self._verdict.set_result(not self._alone)


class Flights:
    """Calls of this process in flight at a host."""

    def __init__(self) -> None:
        self._by_model: dict[str, set[Flight]] = {}

    @contextlib.contextmanager
    def begin(self, model: str) -> Generator[Flight]:
        """Count a call to the model as in flight while the block runs."""
        flights = self._by_model.setdefault(normalise_model(model), set())
        flight = Flight(flights)
        flights.add(flight)
        try:
            yield flight
        finally:
            flights.discard(flight)
            if flight.collapse is not None:
                flight.collapse.left(flight)

"""Telling the collapse of a model's process, or of its host, from the failure of a single call.

Ollama runs the calls to a model in one process. When that dies, or the host does, every call that
is in flight fails at the same moment, whichever of them was at fault; and a call that fails while
the others go on has only itself, or bad luck, to blame.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator

from promptmill.domain.model_names import normalise_model
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome

GRACE_S = 0.25
"""So much later than the first of them the calls of a process that died fail at most."""
_COLLAPSES = frozenset({ErrorCode.SERVER_ERROR, ErrorCode.INCOMPLETE, ErrorCode.HOST_UNREACHABLE})
_TURNED_AWAY = frozenset({Blame.HOST, Blame.REFUSAL, Blame.LIMIT})


class Flight:
    """A call that is under way."""

    __slots__ = ("_all", "collapse")

    def __init__(self, all_of_model: set[Flight]) -> None:
        self._all = all_of_model
        self.collapse: _Collapse | None = None
        """The one that it may be part of."""

    async def fell_with_others(self, outcome: Outcome) -> bool:
        """Whether the call failed together with every other one to its model that was in flight.

        A failure waits for up to `GRACE_S` to see what becomes of the others.
        """
        if isinstance(outcome, Failed) and outcome.blame in _TURNED_AWAY:
            return False  # it never got through, which says nothing about the others
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
    """A suspicion: these calls were in flight when one of them failed."""

    def __init__(self, flights: set[Flight]) -> None:
        self._standing = {flight for flight in flights if flight.collapse is None}
        self._alone = len(self._standing) == 1
        self._verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        for flight in self._standing:
            flight.collapse = self

    def deny(self) -> None:
        """One of them did not fail, or not in time."""
        if not self._verdict.done():
            self._verdict.set_result(False)
        for flight in self._standing:
            flight.collapse = None
        self._standing.clear()

    def left(self, flight: Flight) -> None:
        """One of them has ended in a way that says nothing."""
        self._standing.discard(flight)
        self._decide()

    async def joined(self, flight: Flight) -> bool:
        """One of them failed, too; whether all did in the end."""
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
    """The calls of this process that are under way at a host."""

    def __init__(self) -> None:
        self._by_model: dict[str, set[Flight]] = {}

    @contextlib.contextmanager
    def begin(self, model: str) -> Generator[Flight]:
        """A call to the model is under way while the block runs."""
        flights = self._by_model.setdefault(normalise_model(model), set())
        flight = Flight(flights)
        flights.add(flight)
        try:
            yield flight
        finally:
            flights.discard(flight)
            if flight.collapse is not None:
                flight.collapse.left(flight)

"""A host and its state of health: when work goes to it, and when it is left alone.

The one rule to know: only a `Blame.HOST` outcome puts a host aside, and only `probe` takes it back.
What follows from an event is decided purely (`after_call`, `after_probe`); `Host` does the I/O.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from app.domain.calls import Call
from app.domain.outcomes import Blame, ErrorCode, Failed, Outcome
from app.domain.timeline import Timeline
from app.ollama.client import OllamaClient
from app.ollama.errors import OllamaError

_FIRST_REST_S = 0.5
_LONGEST_REST_S = {ErrorCode.SERVER_BUSY: 5.0}
_LONGEST_REST_OTHERWISE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known of a host. Times are seconds of the host's clock."""

    trouble: Failed | None = None
    """Why the host is put aside; None while work goes to it."""
    rests: int = 0
    """Rests since a call last went through; each is twice as long as the one before."""
    rest_until: float = 0.0
    """When a host that is put aside is looked at again."""
    returns: int = 0
    """How often the host came back; tells calls begun before a rest from those begun after."""

    @property
    def available(self) -> bool:
        """Whether work may go to the host."""
        return self.trouble is None


def after_call(health: Health, outcome: Outcome, *, returns_at_start: int, now: float) -> Health:
    """The state after a call that was begun when the host had come back `returns_at_start` times.

    A host that goes down fails all calls that were in flight; they count as one failure. And what
    ends well but was begun before the rest says nothing about the host since.
    """
    if returns_at_start != health.returns or not health.available:
        return health
    if isinstance(outcome, Failed) and outcome.blame is Blame.HOST:
        return _resting(health, outcome, now)
    return health if health.rests == 0 else replace(health, rests=0)


def after_probe(health: Health, trouble: Failed | None, *, now: float) -> Health:
    """The state after a look at a host that was put aside; `trouble` is None if it answered."""
    if trouble is not None:
        return _resting(health, trouble, now)
    # `rests` stays: a host that answers the probe and still takes no work rests longer next time.
    return replace(health, trouble=None, returns=health.returns + 1)


def _resting(health: Health, trouble: Failed, now: float) -> Health:
    longest_s = _LONGEST_REST_S.get(trouble.code, _LONGEST_REST_OTHERWISE_S)
    # The exponent is bounded: a host may be down for days.
    rest_s = min(_FIRST_REST_S * 2 ** min(health.rests, 16), longest_s)
    return replace(health, trouble=trouble, rests=health.rests + 1, rest_until=now + rest_s)


class Host:
    """An Ollama server: its client and its health."""

    def __init__(
        self, client: OllamaClient, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` gives monotonic seconds; the client stays the caller's to close."""
        self.client = client
        self.health = Health()
        self._clock = clock

    @property
    def url(self) -> str:
        """The host's address, its key everywhere."""
        return self.client.base_url

    @property
    def available(self) -> bool:
        """Whether work may go to the host now."""
        return self.health.available

    async def run(self, call: Call, *, timeline: Timeline | None = None) -> Outcome:
        """Send a prompt; a failure that is the host's puts it aside."""
        returns = self.health.returns
        outcome = await self.client.run(call, timeline=timeline)
        self.health = after_call(self.health, outcome, returns_at_start=returns, now=self._clock())
        return outcome

    async def probe(self) -> float:
        """Look at the host if it is put aside and has rested; the seconds until the next look.

        A host that was busy is taken back without asking: that it answers says nothing about the
        length of its queue. Any other is taken back as soon as it tells its version.
        """
        health = self.health
        if health.trouble is None:
            return _FIRST_REST_S
        rest_s = health.rest_until - self._clock()
        if rest_s > 0:
            return rest_s
        trouble = None
        if health.trouble.code is not ErrorCode.SERVER_BUSY:
            try:
                await self.client.version()
            except OllamaError as error:
                trouble = error.failed
        now = self._clock()
        self.health = after_probe(self.health, trouble, now=now)
        return _FIRST_REST_S if trouble is None else self.health.rest_until - now

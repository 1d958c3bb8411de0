"""The state of health of a host: what follows from each event, decided purely.

The one rule to know: a host is put aside by a `Blame.HOST` or `Blame.REFUSAL` outcome, by failures
of several different prompts with no answer between them, or by looks that it does not answer; and
only a probe takes it back. The failures of a single prompt, however often it is tried, say nothing
about a host.
"""

from __future__ import annotations

import json
import statistics
from collections import deque
from dataclasses import dataclass, replace

from promptmill.domain.calls import Call
from promptmill.domain.model_names import normalise_model
from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome, Succeeded

PROMPTS_FAILED_IN_A_ROW = 5
"""So many different prompts that failed, and no answer between them, are the host's failure.

Where one call in five fails by chance, five in a row come once in 3,000 calls, three once in 125.
"""
LOOKS_MISSED_IN_A_ROW = 3
"""So many looks that brought no answer in time; a single one may be a busy machine."""

_FIRST_REST_S = 0.5
_LONGEST_REST_S = {ErrorCode.SERVER_BUSY: 5.0}
_LONGEST_REST_OTHERWISE_S = 10.0
OF_THE_HOST = frozenset(
    {
        ErrorCode.SERVER_ERROR,
        ErrorCode.INCOMPLETE,
        ErrorCode.TIMEOUT,
        ErrorCode.HOST_UNREACHABLE,
    }
)
"""Failures that may be the host's, when they come to many."""
OF_NO_PROMPT = frozenset({Blame.HOST, Blame.REFUSAL, Blame.GATEWAY})
"""Failures that no prompt has to do with: one of them puts the host aside."""
_LATENCIES_KEPT = 64
_MODELS_KEPT = 64


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
    failing: frozenset[int] = frozenset()
    """Fingerprints of the prompts that failed since a call last went through."""
    missed: int = 0
    """Looks in a row that brought no answer."""

    @property
    def available(self) -> bool:
        """Whether work may go to the host."""
        return self.trouble is None

    @property
    def troubled(self) -> bool:
        """Whether something failed since a call last went through."""
        return self.rests > 0 or bool(self.failing)

    @property
    def on_trial(self) -> bool:
        """Whether the host came back and no call has gone through since."""
        return self.trouble is None and self.rests > 0


def after_call(
    health: Health, outcome: Outcome, *, returns_at_start: int, now: float, fingerprint: int = 0
) -> Health:
    """The state after a call that was begun when the host had come back `returns_at_start` times.

    A host that goes down fails all calls that were in flight; they count as one failure. And what
    ends well but was begun before the rest says nothing about the host since. `fingerprint` tells
    prompts apart: the third attempt of one is no third failure.
    """
    if returns_at_start != health.returns:
        return health
    if not health.available:
        # Failures come sooner than answers. Calls that were begun beside those that failed and are
        # answered show that it was no row of failures: this rest goes on, the next is no longer.
        mistaken = isinstance(outcome, Succeeded) and _failed_in_a_row(health)
        return replace(health, rests=0, failing=frozenset()) if mistaken else health
    if isinstance(outcome, Succeeded):
        return replace(health, rests=0, failing=frozenset()) if health.troubled else health
    match outcome.blame:
        case Blame.HOST | Blame.REFUSAL | Blame.GATEWAY:
            return _resting(health, outcome, now)
        case Blame.PROMPT | Blame.LIMIT:
            # Whoever refuses a prompt is there; that prompts are worked on is not shown by it.
            return replace(health, rests=0) if health.rests else health
        case Blame.ATTEMPT | Blame.LOSS:
            return _after_failure(health, outcome, fingerprint, now)


def _failed_in_a_row(health: Health) -> bool:
    return len(health.failing) >= PROMPTS_FAILED_IN_A_ROW


def _after_failure(health: Health, failed: Failed, fingerprint: int, now: float) -> Health:
    if failed.code not in OF_THE_HOST:
        return health
    failing = health.failing | {fingerprint}
    if len(failing) < PROMPTS_FAILED_IN_A_ROW:
        return replace(health, failing=failing)
    # What failed stays noted, until a call goes through: after the rest one failure is enough.
    kept = frozenset(tuple(failing)[:PROMPTS_FAILED_IN_A_ROW])
    return _resting(replace(health, failing=kept), _in_a_row(failed), now)


def after_look(health: Health, trouble: Failed | None, *, now: float) -> Health:
    """The state after a look at the version; `trouble` is None if the host told it.

    A host that nobody can connect to is put aside before it costs a prompt an attempt. A look never
    takes a host back and never makes a rest longer.
    """
    if not health.available:
        return health
    if trouble is None:
        return health if health.missed == 0 else replace(health, missed=0)
    missed = health.missed + 1
    if trouble.blame in OF_NO_PROMPT or missed >= LOOKS_MISSED_IN_A_ROW:
        return _resting(health, trouble, now)
    return replace(health, missed=missed)


def after_probe(health: Health, trouble: Failed | None, *, now: float) -> Health:
    """The state after a look at a host that was put aside; `trouble` is None if it answered."""
    if trouble is not None:
        return _resting(health, trouble, now)
    # `rests` stays: a host that answers the probe and still takes no work rests longer next time.
    return replace(health, trouble=None, returns=health.returns + 1, missed=0)


def _resting(health: Health, trouble: Failed, now: float) -> Health:
    longest_s = _LONGEST_REST_S.get(trouble.code, _LONGEST_REST_OTHERWISE_S)
    # The exponent is bounded: a host may be down for days.
    rest_s = min(_FIRST_REST_S * 2 ** min(health.rests, 16), longest_s)
    return replace(
        health, trouble=trouble, rests=health.rests + 1, rest_until=now + rest_s, missed=0
    )


def _in_a_row(last: Failed) -> Failed:
    words = f"{PROMPTS_FAILED_IN_A_ROW} different prompts failed in a row; the last: {last.message}"
    return Failed(code=last.code, blame=Blame.HOST, message=words)


def counted(outcome: Outcome, call: Call) -> Outcome:
    """The outcome as far as it speaks about the host.

    An answer that was coming when the time of the whole call ran out wanted more of it than its
    batch gives: that is the prompt's own failure.
    """
    metrics = outcome.metrics
    if (
        isinstance(outcome, Failed)
        and outcome.code is ErrorCode.TIMEOUT
        and metrics.ttft_s is not None
        and metrics.latency_s is not None
        and metrics.latency_s >= call.timeout_s - _TIMER_SLACK_S
    ):
        return replace(outcome, blame=Blame.PROMPT)
    return outcome


_TIMER_SLACK_S = 0.05


def fingerprint_of(call: Call) -> int:
    """A number that is the same for every attempt of a prompt, and hardly ever for another one."""
    asked = call.prompt if call.messages is None else json.dumps(call.messages, default=str)
    return hash((call.model, asked, call.texts))


class ModelStatistics:
    """How long the last calls for one model took, without loading it."""

    __slots__ = ("_durations", "answered", "answered_at")

    def __init__(self) -> None:
        self.answered = 0
        """Calls that gave an answer."""
        self.answered_at = 0.0
        """When the last of them ended, by the clock of the host."""
        self._durations: deque[float] = deque(maxlen=_LATENCIES_KEPT)

    def note(self, duration_s: float, now: float) -> None:
        """Count a call that gave an answer."""
        self.answered += 1
        self.answered_at = now
        self._durations.append(duration_s)

    @property
    def call_s(self) -> float:
        """Mean seconds of the last 64: slots divided by it is the throughput."""
        return statistics.fmean(self._durations)


class CallStatistics:
    """How the calls to a host went, since this process started."""

    __slots__ = ("_latencies", "calls", "failed", "models")

    def __init__(self) -> None:
        self.calls = 0
        """Calls that ended, however."""
        self.failed = 0
        """Those of them that gave no answer, and not for a reason of the prompt's own."""
        self.models: dict[str, ModelStatistics] = {}
        """By the one name of each model; the 64 that an answer came from last."""
        self._latencies: deque[float] = deque(maxlen=_LATENCIES_KEPT)

    def note(self, outcome: Outcome, *, model: str, now: float) -> None:
        """Count a call that ended; `now` is by the clock of the host."""
        self.calls += 1
        if isinstance(outcome, Failed):
            self.failed += outcome.blame is not Blame.PROMPT
        elif outcome.metrics.latency_s is not None:
            self._latencies.append(outcome.metrics.latency_s)
            loading_s = (outcome.metrics.load_duration or 0) / 1e9
            self._of(model).note(max(outcome.metrics.latency_s - loading_s, 0.0), now)

    def _of(self, model: str) -> ModelStatistics:
        name = normalise_model(model)
        # Taken out and put back: the last in the dict is the one that answered last.
        found = self.models.pop(name, None) or ModelStatistics()
        self.models[name] = found
        if len(self.models) > _MODELS_KEPT:
            del self.models[next(iter(self.models))]
        return found

    @property
    def latency_s(self) -> float | None:
        """Median seconds of the last 64 calls that gave an answer; None before the first."""
        return statistics.median(self._latencies) if self._latencies else None

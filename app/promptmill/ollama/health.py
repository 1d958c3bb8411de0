"""Health of a host: pure decisions on what follows from each event.

A host is put into quarantine by a `Blame.HOST` or `Blame.REFUSAL` outcome, by failures of several
different prompts without a success between them, or by polls without a response; only a probe takes
it back. The failures of a single prompt, however often it is tried, are no evidence about a host.
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
"""Different prompts that failed in a row, after which the host is at fault.

If one call in five fails by chance, five in a row occur once in 3,000 calls, three once in 125.
"""
LOOKS_MISSED_IN_A_ROW = 3
"""Polls without a response, after which the host is at fault; one may be a busy machine.
"""

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
"""Failures that are the host's if there are many."""
OF_NO_PROMPT = frozenset({Blame.HOST, Blame.REFUSAL, Blame.GATEWAY})
"""Failures that do not depend on the prompt: one of them puts the host into quarantine."""
_LATENCIES_KEPT = 64
_MODELS_KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """State of a host. Times are seconds of the host's clock."""

    trouble: Failed | None = None
    """Failure that put the host into quarantine; None while work goes to it."""
    rests: int = 0
    """Number of rests since the last successful call; each is twice as long as the one before."""
    rest_until: float = 0.0
    """Moment at which a quarantined host is probed again."""
    returns: int = 0
    """Number of returns from quarantine, which dates calls before or after a rest."""
    failing: frozenset[int] = frozenset()
    """Fingerprints of the prompts that failed since the last successful call."""
    missed: int = 0
    """Number of polls in a row without a response."""

    @property
    def available(self) -> bool:
        """Whether work may go to the host."""
        return self.trouble is None

    @property
    def troubled(self) -> bool:
        """Whether a call failed since the last successful one."""
        return self.rests > 0 or bool(self.failing)

    @property
    def on_trial(self) -> bool:
        """Whether the host is half-open: back from quarantine, without a successful call since."""
        return self.trouble is None and self.rests > 0


def after_call(
    health: Health, outcome: Outcome, *, returns_at_start: int, now: float, fingerprint: int = 0
) -> Health:
    """Compute the state after a call that began after `returns_at_start` returns of the host.

    A host that goes down fails all calls in flight, which count as one failure. Successes that
    began before the rest are no evidence about the host since. `fingerprint` distinguishes prompts:
    the third attempt of one prompt is not a third failure.
    """
    if returns_at_start != health.returns:
        return health
    if not health.available:
        # Failures arrive sooner than answers. An answer to a call that began beside the failed ones
        # shows that they were no series: this rest continues, the next is not longer.
        mistaken = isinstance(outcome, Succeeded) and _failed_in_a_row(health)
        return replace(health, rests=0, failing=frozenset()) if mistaken else health
    if isinstance(outcome, Succeeded):
        return replace(health, rests=0, failing=frozenset()) if health.troubled else health
    match outcome.blame:
        case Blame.HOST | Blame.REFUSAL | Blame.GATEWAY:
            return _resting(health, outcome, now)
        case Blame.PROMPT | Blame.LIMIT:
            # A refusal shows that the host is up, but not that it works on prompts.
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
    # Failures are kept until a call succeeds, so that after the rest one failure is enough.
    kept = frozenset(tuple(failing)[:PROMPTS_FAILED_IN_A_ROW])
    return _resting(replace(health, failing=kept), _in_a_row(failed), now)


def after_look(health: Health, trouble: Failed | None, *, now: float) -> Health:
    """Compute the state after a poll of the version; `trouble` is None if the host responded.

    A host without a connection is put into quarantine before it costs a prompt an attempt. A poll
    never ends a quarantine and never lengthens a rest.
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
    """Compute the state after a probe in quarantine; `trouble` is None if the host responded."""
    if trouble is not None:
        return _resting(health, trouble, now)
    # `rests` is kept: a host that answers the probe but takes no work rests longer next time.
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
    """The outcome as evidence about the host.

    An answer that was arriving when the time of the whole call ran out needed more time than its
    batch allows: that is the prompt's own failure.
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
    """Number that is equal for all attempts of a prompt, and hardly ever for two prompts."""
    asked = call.prompt if call.messages is None else json.dumps(call.messages, default=str)
    return hash((call.model, asked, call.texts))


class ModelStatistics:
    """Durations of the last calls for one model, without loading it."""

    __slots__ = ("_durations", "answered", "answered_at")

    def __init__(self) -> None:
        self.answered = 0
        """Number of calls with an answer."""
        self.answered_at = 0.0
        """End of the last of them, by the host's clock."""
        self._durations: deque[float] = deque(maxlen=_LATENCIES_KEPT)

    def note(self, duration_s: float, now: float) -> None:
        """Count a call with an answer."""
        self.answered += 1
        self.answered_at = now
        self._durations.append(duration_s)

    @property
    def call_s(self) -> float:
        """Mean seconds of the last 64 calls; slots divided by it is the throughput."""
        return statistics.fmean(self._durations)


class CallStatistics:
    """Statistics of the calls to a host since this process started."""

    __slots__ = ("_latencies", "calls", "failed", "models")

    def __init__(self) -> None:
        self.calls = 0
        """Number of calls that ended."""
        self.failed = 0
        """Calls without an answer, except those that failed because of the prompt."""
        self.models: dict[str, ModelStatistics] = {}
        """Statistics by normalised names, for the 64 models that answered last."""
        self._latencies: deque[float] = deque(maxlen=_LATENCIES_KEPT)

    def note(self, outcome: Outcome, *, model: str, now: float) -> None:
        """Count a call that ended; `now` is by the host's clock."""
        self.calls += 1
        if isinstance(outcome, Failed):
            self.failed += outcome.blame is not Blame.PROMPT
        elif outcome.metrics.latency_s is not None:
            self._latencies.append(outcome.metrics.latency_s)
            loading_s = (outcome.metrics.load_duration or 0) / 1e9
            self._of(model).note(max(outcome.metrics.latency_s - loading_s, 0.0), now)

    def _of(self, model: str) -> ModelStatistics:
        name = normalise_model(model)
        # Reinserted, so that the dict is in the order of the last answers.
        found = self.models.pop(name, None) or ModelStatistics()
        self.models[name] = found
        if len(self.models) > _MODELS_KEPT:
            del self.models[next(iter(self.models))]
        return found

    @property
    def latency_s(self) -> float | None:
        """Median seconds of the last 64 calls that gave an answer; None before the first."""
        return statistics.median(self._latencies) if self._latencies else None

"""The decision after an outcome: the prompt is finished, or tried again and when.

A pure decision; nobody sleeps here. The length of the wait comes in as an argument, because the
schedule (exponential, full jitter) is drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome

MOST_CRASHES: Final = 10
"""So often what runs a prompt may die, its worker or its host: fewer times it costs no attempt."""
MOST_TURNED_AWAY: Final = 100
"""So often a host may take nothing when a prompt comes: fewer times it costs no attempt.

With the waits of the host, and from the tenth time on of the prompt, that is most of an hour.
"""
_PATIENT: Final = 10
_OF_THE_PROMPT: Final = frozenset({Blame.PROMPT, Blame.ATTEMPT, Blame.LOSS})


@dataclass(frozen=True, slots=True)
class Finish:
    """The outcome stands: record it."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The prompt goes back to the queue."""

    wait_s: float
    """Seconds until it may be claimed again."""
    charged: bool
    """Whether the attempt counts against `max_attempts`."""
    lost: bool = False
    """Whether it counts against `MOST_CRASHES`."""
    keeps_place: bool = False
    """Whether it comes next again, instead of after what waits already; for
    calls that were not begun, or broken off because the worker stops."""
    unused: bool = False
    """Whether the call was not begun, so that its permit to start counts no more."""
    turned_away: bool = False
    """Whether it counts against `MOST_TURNED_AWAY`."""
    waits_with_model: bool = False
    """Whether the wait is for every prompt of the model at that host, and not for this one."""
    splits: bool = False
    """Whether its next call has half as many texts at most, because one of them may be at fault."""


Decision = Finish | TryAgain


def decide(
    outcome: Outcome,
    *,
    attempt: int,
    max_attempts: int,
    backoff_s: Callable[[int], float],
    losses: int = 0,
    turned_away: int = 0,
    is_elsewhere: bool = False,
) -> Decision:
    """Whether the prompt is finished after its `attempt`-th try (the first is 1).

    `backoff_s(attempt)` draws the seconds to wait after that try. `losses` is how often before what
    ran it died: one that brings its host down comes back less and less often; `turned_away` how
    often before its host took nothing. `is_elsewhere` says
    whether another host is left for a prompt that its host refused; a prompt that is itself the
    reason for the refusal must end some day, so what is uncharged is counted as a loss.
    """
    if not isinstance(outcome, Failed) or outcome.blame is Blame.PROMPT:
        return Finish()
    is_spared = is_elsewhere or outcome.blame is Blame.LOSS
    match outcome.blame:
        case Blame.HOST if turned_away + 1 < MOST_TURNED_AWAY:
            # The host rests as a whole, so the prompt itself need not wait, unless it is the prompt
            # that the host always turns away.
            again = turned_away - _PATIENT + 1
            wait_s = backoff_s(again) if again > 0 else 0.0
            return TryAgain(wait_s=wait_s, charged=False, turned_away=True)
        case Blame.LIMIT if turned_away + 1 < MOST_TURNED_AWAY:
            wait_s = outcome.retry_after_s or 0.0
            return TryAgain(wait_s=wait_s, charged=False, turned_away=True, waits_with_model=True)
        case Blame.LOSS | Blame.REFUSAL if is_spared and losses + 1 < MOST_CRASHES:
            return TryAgain(wait_s=backoff_s(attempt + losses), charged=False, lost=True)
        case _:
            if attempt >= max_attempts:
                return Finish()
            wait_s = max(backoff_s(attempt), outcome.retry_after_s or 0.0)
            return TryAgain(wait_s=wait_s, charged=True)


def split(outcome: Outcome, *, attempt: int, backoff_s: Callable[[int], float]) -> TryAgain | None:
    """The decision for a text that shared a call, when one of the others may be at fault.

    Nobody knows which text it is, so that none is charged; it is known when the text is alone. That
    the model is missing is no text's fault.
    """
    if not isinstance(outcome, Failed) or outcome.code is ErrorCode.MODEL_NOT_FOUND:
        return None
    if outcome.blame not in _OF_THE_PROMPT:
        return None
    wait_s = 0.0 if outcome.blame is Blame.PROMPT else backoff_s(attempt)
    return TryAgain(wait_s=wait_s, charged=False, splits=True)

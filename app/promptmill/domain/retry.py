"""Decision after an outcome: the prompt is finished, or tried again after a wait.

A pure decision. The length of the wait is an argument, because the schedule (exponential, full
jitter) is drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from promptmill.domain.outcomes import Blame, ErrorCode, Failed, Outcome

MOST_CRASHES: Final = 10
"""Crashes of a prompt's worker or host until the prompt is charged with them."""
MOST_TURNED_AWAY: Final = 100
"""Refusals by a prompt's host until the prompt is charged with them.

With the waits of the host, and from the tenth refusal on of the prompt, that takes most of an hour.
"""
_PATIENT: Final = 10
_OF_THE_PROMPT: Final = frozenset({Blame.PROMPT, Blame.ATTEMPT, Blame.LOSS})


@dataclass(frozen=True, slots=True)
class Finish:
    """Decision that the outcome is final and is recorded."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Decision that the prompt goes back to the queue."""

    wait_s: float
    """Seconds until the prompt may be claimed again."""
    charged: bool
    """Whether the attempt counts against `max_attempts`."""
    lost: bool = False
    """Whether the attempt counts against `MOST_CRASHES`."""
    keeps_place: bool = False
    """Whether the prompt keeps its place before waiting prompts.

    That holds for calls that did not begin, or were broken off because the worker stops.
    """
    unused: bool = False
    """Whether the call did not begin, so that its start permit is void."""
    turned_away: bool = False
    """Whether the attempt counts against `MOST_TURNED_AWAY`."""
    waits_with_model: bool = False
    """Whether the wait applies to all prompts of the model at that host, not to this prompt."""
    splits: bool = False
    """Whether the next call has at most half as many texts, because a text may be at fault."""


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
    """Decide whether a prompt is finished after its `attempt`-th attempt (the first is 1).

    `backoff_s(attempt)` draws the seconds to wait after that attempt. `losses` counts earlier
    crashes of the prompt's worker or host: a prompt that brings its host down returns less and less
    often. `turned_away` counts earlier refusals. `is_elsewhere` says whether another host is left
    for a prompt that its host refused; uncharged returns count as losses, because a prompt that
    causes the refusal must end some day.
    """
    if not isinstance(outcome, Failed) or outcome.blame is Blame.PROMPT:
        return Finish()
    is_spared = is_elsewhere or outcome.blame is Blame.LOSS
    match outcome.blame:
        case Blame.HOST if turned_away + 1 < MOST_TURNED_AWAY:
            # The host as a whole is quarantined, so the prompt need not wait, unless the host
            # always refuses this prompt.
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
    """Decision for a text that shared a call, if one of the texts may be at fault.

    No text is charged, because the one at fault is unknown until each is alone. A missing model is
    no text's fault.
    """
    if not isinstance(outcome, Failed) or outcome.code is ErrorCode.MODEL_NOT_FOUND:
        return None
    if outcome.blame not in _OF_THE_PROMPT:
        return None
    wait_s = 0.0 if outcome.blame is Blame.PROMPT else backoff_s(attempt)
    return TryAgain(wait_s=wait_s, charged=False, splits=True)

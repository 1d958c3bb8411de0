"""The decision after an outcome: the prompt is finished, or tried again and when.

A pure decision; nobody sleeps here. The length of the wait comes in as an argument, because the
schedule (exponential, full jitter) is drawn at random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from promptmill.domain.outcomes import Blame, Failed, Outcome

MOST_LOSSES: Final = 10
"""So often what runs a prompt may die, its worker or its host: fewer times it costs no attempt."""


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
    """Whether it counts against `MOST_LOSSES`."""
    keeps_place: bool = False
    """Whether it comes next again, instead of after what waits already; for
    calls that were not begun, or broken off because the worker stops."""
    unused: bool = False
    """Whether the call was not begun, so that its permit to start counts no more."""


Decision = Finish | TryAgain


def decide(
    outcome: Outcome,
    *,
    attempt: int,
    max_attempts: int,
    backoff_s: Callable[[int], float],
    losses: int = 0,
    is_elsewhere: bool = False,
) -> Decision:
    """Whether the prompt is finished after its `attempt`-th try (the first is 1).

    `backoff_s(attempt)` draws the seconds to wait after that try. `losses` is how often before what
    ran it died: one that brings its host down comes back less and less often. `is_elsewhere` says
    whether another host is left for a prompt that its host refused; a prompt that is itself the
    reason for the refusal must end some day, so what is uncharged is counted as a loss.
    """
    if not isinstance(outcome, Failed):
        return Finish()
    is_spared = is_elsewhere or outcome.blame is Blame.LOSS
    match outcome.blame:
        case Blame.PROMPT:
            return Finish()
        case Blame.HOST:
            # The host rests as a whole, so the prompt itself need not wait.
            return TryAgain(wait_s=0.0, charged=False)
        case Blame.LOSS | Blame.REFUSAL if is_spared and losses + 1 < MOST_LOSSES:
            return TryAgain(wait_s=backoff_s(attempt + losses), charged=False, lost=True)
        case Blame.ATTEMPT | Blame.LOSS | Blame.REFUSAL:
            if attempt >= max_attempts:
                return Finish()
            return TryAgain(wait_s=backoff_s(attempt), charged=True)

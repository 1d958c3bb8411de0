"""Backoff of a failed prompt before its next attempt: exponential, with full jitter.

The schedule is tenacity's, of which only the number is used. The database keeps the wait
(`available_at_ms`), so that it holds no slot and survives a restart.
"""

from __future__ import annotations

from collections.abc import Callable

from tenacity import RetryCallState, Retrying, wait_random_exponential


def full_jitter(*, base_s: float, most_s: float) -> Callable[[int], float]:
    """Build a function from the number of the failed attempt (1, 2, ...) to seconds to wait.

    The wait is uniform between 0 and `base_s * 2 ** (attempt - 1)`, at most `most_s`, so that many
    prompts that failed together do not return together.
    """
    strategy = wait_random_exponential(multiplier=base_s, max=most_s)
    never_run = Retrying()

    def wait_s(attempt: int) -> float:
        state = RetryCallState(never_run, fn=None, args=(), kwargs={})
        state.attempt_number = attempt
        return float(strategy(state))

    return wait_s

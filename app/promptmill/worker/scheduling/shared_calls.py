"""Shared calls: the request for several texts, and the outcome of each text; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

from promptmill.domain.calls import Call
from promptmill.domain.outcomes import Outcome, Succeeded
from promptmill.store.queue.leases import Lease


def call_of(lease: Lease) -> Call:
    """Build the call of a lease, with the texts of all leases that share it."""
    if not lease.others:
        return lease.call
    texts = (text for each in lease.of_call for text in each.call.texts or ())
    return replace(lease.call, texts=tuple(texts))


def outcomes_of(outcome: Outcome, leases: Sequence[Lease]) -> Sequence[Outcome]:
    """Divide the outcome of a call among its leases: vectors, and shares of the tokens.

    Ollama counts only the tokens of the whole call, so they are divided by the lengths of the
    texts; the shares add up to the call's. A failure applies to every lease.
    """
    if len(leases) == 1 or not isinstance(outcome, Succeeded) or outcome.embedding is None:
        return [outcome] * len(leases)
    texts = [each.call.texts or () for each in leases]
    size = len(outcome.embedding) // sum(map(len, texts))
    vectors = pairwise(accumulate((size * len(each) for each in texts), initial=0))
    tokens = _shares(outcome.metrics.prompt_eval_count, [sum(map(len, each)) for each in texts])
    return [
        replace(
            outcome,
            embedding=outcome.embedding[start:end],
            metrics=replace(outcome.metrics, prompt_eval_count=own),
        )
        for (start, end), own in zip(vectors, tokens, strict=True)
    ]


def _shares(total: int | None, weights: Sequence[int]) -> Sequence[int | None]:
    """Divide a whole number by weights into whole numbers."""
    if total is None:
        return [None] * len(weights)
    # Differences of rounded sums, which add up to the total.
    whole = sum(weights) or 1
    sums = [total * sum_ // whole for sum_ in accumulate(weights, initial=0)]
    return [end - start for start, end in pairwise(sums)]

"""Documents of prompts, histories, summaries and statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import quantiles
from typing import Any, Final

from promptmill.api.documents.batches import result_document, timestamp
from promptmill.domain.hosts.activity import SUCCEEDED, Bucket, Grouping, Throughput
from promptmill.domain.reading import (
    BatchFindings,
    Cause,
    Causes,
    EarlierAttempt,
    HistoryEntry,
    WaitingPrompt,
    WholePrompt,
)
from promptmill.domain.workers import WorkerState
from promptmill.services.reading.glance import Glance

_PERCENTILES: Final = (("p50", 49, 2), ("p95", 94, 20), ("p99", 98, 100))
"""Name of each percentile, its index among the hundred cuts, and the least number of values."""


def waiting_document(prompt: WaitingPrompt) -> dict[str, Any]:
    """Document of a prompt without a result."""
    return {
        "index": prompt.index,
        "id": prompt.custom_id,
        "prompt": prompt.prompt,
        "state": prompt.state.value,
        "attempts": prompt.attempt,
        "host": prompt.host,
        "worker": prompt.worker,
    }


def whole_document(prompt: WholePrompt) -> dict[str, Any]:
    """Document of one prompt with its result."""
    return {
        "index": prompt.index,
        "id": prompt.custom_id,
        "prompt": prompt.text,
        "overrides": dict(prompt.overrides),
        "state": prompt.state.value,
        "attempts": prompt.attempt if prompt.result is None else prompt.result.attempts,
        "host": prompt.host,
        "worker": prompt.worker,
        "result": None if prompt.result is None else result_document(prompt.result),
        "earlier_attempts": [_attempt(one) for one in prompt.earlier_attempts],
    }


def _attempt(attempt: EarlierAttempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "charged": attempt.charged,
        "host": attempt.host,
        "started_at": timestamp(attempt.started_at_ms),
        "ended_at": timestamp(attempt.ended_at_ms),
        "error_code": attempt.error_code.value,
        "error": attempt.error,
    }


def history_document(entry: HistoryEntry) -> dict[str, Any]:
    """Document of one event in a batch's history."""
    return {
        "at": timestamp(entry.at_ms),
        "event": entry.event.value,
        "status": entry.state.value,
        "key": entry.key_name,
        "detail": entry.detail,
    }


def summary_document(found: BatchFindings, causes: Causes) -> dict[str, Any]:
    """Document of the summary of a batch's results."""
    answered = [one for one in found.sample if one.succeeded]
    return {
        "of": found.of,
        "n": len(found.sample),
        "sampled": len(found.sample) < found.of,
        "curve": [{"at": timestamp(at_ms), "finished": done} for at_ms, done in found.curve],
        "latency_s": _percentiles([one.latency_s for one in answered]),
        "ttft_s": _percentiles([one.ttft_s for one in answered]),
        "tokens": _percentiles([one.tokens for one in answered]),
        "hosts": dict(Counter(one.host for one in found.sample if one.host).most_common()),
        "models": dict(Counter(one.model for one in found.sample).most_common()),
        "failures": [_cause(cause) for cause in causes.causes],
        "failures_complete": causes.complete,
    }


def _percentiles(given: Sequence[float | None]) -> dict[str, Any]:
    values = [value for value in given if value is not None]
    cuts = quantiles(values, n=100, method="inclusive") if len(values) > 1 else []
    return {
        "n": len(values),
        **{
            name: round(cuts[place], 6) if len(values) >= least else None
            for name, place, least in _PERCENTILES
        },
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "error_code": None if cause.error_code is None else cause.error_code.value,
        "sentence": cause.sentence,
        "prompts": cause.prompts,
        "example_index": cause.example_index,
        "example": cause.example,
    }


def stats_document(glance: Glance) -> dict[str, Any]:
    """Document of the service's statistics."""
    counts, rate = glance.counts, glance.prompts_per_s
    since_ms = counts.longest_wait_ms
    return {
        "pending": counts.pending,
        "running": counts.running,
        "batches": {state.value: number for state, number in counts.batches.items()},
        "longest_wait_s": None if since_ms is None else max(counts.read_at_ms - since_ms, 0) / 1000,
        "prompts_per_s": None if rate is None else round(rate, 3),
        "hosts": [
            {
                "url": host.url,
                "in_flight": host.in_flight,
                "slots": host.slots,
                "reachable": host.reachable,
            }
            for host in glance.hosts
        ],
        "workers": sum(worker.state is WorkerState.ALIVE for worker in glance.workers),
        "last_minute": _recent(glance.recent.minute),
        "last_hour": _recent(glance.recent.hour),
        "needs_a_hand": list(glance.needs_a_hand),
        "read_at": timestamp(counts.read_at_ms),
    }


def _recent(outcomes: Mapping[str, int]) -> dict[str, Any]:
    errors = {name: number for name, number in outcomes.items() if name != SUCCEEDED}
    return {
        "succeeded": outcomes.get(SUCCEEDED, 0),
        "failed": sum(errors.values()),
        "errors": errors,
    }


def throughput_document(found: Throughput, *, window: str, by: Grouping) -> dict[str, Any]:
    """Document of throughput over time."""
    return {
        "window": window,
        "by": by.value,
        "bucket_s": found.window.bucket_s,
        "data": [
            {"name": one.name, "points": [_point(bucket) for bucket in one.buckets]}
            for one in found.series
        ],
    }


def _point(bucket: Bucket) -> dict[str, Any]:
    totals = bucket.succeeded
    return {
        "at": timestamp(bucket.at_s * 1000),
        "succeeded": totals.prompts,
        "failed": bucket.failed,
        "prompt_tokens": totals.prompt_tokens,
        "completion_tokens": totals.completion_tokens,
        "latency_s": round(totals.latency_s / totals.prompts, 6) if totals.prompts else None,
    }

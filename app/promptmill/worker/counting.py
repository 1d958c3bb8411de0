"""Counting for the metrics what a worker has recorded, once for each commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

import prometheus_client
from prometheus_client import Histogram

from promptmill.domain.outcomes import ErrorCode, Failed
from promptmill.domain.retry import TryAgain
from promptmill.observability import metrics
from promptmill.store.queue.leases import Completion, Recorded


def count_recorded(recorded: Recorded, *, took_s: float) -> None:
    """Count what a commit has recorded; what lost its lease is counted as dropped only."""
    if recorded.fenced:
        metrics.OUTCOMES_FENCED.inc(recorded.fenced)
    if recorded.results or recorded.returned:
        metrics.FLUSH_DURATION.observe(took_s)
        metrics.FLUSH_RESULTS.observe(len(recorded.results))
        _count_results(recorded.results)
        _add(metrics.ATTEMPTS, Counter(map(_attempt, (*recorded.results, *recorded.returned))))


def _count_results(results: Sequence[Completion]) -> None:
    finished = Counter[tuple[str, ...]]()
    failures = Counter[tuple[str, ...]]()
    defects = Counter[tuple[str, ...]]()
    tokens = Counter[tuple[str, ...]]()
    for each in results:
        outcome, measured = each.outcome, each.outcome.metrics
        host, model = metrics.pair_labels(each.host_url, each.lease.call.model)
        finished[host, model, _status(each)] += 1
        if isinstance(outcome, Failed):
            failures[model, outcome.code.value] += 1
        if outcome.defect is not None:
            defects[model, outcome.defect.value] += 1
        tokens[model, "prompt"] += measured.prompt_eval_count or 0
        tokens[model, "completion"] += measured.eval_count or 0
        _observe(each, host, model)
    _add(metrics.PROMPTS_FINISHED, finished)
    _add(metrics.PROMPT_FAILURES, failures)
    _add(metrics.ANSWER_DEFECTS, defects)
    _add(metrics.TOKENS, tokens)


def _observe(completion: Completion, host: str, model: str) -> None:
    measured = completion.outcome.metrics
    duration, ttft, output_tokens = _histograms(host, model)
    if measured.latency_s is not None:
        duration.observe(measured.latency_s)
    if measured.ttft_s is not None:
        ttft.observe(measured.ttft_s)
    if measured.eval_count:
        output_tokens.observe(measured.eval_count)


@cache  # A look-up costs more than the observation, and there are at most 200 pairs.
def _histograms(host: str, model: str) -> tuple[Histogram, Histogram, Histogram]:
    return (
        metrics.PROMPT_DURATION.labels(host, model),
        metrics.PROMPT_TTFT.labels(model),
        metrics.OUTPUT_TOKENS.labels(model),
    )


def _attempt(completion: Completion) -> tuple[str, ...]:
    decision = completion.decision
    if isinstance(decision, TryAgain):
        return completion.host_url, "retried" if decision.charged else "given_back"
    return completion.host_url, "failed" if _status(completion) != "succeeded" else "succeeded"


def _status(completion: Completion) -> str:
    if not isinstance(completion.outcome, Failed):
        return "succeeded"
    return "cancelled" if completion.outcome.code is ErrorCode.CANCELLED else "failed"


def _add(counter: prometheus_client.Counter, counted: Counter[tuple[str, ...]]) -> None:
    for labels, number in counted.items():
        counter.labels(*labels).inc(number)

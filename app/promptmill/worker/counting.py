"""Metrics of what a worker has recorded, counted once per commit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import prometheus_client

from promptmill.domain.outcomes import CallMetrics, ErrorCode, Failed
from promptmill.domain.retry import TryAgain
from promptmill.observability import metrics
from promptmill.observability.metrics import BulkHistogram
from promptmill.store.queue.leases import Completion, Recorded

_SHORTEST_LOAD_NS: Final = 100_000_000
"""Least nanoseconds of a load: Ollama reports some milliseconds for a model that was loaded."""


def count_recorded(recorded: Recorded, *, took_s: float) -> None:
    """Count what a commit has recorded; outcomes with a lost lease are counted as dropped only."""
    if recorded.fenced:
        metrics.OUTCOMES_FENCED.inc(recorded.fenced)
    if recorded.results or recorded.returned:
        metrics.FLUSH_DURATION.observe(took_s)
        metrics.FLUSH_RESULTS.observe(len(recorded.results))
        _count_results(recorded.results)
        attempts = Counter(map(_attempt, (*recorded.results, *recorded.returned)))
        for labels, number in attempts.items():
            metrics.ATTEMPTS.labels(*labels).inc(number)


def _count_results(results: Sequence[Completion]) -> None:
    groups = defaultdict[tuple[str, str], list[Completion]](list)
    for each in results:
        groups[each.host_url, each.lease.call.model].append(each)
    for (url, name), group in groups.items():
        host, model = metrics.pair_labels(url, name)
        for status, number in Counter(map(_status, group)).items():
            metrics.PROMPTS_FINISHED.labels(host, model, status).inc(number)
        outcomes = [each.outcome for each in group]
        for outcome in outcomes:
            if isinstance(outcome, Failed):
                metrics.PROMPT_FAILURES.labels(model, outcome.code.value).inc()
            if outcome.defect is not None:
                metrics.ANSWER_DEFECTS.labels(model, outcome.defect.value).inc()
        _count_measured([outcome.metrics for outcome in outcomes], _of(host, model))


def _count_measured(measured: Sequence[CallMetrics], of: _OfModel) -> None:
    of.duration.observe_all([m.latency_s for m in measured if m.latency_s is not None])
    of.ttft.observe_all([m.ttft_s for m in measured if m.ttft_s is not None])
    of.output_tokens.observe_all([m.eval_count for m in measured if m.eval_count])
    of.load.observe_all(
        [
            m.load_duration / 1e9
            for m in measured
            if m.load_duration is not None and m.load_duration >= _SHORTEST_LOAD_NS
        ]
    )
    of.prompt_tokens.inc(sum(m.prompt_eval_count or 0 for m in measured))
    of.completion_tokens.inc(sum(m.eval_count or 0 for m in measured))


class _OfModel(NamedTuple):
    """Metrics of a model at a host."""

    duration: BulkHistogram
    ttft: BulkHistogram
    output_tokens: BulkHistogram
    load: BulkHistogram
    prompt_tokens: prometheus_client.Counter
    completion_tokens: prometheus_client.Counter


@cache  # Cached, because a look-up of labels costs more than counting; at most 200 pairs exist.
def _of(host: str, model: str) -> _OfModel:
    return _OfModel(
        metrics.PROMPT_DURATION.labels(host, model),
        metrics.PROMPT_TTFT.labels(model),
        metrics.OUTPUT_TOKENS.labels(model),
        metrics.MODEL_LOAD.labels(host, model),
        metrics.TOKENS.labels(model, "prompt"),
        metrics.TOKENS.labels(model, "completion"),
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

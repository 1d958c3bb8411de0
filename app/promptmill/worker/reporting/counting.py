"""Metrics of what a worker has recorded and claimed.

Counting a prompt takes about two microseconds: each counter is looked up by its labels once,
because a look-up costs more than counting.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from promptmill.domain.outcomes import CallMetrics, ErrorCode, Failed
from promptmill.domain.retry import TryAgain
from promptmill.observability import metrics
from promptmill.store.queue.leases import Completion, Lease, Recorded

_SHORTEST_LOAD_NS: Final = 100_000_000
"""Least nanoseconds of a load: Ollama reports some milliseconds for a loaded model."""
_MOST_KEPT: Final = 256


def count_recorded(recorded: Recorded, *, took_s: float) -> None:
    """Count what a commit has recorded; outcomes with a lost lease are counted as dropped only."""
    if recorded.fenced:
        metrics.OUTCOMES_FENCED.inc(recorded.fenced)
    if not (recorded.results or recorded.returned):
        return
    metrics.FLUSH_DURATION.observe(took_s)
    metrics.FLUSH_RESULTS.observe(len(recorded.results))
    for completion in recorded.results:
        status = _count_result(completion)
        _count_attempt(completion, "succeeded" if status == "succeeded" else "failed")
    for completion in recorded.returned:
        _count_attempt(completion, "failed")


def count_claimed(leases: Sequence[Lease], *, took_s: float) -> None:
    """Count the prompts that a commit has claimed, and how long the claiming took."""
    metrics.CLAIM_DURATION.observe(took_s)
    for lease in leases:
        if (waited_s := lease.waited_s) is not None:
            metrics.PROMPT_WAIT.observe(waited_s)


def _count_result(completion: Completion) -> str:
    """Count a stored result; returns its status."""
    outcome = completion.outcome
    of_model = _of_model(completion.host_url, completion.lease.call.model)
    status = "succeeded"
    if isinstance(outcome, Failed):
        status = "cancelled" if outcome.code is ErrorCode.CANCELLED else "failed"
        metrics.PROMPT_FAILURES.labels(of_model.model, outcome.code.value).inc()
    if outcome.defect is not None:
        metrics.ANSWER_DEFECTS.labels(of_model.model, outcome.defect.value).inc()
    of_model.finished[status].inc()
    of_model.count(outcome.metrics)
    return status


def _count_attempt(completion: Completion, result: str) -> None:
    decision = completion.decision
    if isinstance(decision, TryAgain):
        result = "retried" if decision.charged else "given_back"
    _attempts(completion.host_url, result).inc()


class _OfModel:
    """The counters and histograms of a model at a host."""

    def __init__(self, host: str, model: str) -> None:
        self.model = model
        self.finished = {
            status: metrics.PROMPTS_FINISHED.labels(host, model, status)
            for status in ("succeeded", "failed", "cancelled")
        }
        self._duration = metrics.PROMPT_DURATION.labels(host, model)
        self._ttft = metrics.PROMPT_TTFT.labels(model)
        self._output_tokens = metrics.OUTPUT_TOKENS.labels(model)
        self._load = metrics.MODEL_LOAD.labels(host, model)
        self._prompt_tokens = metrics.TOKENS.labels(model, "prompt")
        self._completion_tokens = metrics.TOKENS.labels(model, "completion")

    def count(self, measured: CallMetrics) -> None:
        """Count what was measured of a call."""
        if measured.latency_s is not None:
            self._duration.observe(measured.latency_s)
        if measured.ttft_s is not None:
            self._ttft.observe(measured.ttft_s)
        if measured.eval_count:
            self._output_tokens.observe(measured.eval_count)
            self._completion_tokens.inc(measured.eval_count)
        if measured.prompt_eval_count:
            self._prompt_tokens.inc(measured.prompt_eval_count)
        if (measured.load_duration or 0) >= _SHORTEST_LOAD_NS:
            self._load.observe((measured.load_duration or 0) / 1e9)


@lru_cache(_MOST_KEPT)
def _of_model(host: str, model: str) -> _OfModel:
    return _OfModel(*metrics.pair_labels(host, model))


_attempts = lru_cache(_MOST_KEPT)(metrics.ATTEMPTS.labels)

"""Declarations of all metrics of the service; `docs/operations/metrics.md` is generated from them.

Counters and histograms count this process alone. Labels are bounded: no label holds a batch, a
prompt, a key or the address of a client.

The one rule to know: only the thread of the event loop counts. So the numbers need no lock, and a
prompt is counted in a fifth of the time that the library's own counters take.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Sample

REGISTRY: Final = CollectorRegistry()
OTHER: Final = "other"
"""Label of models beyond the first fifty, and of paths without a route."""
_MOST_MODELS: Final = 50
_MOST_PAIRS: Final = 200
_CALLS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_FIRST_TEXT: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 120)
_WAITS: Final = (1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536)
_SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class PlainCounter(Counter):
    """A counter that adds up in a plain number."""

    def _metric_init(self) -> None:
        self._number = 0.0

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Add to the number; exemplars are not kept."""
        del exemplar
        self._number += amount

    def _child_samples(self) -> Iterable[Sample]:
        yield Sample("_total", {}, self._number, None, None)


class PlainHistogram(Histogram):
    """A histogram that adds up in plain numbers."""

    def _metric_init(self) -> None:
        self._numbers = [0] * len(self._upper_bounds)
        self._total = 0.0

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count one value; exemplars are not kept."""
        del exemplar
        self._numbers[bisect_left(self._upper_bounds, amount)] += 1
        self._total += amount

    def _child_samples(self) -> Iterable[Sample]:
        counts = list(accumulate(self._numbers))
        for bound, count in zip(self._upper_bounds, counts, strict=True):
            yield Sample("_bucket", {"le": _shown(bound)}, count, None, None)
        yield Sample("_count", {}, counts[-1], None, None)
        yield Sample("_sum", {}, self._total, None, None)


def _shown(bound: float) -> str:
    return "+Inf" if bound == math.inf else str(bound)


_declared: dict[MetricWrapperBase, tuple[str, ...]] = {}
_Metric = TypeVar("_Metric", bound=MetricWrapperBase)


def _noted(metric: _Metric, labels: tuple[str, ...]) -> _Metric:
    _declared[metric] = labels
    return metric


def _counter(name: str, told: str, *labels: str) -> Counter:
    return _noted(PlainCounter(f"promptmill_{name}", told, labels, registry=REGISTRY), labels)


def _gauge(name: str, told: str, *labels: str) -> Gauge:
    return _noted(Gauge(f"promptmill_{name}", told, labels, registry=REGISTRY), labels)


def _histogram(name: str, told: str, buckets: tuple[float, ...], *labels: str) -> PlainHistogram:
    metric = PlainHistogram(f"promptmill_{name}", told, labels, registry=REGISTRY, buckets=buckets)
    return _noted(metric, labels)


# --- of the database: the same in every process ----------------------------------------------

BUILD_INFO = _gauge("build_info", "Always 1", "version", "python", "database")
BATCHES = _gauge("batches", "Batches that have not ended", "status")
BENCHMARKS = _gauge("benchmarks", "Benchmarks that have not ended", "status")
PROMPTS = _gauge("prompts", "Prompts of batches that have not ended, without an outcome", "state")
PENDING_PROMPTS = _gauge("pending_prompts", "Prompts that wait, by the model of the batch", "model")
OLDEST_WAIT = _gauge(
    "queue_oldest_wait_seconds",
    "Longest time since a batch that has prompts to start got a start",
)
QUEUE_LIMIT = _gauge("queue_limit_prompts", "PROMPTMILL_MAX_QUEUED_PROMPTS")
WORKERS = _gauge("workers", "Workers that have not stopped", "state")
HOST_IN_FLIGHT = _gauge("host_in_flight", "Prompts that run at the host, over all workers", "host")
HOST_HELD = _gauge("host_held", "1 while a benchmark has the host to itself", "host")
DATABASE_BYTES = _gauge("database_bytes", "Size of the database")
DATABASE_FREE_BYTES = _gauge("database_free_bytes", "Of it, what is free for new rows (SQLite)")
WAL_BYTES = _gauge("wal_bytes", "Size of the write-ahead log (SQLite)")
DISK_FREE_BYTES = _gauge("disk_free_bytes", "Free bytes of the disk with the database (SQLite)")

# --- of this process: hosts as it sees them --------------------------------------------------

HOST_UP = _gauge("host_up", "1 while work may go to the host", "host")
HOST_SLOTS = _gauge("host_slots", "Calls that the host takes at a time, where that is set", "host")
HOST_QUARANTINED = _gauge("host_quarantined", "1 while the host is put aside", "host")
HOST_MODEL_BYTES = _gauge(
    "host_model_bytes", "Memory that a loaded model takes at the host", "host", "model"
)
HOST_MODEL_VRAM_BYTES = _gauge(
    "host_model_vram_bytes", "Of it, memory of graphics cards", "host", "model"
)

# --- of this process: its worker -------------------------------------------------------------

PROMPTS_FINISHED = _counter(
    "prompts_finished", "Results stored of prompts that were called", "host", "model", "status"
)
PROMPT_FAILURES = _counter(
    "prompt_failures", "Of these, those without a usable answer", "model", "error_code"
)
ATTEMPTS = _counter(
    "attempts", "Calls that ended: succeeded, failed, retried, given_back", "host", "result"
)
ANSWER_DEFECTS = _counter("answer_defects", "Answers with something wrong", "model", "defect")
PROMPT_DURATION = _histogram(
    "prompt_duration_seconds", "From sending a call to its end", _CALLS, "host", "model"
)
PROMPT_TTFT = _histogram(
    "prompt_ttft_seconds", "From sending a call to the first text", _FIRST_TEXT, "model"
)
PROMPT_WAIT = _histogram(
    "prompt_wait_seconds", "From the acceptance of a batch to the claim of a prompt", _WAITS
)
MODEL_LOAD = _histogram(
    "model_load_seconds",
    "Loading a model, as the answer that waited for it tells; 0.1 s or more",
    _CALLS,
    "host",
    "model",
)
OUTPUT_TOKENS = _histogram("output_tokens", "Tokens of an answer", _TOKENS, "model")
TOKENS = _counter("tokens", "Tokens as Ollama counted them", "model", "kind")
OUTCOMES_FENCED = _counter("outcomes_fenced", "Outcomes dropped, because the lease was lost")
LEASES_LOST = _counter("leases_lost", "Calls given up, because the lease was lost")
PROMPTS_RESCUED = _counter("prompts_rescued", "Prompts taken back from workers that are gone")
STARTS_LATE = _counter("starts_late", "Calls not begun, because their permit had ended")
PULLS = _counter("pulls", "Downloads of models that ended: succeeded, failed, given_up", "result")
PULLED_BYTES = _counter("pulled_bytes", "Bytes of the downloads that succeeded", "host")
MODEL_SWITCHES = _counter("model_switches", "Times that a host took up another group", "host")
CLAIM_DURATION = _histogram("claim_duration_seconds", "Claiming in a commit", _SHORT)
FLUSH_DURATION = _histogram("flush_duration_seconds", "Recording and claiming in a commit", _SHORT)
FLUSH_RESULTS = _histogram("flush_results", "Outcomes recorded in a commit", _SIZES)
ROLE_FAILURES = _counter("role_failures", "Failures of a role of the worker", "role")
LOOP_LAG = _histogram("event_loop_lag_seconds", "How late the event loop wakes a timer", _SHORT)

# --- of this process: HTTP -------------------------------------------------------------------

HTTP_REQUESTS = _counter("http_requests", "Requests answered", "method", "route", "status")
HTTP_DURATION = _histogram(
    "http_request_duration_seconds", "From a request to the first byte", _SHORT, "method", "route"
)
HTTP_STREAMS = _gauge(
    "http_streams", "Requests that are open: events, long_poll, upload, export", "kind"
)
HTTP_REFUSED = _counter("http_refused", "Requests refused at the door", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A metric's declaration."""

    name: str
    """Name in Prometheus; for a histogram without `_bucket`, `_sum` and `_count`."""
    kind: str
    labels: tuple[str, ...]
    meaning: str


def declared() -> Sequence[Declared]:
    """The declarations of all metrics."""
    found: list[Declared] = []
    for metric, labels in _declared.items():
        (family,) = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        meaning = family.documentation
        found.append(Declared(name=name, kind=family.type, labels=labels, meaning=meaning))
    return found


_models: set[str] = set()
_pairs: set[tuple[str, str]] = set()


def model_label(model: str) -> str:
    """Label of a model: its name for the first fifty models of the process, `OTHER` afterwards."""
    if model in _models:
        return model
    if len(_models) >= _MOST_MODELS:
        return OTHER
    _models.add(model)
    return model


def pair_labels(host: str, model: str) -> tuple[str, str]:
    """Labels of a host and a model: names for the first two hundred pairs, then `OTHER`."""
    pair = host, model_label(model)
    if pair in _pairs:
        return pair
    if len(_pairs) >= _MOST_PAIRS:
        return host, OTHER
    _pairs.add(pair)
    return pair


def metrics_page() -> str:
    """Format the metrics as a Markdown table, for `docs/operations/metrics.md`."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for each in declared():
        labels = ", ".join(f"`{label}`" for label in each.labels)
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.meaning} |")
    return "\n".join(lines) + "\n"

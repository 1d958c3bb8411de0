"""Documents of benchmarks, field by field in the contract's order.

Plain dicts, as in `documents.batches`; the records in `contract` describe them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from promptmill.api.documents.batches import timestamp
from promptmill.contract.benchmark_findings import Run
from promptmill.domain.benchmarks.comparison import BenchmarkComparison, ComparedMeasure
from promptmill.domain.benchmarks.records import (
    Benchmark,
    BenchmarkRun,
    Environment,
    ModelEnvironment,
    ServiceLevel,
)
from promptmill.domain.benchmarks.statistics import Distribution, Interval
from promptmill.domain.benchmarks.summary import MEASURES, ColdLoad, LevelSummary, ModelResult
from promptmill.domain.outcomes import OLLAMA_COUNTERS

RUN_FIELDS: Final = tuple(Run.model_fields)
"""Fields of a run in their order, which is also that of the columns in CSV."""


def benchmark_document(
    benchmark: Benchmark, results: Mapping[str, ModelResult] | None = None
) -> dict[str, Any]:
    """Document of a benchmark with its figures; without them `results` is empty."""
    return {
        **benchmark_summary(benchmark),
        "results": {
            model: model_result_document(found) for model, found in (results or {}).items()
        },
    }


def benchmark_summary(benchmark: Benchmark) -> dict[str, Any]:
    """Document of a benchmark without its figures, for lists."""
    draft, counts = benchmark.draft, benchmark.counts
    return {
        "id": benchmark.id,
        "object": "benchmark",
        "status": benchmark.state.value,
        "label": draft.label,
        "models": list(draft.models),
        "prompt": draft.prompts[0],
        "prompts": list(draft.prompts),
        "num_runs": draft.num_runs,
        "warmup_runs": draft.warmup_runs,
        "concurrency": list(draft.concurrency),
        "options": dict(draft.options),
        "think": draft.think,
        "prefix_cache": draft.prefix_cache.value,
        "measure_cold_load": draft.measure_cold_load,
        "order": draft.order.value,
        "cooldown_s": draft.cooldown_s,
        "timeout_s": draft.timeout_s,
        "keep_alive": draft.keep_alive,
        "slo": _slo(draft.slo),
        "baseline_id": draft.baseline_id,
        "host_info": draft.host_info,
        "metadata": dict(draft.metadata),
        "counts": {
            "total": counts.total,
            "pending": counts.pending,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "skipped": counts.skipped,
            "cancelled": counts.cancelled,
        },
        # Truncated, not rounded: 1 means that all runs are done.
        "progress": math.floor(benchmark.progress * 10_000) / 10_000,
        "eta_s": _rounded(benchmark.eta_s, 1),
        "sessions": benchmark.sessions,
        "created_at": timestamp(benchmark.created_at_ms),
        "started_at": timestamp(benchmark.started_at_ms),
        "finished_at": timestamp(benchmark.finished_at_ms),
        "error": benchmark.error,
        "environment": environment_document(benchmark),
    }


def _slo(slo: ServiceLevel | None) -> dict[str, float | None] | None:
    if slo is None:
        return None
    return {"latency_s": slo.latency_s, "ttft_s": slo.ttft_s, "tpot_s": slo.tpot_s}


def environment_document(benchmark: Benchmark) -> dict[str, Any]:
    """Document of the conditions of a benchmark."""
    environment: Environment = benchmark.environment
    return {
        "host": environment.host,
        "host_info": benchmark.draft.host_info,
        "ollama_version": environment.ollama_version,
        "service_version": environment.service_version,
        "workload_hash": benchmark.draft.whole_workload_hash,
        "options_effective": dict(benchmark.draft.options),
        "models": {name: _model(each) for name, each in environment.models.items()},
    }


def _model(model: ModelEnvironment) -> dict[str, Any]:
    return {
        "model_digest": model.model_digest,
        "family": model.family,
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization_level,
        "context_length": model.context_length,
        "size": model.size,
        "size_vram": model.size_vram,
        "gpu_offload_share": _rounded(model.gpu_offload_share, 4),
        "capabilities": _listed(model.capabilities),
        "remote": model.remote,
        "loaded_before": _listed(model.loaded_before),
        "loaded_after": _listed(model.loaded_after),
    }


def _listed(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else list(names)


def model_result_document(found: ModelResult) -> dict[str, Any]:
    """Document of one model's figures."""
    return {
        "model": found.model,
        "latency": _rounded(found.latency, 6),
        "tokens_per_sec": _rounded(found.tokens_per_sec, 3),
        "prompt": found.prompt,
        "response": found.response,
        "num_runs": found.num_runs,
        "error": found.error,
        "error_code": found.error_code.value if found.error_code else None,
        "n_ok": found.n_ok,
        "n_failed": found.n_failed,
        "levels": [_level(level) for level in found.levels],
        "cold_load": _cold_load(found.cold_load),
        "flags": [flag.value for flag in found.flags],
    }


def _level(level: LevelSummary) -> dict[str, Any]:
    parts = level.latency_parts
    return {
        "prompt_index": level.prompt_index,
        "concurrency": level.concurrency,
        "workload_hash": level.workload_hash,
        "n_attempted": level.n_attempted,
        "n_ok": level.n_ok,
        "n_failed": level.n_failed,
        "errors": {code.value: number for code, number in level.errors.items()},
        **{name: distribution_document(getattr(level, name)) for name in MEASURES},
        "latency_parts": {
            "load_s": _rounded(parts.load_s, 6),
            "queue_s": _rounded(parts.queue_s, 6),
            "prefill_s": _rounded(parts.prefill_s, 6),
            "decode_s": _rounded(parts.decode_s, 6),
        },
        "window_s": _rounded(level.window_s, 6),
        "output_throughput_tok_s": _rounded(level.output_throughput_tok_s, 3),
        "request_throughput_req_s": _rounded(level.request_throughput_req_s, 4),
        "goodput_req_s": _rounded(level.goodput_req_s, 4),
        "good_request_fraction": _rounded(level.good_request_fraction, 4),
        "effective_parallelism": _rounded(level.effective_parallelism, 3),
        "flags": [flag.value for flag in level.flags],
    }


def distribution_document(found: Distribution) -> dict[str, Any]:
    """Document of a distribution; unsupported statistics are null."""
    return {
        "n": found.n,
        "mean": _rounded(found.mean, 6),
        "stddev": _rounded(found.stddev, 6),
        "cv": _rounded(found.cv, 6),
        "min": _rounded(found.min, 6),
        "p50": _rounded(found.p50, 6),
        "p90": _rounded(found.p90, 6),
        "p95": _rounded(found.p95, 6),
        "p99": _rounded(found.p99, 6),
        "max": _rounded(found.max, 6),
        "ci95": _interval(found.ci95),
    }


def _interval(interval: Interval | None) -> dict[str, Any] | None:
    if interval is None:
        return None
    return {
        "low": _rounded(interval.low, 6),
        "high": _rounded(interval.high, 6),
        "of": interval.of.value,
        "method": interval.method.value,
    }


def _cold_load(cold: ColdLoad | None) -> dict[str, Any] | None:
    if cold is None:
        return None
    return {
        "load_s": _rounded(cold.load_s, 6),
        "ttft_s": _rounded(cold.ttft_s, 6),
        "latency_s": _rounded(cold.latency_s, 6),
        "error": cold.error,
    }


_ROUNDED: Final = ("latency_s", "client_queue_s", "ttft_s", "ttfo_s", "tpot_s")


def run_document(run: BenchmarkRun) -> dict[str, Any]:
    """Document of a run; its keys are `RUN_FIELDS`."""
    icl = run.icl
    written = {
        "scheduled_at": timestamp(run.scheduled_at_ms),
        "started_at": timestamp(run.started_at_ms),
        "icl": None
        if icl is None
        else {
            "chunks": icl.chunks,
            "p50_s": _rounded(icl.p50_s, 6),
            "p95_s": _rounded(icl.p95_s, 6),
            "max_s": _rounded(icl.max_s, 6),
        },
        "flags": [flag.value for flag in run.flags],
        **{name: _rounded(getattr(run, name), 6) for name in _ROUNDED},
        **{name: getattr(run.metrics, name) for name in OLLAMA_COUNTERS},
    }
    return {
        name: written[name] if name in written else _plain(getattr(run, name))
        for name in RUN_FIELDS
    }


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value


def comparison_document(found: BenchmarkComparison) -> dict[str, Any]:
    """Document of a benchmark compared with its baseline."""
    return {
        "baseline_id": found.baseline_id,
        "target_id": found.target_id,
        "comparisons": [compared_document(each) for each in found.measures],
        "not_comparable": [
            {
                "model": each.model,
                "prompt_index": each.prompt_index,
                "concurrency": each.concurrency,
                "verdict": "not_comparable",
                "reason": each.reason,
            }
            for each in found.not_comparable
        ],
        "differences": [
            {"what": each.what, "base": each.base, "target": each.target}
            for each in found.differences
        ],
        "geomean_ratio": {
            metric: _rounded(ratio, 6) for metric, ratio in found.geomean_ratio.items()
        },
    }


def compared_document(each: ComparedMeasure) -> dict[str, Any]:
    """Document of one measure on both sides."""
    found = each.comparison
    return {
        "metric": each.metric,
        "model": each.model,
        "baseline_model": each.baseline_model,
        "prompt_index": each.prompt_index,
        "concurrency": each.concurrency,
        "ratio": _rounded(found.ratio, 6),
        "ci95": _interval(found.ci95),
        "method": found.method.value if found.method else None,
        "p_value": _rounded(found.p_value, 6),
        "n_base": found.n_base,
        "n_target": found.n_target,
        "verdict": found.verdict.value,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)

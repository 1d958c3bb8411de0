"""What a pretended service answers about benchmarks."""

from __future__ import annotations

from typing import Any

from promptmill.contract.benchmark_findings import ComparedMeasure, Comparison
from promptmill.contract.benchmarks import Benchmark, Level, ModelResult
from tests.documents import whole

ID = "bench_1"


def distribution(mean: float | None, **fields: Any) -> dict[str, Any]:
    """A distribution around a mean; few runs, so that high percentiles are not known."""
    rest = {"stddev": mean / 10, "cv": 0.1, "p50": mean} if mean is not None else {}
    return {"n": 0 if mean is None else 3, "mean": mean, "p95": None, **rest, **fields}


def level(latency_s: float | None = 0.5, **fields: Any) -> dict[str, Any]:
    """What one model did with one prompt, one request at a time unless told."""
    return whole(
        Level,
        {
            "prompt_index": 0,
            "concurrency": 1,
            "n_attempted": 3,
            "n_ok": 0 if latency_s is None else 3,
            "n_failed": 3 if latency_s is None else 0,
            "errors": {},
            "latency_s": distribution(latency_s),
            "ttft_s": distribution(None if latency_s is None else latency_s / 4),
            "decode_tokens_per_sec": distribution(None if latency_s is None else 50 / latency_s),
            "output_throughput_tok_s": None if latency_s is None else 40 / latency_s,
            "flags": ["too_few_runs"],
            **fields,
        },
    )


def result(model: str = "tiny", *levels: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The figures of one model."""
    return whole(
        ModelResult,
        {
            "model": model,
            "latency": 0.5,
            "tokens_per_sec": 100.0,
            "prompt": "Why?",
            "response": "Because.",
            "num_runs": 3,
            "error": None,
            "error_code": None,
            "n_ok": 3,
            "n_failed": 0,
            "levels": list(levels or (level(),)),
            "cold_load": None,
            "flags": ["too_few_runs"],
            **fields,
        },
    )


def benchmark(
    status: str = "completed", *results: dict[str, Any], total: int = 4, **fields: Any
) -> dict[str, Any]:
    """A benchmark as the service tells it: all runs have succeeded when it is completed."""
    ended = status in {"completed", "failed", "cancelled"}
    shown = results or (result(),)
    done = {"succeeded": total} if status == "completed" else {"pending": total}
    return whole(
        Benchmark,
        {
            "id": ID,
            "object": "benchmark",
            "status": status,
            "label": None,
            "models": [one["model"] for one in shown],
            "prompt": "Why?",
            "prompts": ["Why?"],
            "num_runs": 3,
            "concurrency": [1],
            "counts": {"total": total, **done},
            "progress": 1.0 if ended else 0.0,
            "eta_s": None,
            "created_at": "2026-11-23T06:30:00.000Z",
            "started_at": None if status == "queued" else "2026-11-23T06:30:01.000Z",
            "finished_at": "2026-11-23T06:30:06.000Z" if ended else None,
            "error": None,
            "environment": {"host": "http://gpu:11434", "ollama_version": "0.24.0"},
            "results": {one["model"]: one for one in shown},
            **fields,
        },
    )


def compared(verdict: str = "slower", ratio: float | None = 1.2, **fields: Any) -> dict[str, Any]:
    """The latency of a model beside that of the baseline."""
    interval = {"low": 1.15, "high": 1.25, "of": "ratio", "method": "welch_on_logs"}
    return whole(
        ComparedMeasure,
        {
            "metric": "latency_s",
            "model": "tiny",
            "baseline_model": "tiny",
            "prompt_index": 0,
            "concurrency": 1,
            "ratio": ratio,
            "ci95": None if verdict == "insufficient_data" else interval,
            "method": "welch_on_logs",
            "p_value": 0.01,
            "n_base": 3,
            "n_target": 3,
            "verdict": verdict,
            **fields,
        },
    )


def comparison(*measures: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A benchmark beside its baseline."""
    return whole(
        Comparison,
        {
            "baseline_id": "bench_0",
            "target_id": ID,
            "comparisons": list(measures),
            "not_comparable": [],
            "differences": [],
            "geomean_ratio": {},
            **fields,
        },
    )


BENCHMARKS = {"data": [benchmark(), benchmark(id="bench_0")], "next_cursor": None}
"""The list of them, newest first."""

"""The benchmark that all examples of the documentation show, so that they agree."""

from __future__ import annotations

from typing import Any, Final

BENCHMARK_ID: Final = "bench_01kasqg8v3m2c6hq0n5t7x9zed"
BASELINE_ID: Final = "bench_01kasqg8v3m2c6hq0n5t7x9zec"
WORKLOAD_HASH: Final = "1e2c9b8f0a7d4c61b3f25e98d07a6c4f1b0e3d5a7c9f8b2d4e6a8c0b1d3f5e79"

REQUEST: Final[dict[str, Any]] = {
    "models": ["qwen3:8b", "gemma3:4b"],
    "prompt": "Test prompt",
    "num_runs": 3,
}
SWEEP: Final[dict[str, Any]] = {
    "models": ["qwen3:8b"],
    "prompts": ["Why is the sky blue?", "Write a poem about rain."],
    "num_runs": 10,
    "concurrency": [1, 2, 4],
    "measure_cold_load": True,
    "slo": {"ttft_s": 0.5, "tpot_s": 0.05},
    "label": "before the update",
}
DISTRIBUTION: Final[dict[str, Any]] = {
    "n": 3,
    "mean": 0.823333,
    "stddev": 0.015275,
    "cv": 0.018553,
    "min": 0.81,
    "p50": 0.82,
    "p90": None,
    "p95": None,
    "p99": None,
    "max": 0.84,
    "ci95": {"low": 0.785388, "high": 0.861279, "of": "mean", "method": "student_t"},
}
LEVEL: Final[dict[str, Any]] = {
    "prompt_index": 0,
    "concurrency": 1,
    "workload_hash": WORKLOAD_HASH,
    "n_attempted": 3,
    "n_ok": 3,
    "n_failed": 0,
    "errors": {},
    **dict.fromkeys(
        (
            "latency_s",
            "ttft_s",
            "ttfo_s",
            "tpot_s",
            "decode_tokens_per_sec",
            "prefill_tokens_per_sec",
            "e2e_tokens_per_sec",
            "chars_per_sec",
            "prompt_tokens",
            "output_tokens",
            "server_overhead_s",
        ),
        DISTRIBUTION,
    ),
    "latency_parts": {"load_s": 0.01, "queue_s": 0.002, "prefill_s": 0.02, "decode_s": 0.78},
    "window_s": 2.47,
    "output_throughput_tok_s": 155.465,
    "request_throughput_req_s": 1.2146,
    "goodput_req_s": 1.2146,
    "good_request_fraction": 1.0,
    "effective_parallelism": 0.972,
    "flags": ["too_few_runs"],
}
COLD_LOAD: Final[dict[str, Any]] = {
    "load_s": 2.9,
    "ttft_s": 3.1,
    "latency_s": 3.9,
    "error": None,
}
ENVIRONMENT: Final[dict[str, Any]] = {
    "host": "http://127.0.0.1:11434",
    "host_info": "RTX 4090",
    "ollama_version": "0.24.0",
    "service_version": "0.1.0",
    "workload_hash": WORKLOAD_HASH,
    "options_effective": {"num_predict": 128, "temperature": 0, "seed": 42},
    "models": {
        "qwen3:8b": {
            "model_digest": "500a1f067a9f782620b40bee6f7b0c89e17ae61f686b92c24933e4ca4b2b8b41",
            "family": "qwen3",
            "parameter_size": "8.2B",
            "quantization_level": "Q4_K_M",
            "context_length": 4096,
            "size": 6_500_000_000,
            "size_vram": 6_500_000_000,
            "gpu_offload_share": 1.0,
            "capabilities": ["completion", "thinking"],
            "remote": False,
            "loaded_before": [],
            "loaded_after": ["qwen3:8b"],
        }
    },
}
SUMMARY: Final[dict[str, Any]] = {
    "id": BENCHMARK_ID,
    "object": "benchmark",
    "status": "completed",
    "label": "before the update",
    "models": ["qwen3:8b", "gemma3:4b"],
    "prompt": "Test prompt",
    "prompts": ["Test prompt"],
    "num_runs": 3,
    "warmup_runs": 1,
    "concurrency": [1],
    "options": {"num_predict": 128, "temperature": 0, "seed": 42},
    "think": None,
    "prefix_cache": "avoid",
    "measure_cold_load": True,
    "order": "sequential",
    "cooldown_s": 0.0,
    "timeout_s": 300.0,
    "keep_alive": None,
    "slo": {"latency_s": None, "ttft_s": 0.5, "tpot_s": 0.05},
    "baseline_id": None,
    "host_info": "RTX 4090",
    "metadata": {"project": "upgrade"},
    "counts": {
        "total": 10,
        "pending": 0,
        "succeeded": 5,
        "failed": 1,
        "skipped": 4,
        "cancelled": 0,
    },
    "progress": 1.0,
    "eta_s": None,
    "sessions": 1,
    "created_at": "2026-11-23T06:30:00.123Z",
    "started_at": "2026-11-23T06:30:00.223Z",
    "finished_at": "2026-11-23T06:30:09.456Z",
    "error": None,
    "environment": ENVIRONMENT,
}
RESULT: Final[dict[str, Any]] = {
    "model": "qwen3:8b",
    "latency": 0.823333,
    "tokens_per_sec": 164.103,
    "prompt": "Test prompt",
    "response": "This is a test.",
    "num_runs": 3,
    "error": None,
    "error_code": None,
    "n_ok": 3,
    "n_failed": 0,
    "levels": [LEVEL],
    "cold_load": COLD_LOAD,
    "flags": ["too_few_runs"],
}
MISSING_MODEL: Final[dict[str, Any]] = {
    **RESULT,
    "model": "gemma3:4b",
    "latency": None,
    "tokens_per_sec": None,
    "response": None,
    "error": "model 'gemma3:4b' not found",
    "error_code": "model_not_found",
    "n_ok": 0,
    "levels": [],
    "cold_load": None,
    "flags": [],
}
BENCHMARK: Final[dict[str, Any]] = {
    **SUMMARY,
    "results": {"qwen3:8b": RESULT, "gemma3:4b": MISSING_MODEL},
}
ACCEPTED: Final[dict[str, Any]] = {
    **SUMMARY,
    "status": "queued",
    "counts": {
        "total": 10,
        "pending": 10,
        "succeeded": 0,
        "failed": 0,
        "skipped": 0,
        "cancelled": 0,
    },
    "progress": 0.0,
    "sessions": 0,
    "started_at": None,
    "finished_at": None,
    "environment": {
        **ENVIRONMENT,
        "host": None,
        "ollama_version": None,
        "service_version": None,
        "models": {},
    },
    "results": {},
}
CANCELLING: Final[dict[str, Any]] = {**ACCEPTED, "status": "cancelling"}
BENCHMARK_PAGE: Final[dict[str, Any]] = {"data": [SUMMARY], "next_cursor": None}
RUN: Final[dict[str, Any]] = {
    "run_index": 0,
    "phase": "measured",
    "model": "qwen3:8b",
    "prompt_index": 0,
    "concurrency": 1,
    "session": 1,
    "scheduled_at": "2026-11-23T06:30:04.100Z",
    "started_at": "2026-11-23T06:30:04.100Z",
    "status": "succeeded",
    "error_code": None,
    "error": None,
    "done_reason": "length",
    "latency_s": 0.82,
    "client_queue_s": 0.0001,
    "ttft_s": 0.03,
    "ttfo_s": 0.03,
    "tpot_s": 0.00622,
    "icl": {"chunks": 80, "p50_s": 0.0099, "p95_s": 0.0103, "max_s": 0.0131},
    "total_duration": 812000000,
    "load_duration": 10000000,
    "prompt_eval_count": 22,
    "prompt_eval_duration": 20000000,
    "eval_count": 128,
    "eval_duration": 780000000,
    "prompt_tokens": 22,
    "cached_prompt_tokens": 0,
    "output_tokens": 128,
    "response": "This is a test.",
    "response_sha256": "a3c5a2b1e7d9f8c6b4a2e1d3c5b7a9f8e6d4c2b1a3f5e7d9c8b6a4f2e1d3c5b7",
    "flags": [],
}
RUN_PAGE: Final[dict[str, Any]] = {"data": [RUN], "next_cursor": None}
COMPARED: Final[dict[str, Any]] = {
    "metric": "latency_s",
    "model": "qwen3:8b",
    "baseline_model": "qwen3:8b",
    "prompt_index": 0,
    "concurrency": 1,
    "ratio": 0.91,
    "ci95": {
        "low": 0.88,
        "high": 0.94,
        "of": "ratio",
        "method": "hodges_lehmann_mann_whitney",
    },
    "method": "hodges_lehmann_mann_whitney",
    "p_value": 0.0079,
    "n_base": 10,
    "n_target": 10,
    "verdict": "faster",
}
COMPARISON: Final[dict[str, Any]] = {
    "baseline_id": BASELINE_ID,
    "target_id": BENCHMARK_ID,
    "comparisons": [COMPARED],
    "not_comparable": [
        {
            "model": "gemma3:4b",
            "prompt_index": 0,
            "concurrency": 8,
            "verdict": "not_comparable",
            "reason": "the baseline did not measure 8 requests in flight",
        }
    ],
    "differences": [{"what": "ollama_version", "base": "0.24.0", "target": "0.25.0"}],
    "geomean_ratio": {
        "latency_s": 0.91,
        "ttft_s": 0.99,
        "tpot_s": 0.9,
        "decode_tokens_per_sec": 1.1,
        "prefill_tokens_per_sec": None,
    },
}

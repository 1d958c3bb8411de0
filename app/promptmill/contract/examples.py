"""The batch that all examples of the documentation show, so that they agree."""

from __future__ import annotations

from typing import Any, Final

BATCH_ID: Final = "batch_01kasqg8v3m2c6hq0n5t7x9zed"
_CURSOR: Final = "YWZ0ZXI6OTk"

REQUEST: Final[dict[str, Any]] = {
    "prompts": [
        "Why is the sky blue?",
        {"id": "grass", "prompt": "Why is grass green?", "options": {"temperature": 0}},
        {"messages": [{"role": "user", "content": "Hello!"}], "model": "llama3.2:3b"},
    ],
    "model": "qwen3:8b",
    "max_concurrent": 5,
    "rate_limit_delay": 0.1,
    "options": {"num_predict": 128},
    "auto_pull": True,
    "label": "colours, first try",
    "metadata": {"project": "colours"},
}
RESULT: Final[dict[str, Any]] = {
    "prompt": "Why is the sky blue?",
    "response": "Because air scatters blue light more than red.",
    "model": "qwen3:8b",
    "success": True,
    "error": None,
    "index": 0,
    "id": None,
    "status": "succeeded",
    "error_code": None,
    "defect": None,
    "attempts": 1,
    "done_reason": "stop",
    "thinking": None,
    "tool_calls": None,
    "logprobs": None,
    "host": "http://127.0.0.1:11434",
    "total_duration": 512000000,
    "load_duration": 45000000,
    "prompt_eval_count": 11,
    "prompt_eval_duration": 20000000,
    "eval_count": 20,
    "eval_duration": 360000000,
    "latency_s": 0.514,
    "ttft_s": 0.081,
    "started_at": "2026-11-23T06:30:00.223Z",
    "finished_at": "2026-11-23T06:30:00.737Z",
    "embedding": None,
    "data": None,
}
FAILED_RESULT: Final[dict[str, Any]] = {
    **dict.fromkeys(RESULT),
    "prompt": "Hello!",
    "model": "llama3.2:3b",
    "success": False,
    "error": "model 'llama3.2:3b' not found",
    "index": 2,
    "status": "failed",
    "error_code": "model_not_found",
    "attempts": 1,
    "host": "http://127.0.0.1:11434",
    "latency_s": 0.003,
    "started_at": "2026-11-23T06:30:00.423Z",
    "finished_at": "2026-11-23T06:30:00.426Z",
}
SUMMARY: Final[dict[str, Any]] = {
    "id": BATCH_ID,
    "object": "batch",
    "status": "running",
    "model": "qwen3:8b",
    "kind": "generate",
    "max_concurrent": 5,
    "auto_concurrency": False,
    "rate_limit_delay": 0.1,
    "priority": 0,
    "label": "colours, first try",
    "metadata": {"project": "colours"},
    "counts": {
        "total": 3,
        "pending": 0,
        "running": 1,
        "succeeded": 1,
        "failed": 1,
        "cancelled": 0,
        "expired": 0,
    },
    "progress": 0.6666,
    "prompts_per_s": 2.5,
    "eta_s": 0.4,
    "queue_position": None,
    "waiting_for": None,
    "usage": {"prompt_tokens": 11, "completion_tokens": 20},
    "created_at": "2026-11-23T06:30:00.123Z",
    "started_at": "2026-11-23T06:30:00.223Z",
    "finished_at": None,
    "expires_at": None,
    "error": None,
    "timeout_s": 300.0,
    "max_attempts": 3,
    "max_failures": "50%",
    "fail_on": ["empty", "invalid_json", "schema_mismatch"],
    "auto_pull": True,
    "pulls": [
        {
            "model": "qwen3:8b",
            "host": "http://127.0.0.1:11434",
            "status": "succeeded",
            "completed_bytes": 5225388164,
            "total_bytes": 5225388164,
            "detail": "success",
            "error": None,
        }
    ],
    "key": "alice",
    "parameters": {"options": {"num_predict": 128}},
}
BATCH: Final[dict[str, Any]] = {
    **SUMMARY,
    "results": [RESULT, FAILED_RESULT],
    "next_cursor": None,
}
ACCEPTED: Final[dict[str, Any]] = {
    **SUMMARY,
    "status": "queued",
    "counts": {
        "total": 3,
        "pending": 3,
        "running": 0,
        "succeeded": 0,
        "failed": 0,
        "cancelled": 0,
        "expired": 0,
    },
    "progress": 0.0,
    "prompts_per_s": None,
    "eta_s": None,
    "queue_position": 1,
    "waiting_for": None,
    "usage": {"prompt_tokens": 0, "completion_tokens": 0},
    "started_at": None,
    "pulls": [],
    "results": [],
    "next_cursor": None,
    "unchecked": [],
}
CANCELLING: Final[dict[str, Any]] = {
    **SUMMARY,
    "status": "cancelling",
    "results": [],
    "next_cursor": None,
}
BATCH_PAGE: Final[dict[str, Any]] = {"data": [SUMMARY], "next_cursor": None}
RESULT_PAGE: Final[dict[str, Any]] = {
    "data": [RESULT],
    "next_cursor": _CURSOR,
    "scanned": 1,
    "complete": True,
}
MODEL: Final[dict[str, Any]] = {
    "name": "qwen3:8b",
    "size": 5225388164,
    "digest": "500a1f067a9f782620b40bee6f7b0c89e17ae61f686b92c24933e4ca4b2b8b41",
    "family": "qwen3",
    "parameter_size": "8.2B",
    "quantization_level": "Q4_K_M",
    "hosts": ["http://127.0.0.1:11434"],
    "loaded_on": ["http://127.0.0.1:11434"],
    "recommended": {"max_concurrent": 5, "rate_limit_delay": 0.1},
}
MODEL_PAGE: Final[dict[str, Any]] = {"data": [MODEL], "next_cursor": None}
HOST: Final[dict[str, Any]] = {
    "id": "host_1",
    "url": "http://gpu-1:11434",
    "machine": None,
    "enabled": True,
    "reachable": True,
    "error": None,
    "version": "0.24.0",
    "slots": 4,
    "in_flight": 3,
    "held_by": None,
    "models": 12,
    "only_models": None,
    "loaded_models": [
        {
            "name": "qwen3:8b",
            "size": 6481043456,
            "size_vram": 6481043456,
            "context_length": 4096,
        }
    ],
    "loaded_models_age_s": 0.0,
    "groups": [],
    "quarantine": None,
    "on_trial": False,
    "calls": 1319,
    "failed": 2,
    "latency_s": 0.514,
}
_NO_CONNECTION: Final = "No connection to http://gpu-2:11434 could be made: Connection refused"
HOST_DOWN: Final[dict[str, Any]] = {
    **HOST,
    "id": "host_2",
    "url": "http://gpu-2:11434",
    "reachable": False,
    "error": _NO_CONNECTION,
    "in_flight": 0,
    "loaded_models_age_s": 41.7,
    "quarantine": {
        "next_look_s": 3.2,
        "error_code": "host_unreachable",
        "reason": _NO_CONNECTION,
    },
    "calls": 611,
    "failed": 4,
}
HOST_PAGE: Final[dict[str, Any]] = {"data": [HOST, HOST_DOWN], "next_cursor": None}
WORKER: Final[dict[str, Any]] = {
    "id": "gpu-box-4711-9f86d081",
    "host_name": "gpu-box",
    "pid": 4711,
    "version": "0.1.0",
    "concurrency": 256,
    "alive": True,
    "state": "alive",
    "in_flight": 5,
    "finished": 1319,
    "fenced": 0,
    "started_at": "2026-11-23T06:00:00.000Z",
    "seen_at": "2026-11-23T06:30:00.123Z",
    "exchanged_at": "2026-11-23T06:29:59.987Z",
    "stopped_at": None,
}
WORKER_PAGE: Final[dict[str, Any]] = {"data": [WORKER], "next_cursor": None}
REQUEST_ID: Final = "9f86d081884c7d659a2feaa0c55ad015"

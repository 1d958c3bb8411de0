"""Documents of batches and results, field by field in the contract's order.

They are plain dicts, written by pydantic's JSON encoder: a page of a thousand results takes
milliseconds. The records in `contract` describe the same fields for OpenAPI; a test compares the
two.
"""

from __future__ import annotations

import asyncio
import math
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from typing import Any, Final

from pydantic_core import to_json
from starlette.responses import Response

from promptmill.contract.results import Result
from promptmill.domain.batches import Batch, FailureLimit, TaskResult, WaitingFor
from promptmill.domain.outcomes import DEFAULT_FAIL_ON, METRICS
from promptmill.domain.scheduling.downloads import Pull
from promptmill.domain.vectors import unpacked
from promptmill.domain.workers import Worker, WorkerState
from promptmill.services.models import ModelSummary

RESULT_FIELDS: Final = tuple(Result.model_fields)
"""Fields of a result in their order, which is also that of the columns in CSV."""


class JsonResponse(Response):
    """JSON response from plain dicts and lists."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - Starlette's signature
        """Encode the content as UTF-8."""
        return to_json(content)


def timestamp(moment_ms: int | None) -> str | None:
    """Format a moment by RFC 3339 in UTC, to the millisecond."""
    if moment_ms is None:
        return None
    seconds, milliseconds = divmod(moment_ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.isoformat()[:19]}.{milliseconds:03d}Z"  # Faster than strftime.


def batch_document(
    batch: Batch, results: Sequence[dict[str, Any]] = (), next_cursor: str | None = None
) -> dict[str, Any]:
    """Document of a batch with a page of its results."""
    return {
        **batch_summary(batch),
        "results": list(results),
        "next_cursor": next_cursor,
    }


def batch_summary(batch: Batch) -> dict[str, Any]:
    """Document of a batch without its results, for lists."""
    counts = batch.counts
    return {
        "id": batch.id,
        "object": "batch",
        "status": batch.state.value,
        "model": batch.model,
        "kind": batch.kind.value,
        "max_concurrent": batch.limits.max_concurrent,
        "auto_concurrency": batch.auto_concurrency,
        "rate_limit_delay": batch.limits.rate_limit_delay_s,
        "priority": batch.priority,
        "label": batch.label,
        "metadata": batch.metadata,
        "counts": {
            "total": counts.total,
            "pending": counts.pending,
            "running": counts.running,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "cancelled": counts.cancelled,
            "expired": counts.expired,
        },
        # Truncated, not rounded: 1 means that all prompts have an outcome.
        "progress": math.floor(batch.progress * 10_000) / 10_000,
        "prompts_per_s": _rounded(batch.prompts_per_s, 3),
        "eta_s": _rounded(batch.eta_s, 1),
        "queue_position": batch.queue_position,
        "waiting_for": None if batch.waiting_for is None else _waiting_for(batch.waiting_for),
        "usage": {
            "prompt_tokens": batch.usage.prompt_tokens,
            "completion_tokens": batch.usage.completion_tokens,
        },
        "created_at": timestamp(batch.created_at_ms),
        "started_at": timestamp(batch.started_at_ms),
        "finished_at": timestamp(batch.finished_at_ms),
        "expires_at": timestamp(batch.expires_at_ms),
        "error": batch.error,
        "timeout_s": batch.timeout_s,
        "max_attempts": batch.max_attempts,
        "max_failures": failure_limit(batch.max_failures),
        "fail_on": [
            code.value for code in (DEFAULT_FAIL_ON if batch.fail_on is None else batch.fail_on)
        ],
        "auto_pull": batch.auto_pull,
        "pulls": [_pull(pull) for pull in batch.pulls],
        "key": batch.key_name,
        "parameters": batch.parameters,
    }


def _waiting_for(waiting: WaitingFor) -> dict[str, Any]:
    return {
        "reason": waiting.reason.value,
        "message": waiting.message,
        "until": timestamp(waiting.until_ms),
        "host": waiting.host,
    }


def _pull(pull: Pull) -> dict[str, Any]:
    return {
        "model": pull.model,
        "host": pull.host,
        "status": pull.state.value,
        "completed_bytes": pull.completed_bytes,
        "total_bytes": pull.total_bytes,
        "detail": pull.detail,
        "error": pull.error,
    }


def failure_limit(limit: FailureLimit | None) -> int | str | None:
    """Format `max_failures` as it was sent: a number, or a share such as `20%`."""
    if limit is None:
        return None
    return limit.text if limit.text.endswith("%") else int(limit.text)


_NAMED_OTHERWISE: Final = {
    "id": "custom_id",
    "started_at": "started_at_ms",
    "finished_at": "finished_at_ms",
    **{name: f"metrics.{name}" for name in METRICS},
}
_RESULT: Final = attrgetter(*(_NAMED_OTHERWISE.get(name, name) for name in RESULT_FIELDS))


async def result_documents(
    results: Sequence[TaskResult], *, base64: bool = False
) -> list[dict[str, Any]]:
    """Documents of results; vectors are written in a thread."""
    write = partial(result_document, base64=base64)
    if any(result.embedding is not None for result in results):
        return await asyncio.to_thread(lambda: [write(result) for result in results])
    return [write(result) for result in results]


def result_document(result: TaskResult, *, base64: bool = False) -> dict[str, Any]:
    """Document of a result; its keys are `RESULT_FIELDS`.

    A vector is a list of numbers or, with `base64`, the text of its 32-bit numbers, little-endian.
    """
    document = dict(zip(RESULT_FIELDS, _RESULT(result), strict=True))
    # Values instead of enumerations, which to_json writes faster.
    document["status"] = result.status.value
    document["error_code"] = result.error_code.value if result.error_code else None
    document["defect"] = result.defect.value if result.defect else None
    document["latency_s"] = _rounded(document["latency_s"], 6)
    document["ttft_s"] = _rounded(document["ttft_s"], 6)
    document["started_at"] = timestamp(document["started_at"])
    document["finished_at"] = timestamp(document["finished_at"])
    if result.embedding is not None:
        document["embedding"] = _vector(result.embedding, base64=base64)
    return document


def _vector(embedding: bytes, *, base64: bool) -> list[float] | str:
    return b64encode(embedding).decode() if base64 else unpacked(embedding)


def model_document(model: ModelSummary) -> dict[str, Any]:
    """Document of an installed model."""
    return {
        "name": model.name,
        "size": model.size,
        "digest": model.digest,
        "family": model.family,
        "parameter_size": model.parameter_size,
        "quantization_level": model.quantization_level,
        "hosts": list(model.hosts),
        "loaded_on": list(model.loaded_on),
        "recommended": {
            "max_concurrent": model.recommended.max_concurrent,
            "rate_limit_delay": model.recommended.rate_limit_delay_s,
        },
    }


def worker_document(worker: Worker) -> dict[str, Any]:
    """Document of a worker."""
    identity = worker.identity
    return {
        "id": identity.id,
        "host_name": identity.host_name,
        "pid": identity.pid,
        "version": identity.version,
        "concurrency": identity.concurrency,
        "alive": worker.state is WorkerState.ALIVE,
        "state": worker.state.value,
        "in_flight": worker.in_flight,
        "finished": worker.finished,
        "fenced": worker.fenced,
        "started_at": timestamp(worker.started_at_ms),
        "seen_at": timestamp(worker.seen_at_ms),
        "exchanged_at": timestamp(worker.exchanged_at_ms),
        "stopped_at": timestamp(worker.stopped_at_ms),
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)

"""What a pretended service answers, and the type of the fixture that runs a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from typer.testing import Result

from promptmill.contract.batches import Batch
from promptmill.contract.results import Result as ResultRecord
from tests.documents import whole

URL = "http://127.0.0.1:8000"

Invoke = Callable[..., Result]


def batch(status: str = "queued", *, total: int = 2, **counts: int) -> dict[str, Any]:
    """A batch as the service tells it."""
    filled = {"pending": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0, **counts}
    if not counts:
        filled["pending"] = total
    ended = status in {"completed", "failed", "cancelled", "expired"}
    return whole(
        Batch,
        {
            "id": "batch_1",
            "object": "batch",
            "status": status,
            "model": "tiny",
            "max_concurrent": 5,
            "rate_limit_delay": 0.1,
            "counts": {"total": total, **filled},
            "progress": 0.5,
            "created_at": "2026-11-23T06:30:00.000Z",
            "started_at": "2026-11-23T06:30:01.000Z",
            "finished_at": "2026-11-23T06:30:06.000Z" if ended else None,
        },
    )


def result_document(index: int, **fields: Any) -> dict[str, Any]:
    """A result as the service tells it."""
    return whole(
        ResultRecord,
        {
            "index": index,
            "prompt": f"question {index}",
            "response": f"answer {index}",
            "model": "tiny",
            "success": True,
            "status": "succeeded",
            "latency_s": 0.5,
            **fields,
        },
    )


def events_of(status: str, *results: dict[str, Any]) -> bytes:
    """The stream of events of a batch that ends so, its results in the order given."""
    ended = batch(status, total=len(results), succeeded=len(results))
    told = [("0", "progress", batch("running", total=len(results)))]
    told += [(str(number), "result", one) for number, one in enumerate(results, start=1)]
    told.append((f"{len(results)}-end", "end", ended))
    lines = (f"id: {key}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for key, name, data in told)
    return "".join(lines).encode()


EVENT_STREAM = {"content-type": "text/event-stream"}

"""A service that is the same at each run: what the transcripts of the command line tell of."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import respx

from promptmill.contract.batches import BatchPage
from promptmill.contract.dry_run import DryRun
from promptmill.contract.hosts import Host, HostPage
from promptmill.contract.reading import HISTORY_PAGE, WaitingPromptPage
from promptmill.contract.results import ResultPage
from promptmill.contract.service import ModelPage, WorkerPage
from promptmill.contract.settings import INSTALLATION
from tests.cli.pretended import EVENT_STREAM, batch, result_document
from tests.cli.pretended_benchmarks import benchmark
from tests.documents import whole

REVIEWS = "batch_01m89k209d8r7xc03jdph78fhn"
NIGHT = "batch_01m89k18gfpc6b2p3yks21bst9"
OLDER = "batch_01m79bsk9vc8wg44sv797e7p33"
BENCHMARK = "bench_01m89xrx092yn3h075wvtttndt"
QUESTIONS = ("Why is the sky blue?", "Why is grass green?")
ANSWERS = (
    "Because air scatters blue light more than red.\n\nAt sunset its way is longer: red is left.",
    "Because of chlorophyll, which takes up red and blue light.",
)

_COUNTS = {"pending": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0, "expired": 0}
_NEVER = {"title": "Not found", "status": 404, "detail": "There is no batch."}
_HOST = {
    "id": "host_1",
    "url": "http://gpu-1:11434",
    "enabled": True,
    "reachable": True,
    "version": "0.24.0",
    "slots": 4,
    "in_flight": 3,
    "models": 2,
    "loaded_models": [{"name": "qwen3:8b", "size": 8_000_000_000, "size_vram": 6_000_000_000}],
    "calls": 1319,
    "failed": 2,
    "latency_s": 0.514,
}
_REFUSED = "No connection to http://gpu-2:11434 could be made: Connection refused"
_DOWN = {
    "id": "host_2",
    "url": "http://gpu-2:11434",
    "enabled": True,
    "reachable": False,
    "error": _REFUSED,
    "quarantine": {"next_look_s": 3.2, "error_code": "host_unreachable", "reason": _REFUSED},
    "failed": 7,
}
_WORKER = {
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
}
_MODEL = {
    "name": "qwen3:8b",
    "size": 5_225_388_164,
    "parameter_size": "8.2B",
    "quantization_level": "Q4_K_M",
    "hosts": ["http://gpu-1:11434"],
    "loaded_on": ["http://gpu-1:11434"],
    "recommended": {"max_concurrent": 5, "rate_limit_delay": 0.1},
}


def told(batch_id: str, status: str, label: str | None = None, **counts: int) -> dict[str, Any]:
    """A batch of the model qwen3:8b."""
    return batch(status) | {
        "id": batch_id,
        "model": "qwen3:8b",
        "kind": "generate",
        "label": label,
        "counts": {**_COUNTS, **counts, "total": sum(counts.values())},
        "metadata": {},
        "max_attempts": 3,
        "timeout_s": 300.0,
        "prompts_per_s": 2.5,
        "usage": {"prompt_tokens": 311, "completion_tokens": 920},
    }


WORKING = told(NIGHT, "running", "nightly", succeeded=240, failed=2, running=5, pending=753) | {
    "eta_s": 303.0,
    "priority": 10,
    "metadata": {"project": "colours"},
}
DONE = told(REVIEWS, "completed", "reviews", succeeded=2)
FAILED = told(OLDER, "failed", "nightly", failed=1) | {"error": "No prompt succeeded."}
WAITING = told(NIGHT, "running", "nightly", running=1, pending=999) | {
    "waiting_for": {
        "reason": "host_unreachable",
        "message": _REFUSED,
        "host": "http://gpu-2:11434",
        "until": None,
    }
}


def tell_story(router: respx.MockRouter) -> None:
    """Let the service answer what a person may ask for."""
    router.routes.clear()
    ask = router.get
    ask("/health").respond(200, json={"status": "ok", "version": "0.1.0"})
    ask("/batches").mock(side_effect=_listed)
    ask(f"/batches/{NIGHT}").mock(side_effect=_moving())
    for one in (DONE, FAILED):
        ask(f"/batches/{one['id']}").respond(200, json=one)
    results = [
        result_document(index, prompt=asked, response=answer, model="qwen3:8b")
        for index, (asked, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True))
    ]
    ask(f"/batches/{REVIEWS}/results").mock(side_effect=_told(*results))
    failure = result_document(
        0,
        prompt="Why?",
        response=None,
        success=False,
        status="failed",
        error_code="model_not_found",
        error="The host does not have the model; pull it first",
    )
    ask(f"/batches/{OLDER}/results").mock(side_effect=_told(failure))
    ask(f"/batches/{REVIEWS}/events").respond(
        200, content=_events(DONE, *results), headers=EVENT_STREAM
    )
    prompt = {"index": 240, "prompt": "Why is snow white?", "state": "running", "attempts": 1}
    place = {"host": "http://gpu-1:11434", "worker": "gpu-box-4711-9f86d081"}
    ask(f"/batches/{NIGHT}/prompts").respond(
        200, json=whole(WaitingPromptPage, {"data": [prompt | place]})
    )
    ask(f"/batches/{NIGHT}/history").respond(200, json=HISTORY_PAGE)
    router.post("/batches").mock(side_effect=_accepted)
    router.post(f"/batches/{NIGHT}/pause").respond(202, json=WORKING | {"status": "paused"})
    router.post(f"/batches/{NIGHT}/resume").respond(202, json=WORKING)
    router.post(f"/batches/{NIGHT}/cancel").respond(202, json=WORKING | {"status": "cancelling"})
    router.post(f"/batches/{OLDER}/retry").respond(202, json=FAILED | {"status": "running"})
    changed = {"max_concurrent": 8, "rate_limit_delay": 0.0, "label": "tonight"}
    router.patch(f"/batches/{NIGHT}").respond(200, json=WORKING | changed)
    router.delete(f"/batches/{OLDER}").respond(204)
    router.delete(f"/batches/{NIGHT}").respond(
        409, json=_NEVER | {"status": 409, "detail": "The batch is running; cancel it first."}
    )
    ask("/models").respond(200, json=whole(ModelPage, {"data": [_MODEL, {"name": "tiny:latest"}]}))
    ask("/settings").respond(200, json=INSTALLATION)
    ask("/hosts").respond(200, json=whole(HostPage, {"data": [_HOST, _DOWN]}))
    router.patch("/hosts/host_2").respond(200, json=whole(Host, _DOWN | {"enabled": False}))
    ask("/workers").respond(200, json=whole(WorkerPage, {"data": [_WORKER]}))
    ask("/benchmarks").respond(200, json={"data": [benchmark(id=BENCHMARK)], "next_cursor": None})
    ask(f"/benchmarks/{BENCHMARK}").respond(200, json=benchmark(id=BENCHMARK))


def _told(*results: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    """Results as a page or as lines, as they are asked for."""
    page = whole(ResultPage, {"data": list(results), "complete": True})
    lines = "".join(f"{json.dumps(one)}\n" for one in results)
    return lambda request: (
        httpx.Response(200, content=lines)
        if "ndjson" in request.headers.get("accept", "")
        else httpx.Response(200, json=page)
    )


def _listed(request: httpx.Request) -> httpx.Response:
    found = [DONE, WAITING, FAILED]
    asked = request.url.params
    if asked.get("model") == "away":
        raise httpx.ConnectError("[Errno 111] Connection refused")
    if "label" in asked:
        found = [one for one in found if one["label"] == asked["label"]]
    if "status" in asked:
        found = [one for one in found if one["status"] == asked["status"]]
    return httpx.Response(200, json=whole(BatchPage, {"data": found}))


def _moving() -> Callable[[httpx.Request], httpx.Response]:
    """A batch that waits for a host, runs, and has ended at the third look."""
    ended = told(NIGHT, "completed", "nightly", succeeded=998, failed=2)
    looks = iter([WAITING, WORKING])
    return lambda request: httpx.Response(
        200, json=WORKING if "wait_s" not in request.url.params else next(looks, ended)
    )


def _accepted(request: httpx.Request) -> httpx.Response:
    if "dry_run" in request.url.params:
        dry = {"at_least_s": 0.1, "prompts": 2, "models": ["qwen3:8b"], "model": "qwen3:8b"}
        limits = {"max_concurrent": 5, "rate_limit_delay": 0.1}
        return httpx.Response(200, json=whole(DryRun, dry | limits))
    if b"temprature" in request.content:
        detail = "unknown field; did you mean `temperature`?"
        problem = {"type": "/problems/invalid-request", "title": "Invalid request", "status": 422}
        errors = [{"pointer": "/options/temprature", "detail": detail}]
        return httpx.Response(
            422, json=problem | {"detail": "One entry is wrong.", "errors": errors}
        )
    return httpx.Response(202, json=DONE | {"status": "queued"})


def _events(ended: dict[str, Any], *results: dict[str, Any]) -> bytes:
    events = [("0", "progress", ended | {"status": "running"})]
    events += [(str(number), "result", one) for number, one in enumerate(results, start=1)]
    events.append((f"{len(results)}-end", "end", ended))
    lines = (
        f"id: {key}\nevent: {name}\ndata: {json.dumps(data)}\n\n" for key, name, data in events
    )
    return "".join(lines).encode()

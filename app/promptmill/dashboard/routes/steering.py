"""Actions of the buttons: pause, resume, change, cancel, retry, delete; without scripts too.

That a page of this service has asked, and that its caller may, was decided by `access` before.
"""

from __future__ import annotations

from typing import Final

from fastapi import Request
from starlette.responses import Response

from promptmill.dashboard.pages import (
    BatchId,
    BenchmarkId,
    HostId,
    caller_of,
    form_of,
    go_to,
    page_router,
    resources_of,
)
from promptmill.dashboard.routes.batch import number_of
from promptmill.domain.batches import BatchChanges
from promptmill.domain.errors import FieldProblem, Invalid
from promptmill.domain.limits import MAX_CONCURRENT_BOUND
from promptmill.domain.outcomes import ErrorCode
from promptmill.services import batches, benchmarks, control, hosts
from promptmill.services.reading import search

router = page_router()
_LONGEST_DELAY_S: Final = 3600.0
_MOST_PRIORITY: Final = 100


@router.post("/ui/batches/{batch_id}/pause")
async def pause(request: Request, batch_id: BatchId) -> Response:
    """Start nothing more of the batch."""
    await control.pause(resources_of(request), batch_id, caller=caller_of(request))
    return go_to(request, f"/ui/batches/{batch_id}", done="paused")


@router.post("/ui/batches/{batch_id}/resume")
async def resume(request: Request, batch_id: BatchId) -> Response:
    """Let a paused batch go on."""
    await control.resume(resources_of(request), batch_id, caller=caller_of(request))
    return go_to(request, f"/ui/batches/{batch_id}", done="resumed")


@router.post("/ui/batches/{batch_id}/cancel")
async def cancel(request: Request, batch_id: BatchId) -> Response:
    """End the batch early."""
    await batches.cancel(resources_of(request), batch_id, caller=caller_of(request))
    return go_to(request, f"/ui/batches/{batch_id}", done="cancelled")


@router.post("/ui/batches/{batch_id}/delete")
async def delete(request: Request, batch_id: BatchId) -> Response:
    """Remove a batch that has ended."""
    await batches.delete(resources_of(request), batch_id)
    return go_to(request, "/ui/batches", done="deleted")


@router.post("/ui/batches/{batch_id}/retry")
async def retry(request: Request, batch_id: BatchId) -> Response:
    """Run again what had no success: all of it, one prompt, or the prompts of one cause."""
    resources, form = resources_of(request), await form_of(request)
    indexes = None
    if (index := number_of(form.get("index"))) is not None:
        indexes = [index]
    elif form.get("error_code") in set(ErrorCode):
        code, sentence = ErrorCode(form["error_code"]), form.get("cause")
        indexes = await search.failed_by(resources, batch_id, code, sentence)
    await control.retry(resources, batch_id, indexes=indexes, caller=caller_of(request))
    return go_to(request, f"/ui/batches/{batch_id}", done="retried")


@router.post("/ui/batches/{batch_id}/change")
async def change(request: Request, batch_id: BatchId) -> Response:
    """Change limits or priority; what is empty stays as it is."""
    form = await form_of(request)
    changes, caller = _changes(form), caller_of(request)
    await control.update(resources_of(request), batch_id, changes, caller=caller)
    return go_to(request, f"/ui/batches/{batch_id}", done="changed")


def _changes(form: dict[str, str]) -> BatchChanges:
    problems: list[FieldProblem] = []

    def number(name: str, least: float, most: float, *, whole: bool) -> float | None:
        text = form.get(name, "").strip()
        if not text:
            return None
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            problems.append(FieldProblem(name, f"must be {kind} from {least:g} to {most:g}"))
            return None
        return value

    is_auto = form.get("max_concurrent", "").strip() == "auto"
    if is_auto:
        form = {**form, "max_concurrent": ""}
    concurrent = number("max_concurrent", 1, MAX_CONCURRENT_BOUND, whole=True)
    delay_s = number("rate_limit_delay", 0, _LONGEST_DELAY_S, whole=False)
    priority = number("priority", -_MOST_PRIORITY, _MOST_PRIORITY, whole=True)
    if problems:
        raise Invalid("The limits were not changed.", tuple(problems))
    return BatchChanges(
        max_concurrent=None if concurrent is None else int(concurrent),
        auto_concurrency=is_auto,
        rate_limit_delay_s=delay_s,
        priority=None if priority is None else int(priority),
    )


@router.post("/ui/benchmarks/{benchmark_id}/cancel")
async def cancel_benchmark(request: Request, benchmark_id: BenchmarkId) -> Response:
    """End the benchmark early."""
    await benchmarks.cancel(resources_of(request), benchmark_id)
    return go_to(request, f"/ui/benchmarks/{benchmark_id}", done="bench-cancelled")


@router.post("/ui/benchmarks/{benchmark_id}/delete")
async def delete_benchmark(request: Request, benchmark_id: BenchmarkId) -> Response:
    """Remove a benchmark that has ended."""
    await benchmarks.delete(resources_of(request), benchmark_id)
    return go_to(request, "/ui/benchmarks", done="deleted")


@router.post("/ui/hosts/{host_id}/disable")
async def disable_host(request: Request, host_id: HostId) -> Response:
    """Take the host out of service."""
    await hosts.set_enabled(resources_of(request), host_id, enabled=False)
    return go_to(request, "/ui/hosts", done="disabled")


@router.post("/ui/hosts/{host_id}/enable")
async def enable_host(request: Request, host_id: HostId) -> Response:
    """Put the host back into service."""
    await hosts.set_enabled(resources_of(request), host_id, enabled=True)
    return go_to(request, "/ui/hosts", done="enabled")

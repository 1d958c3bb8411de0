"""`/ui/benchmarks`: the benchmarks that there are, and the form for a new one."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from starlette.responses import Response

from promptmill.dashboard.pages import cursor_of, page_router, resources_of, show
from promptmill.domain.lifecycle import JobState
from promptmill.services import benchmarks
from promptmill.services.reading import glance

router = page_router()
_PAGE: Final = 30
_STATES: Final = ("queued", "running", "cancelling", "completed", "failed", "cancelled")


@router.get("/ui/benchmarks")
async def list_benchmarks(request: Request) -> Response:
    """A page of benchmarks, newest first."""
    status = request.query_params.get("status")
    found = await benchmarks.list_benchmarks(
        resources_of(request),
        limit=_PAGE,
        cursor=cursor_of(request),
        status=JobState(status) if status in _STATES else None,
    )
    return show(request, "benchmarks.html.j2", found=found, states=_STATES, chosen=status)


@router.get("/ui/benchmarks/new")
async def new_benchmark(request: Request) -> Response:
    """The form for a new benchmark; its script sends it to the API."""
    resources = resources_of(request)
    recent = await benchmarks.list_benchmarks(resources, limit=_PAGE, status=JobState.COMPLETED)
    return show(
        request,
        "new_benchmark.html.j2",
        models=await glance.seen_models(resources),
        chosen=request.query_params.get("model"),
        recent=recent.benchmarks,
    )

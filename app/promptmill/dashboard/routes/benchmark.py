"""`/ui/benchmarks/{id}` and `/compare`: what a benchmark found, and two side by side."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from starlette.responses import Response

from promptmill.dashboard import benchmark_charts
from promptmill.dashboard.pages import BenchmarkId, page_router, resources_of, show, text_of
from promptmill.domain.errors import Conflict, Invalid, NotFound
from promptmill.services import benchmarks

router = page_router()
_CHOICES: Final = 50


@router.get("/ui/benchmarks/compare")
async def compare(request: Request) -> Response:
    """Two benchmarks of the same work: verdicts, ratios, and what else differs."""
    resources = resources_of(request)
    target, base = text_of(request, "b"), text_of(request, "a")
    choices = await benchmarks.list_benchmarks(resources, limit=_CHOICES)
    found, trouble = None, None
    if target and base:
        try:
            found = await benchmarks.compare(resources, target, baseline_id=base)
        except (Conflict, Invalid, NotFound) as error:
            problems = error.problems if isinstance(error, Invalid) else ()
            trouble = " ".join([str(error), *(problem.detail for problem in problems)])
    return show(
        request,
        "compare.html.j2",
        choices=choices.benchmarks,
        base_id=base,
        target=target,
        found=found,
        trouble=trouble,
        chart=None if found is None else benchmark_charts.ratios(found.measures),
    )


@router.get("/ui/benchmarks/{benchmark_id}")
async def one_benchmark(request: Request, benchmark_id: BenchmarkId) -> Response:
    """The benchmark with the figures of all runs so far."""
    found = await benchmarks.measured(resources_of(request), benchmark_id)
    return show(
        request,
        "benchmark.html.j2",
        benchmark=found.benchmark,
        results=found.results,
        charts=benchmark_charts.of_levels(found.results),
        flags=benchmark_charts.flags_of(found.results),
    )

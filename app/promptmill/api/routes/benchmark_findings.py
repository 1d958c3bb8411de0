"""Endpoints of `/benchmarks/{id}` for runs, comparisons and reports."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from promptmill.api.dependencies import BenchmarkId, ResourcesOf, StrictRoute
from promptmill.api.documents.batches import JsonResponse
from promptmill.api.documents.benchmarks import RUN_FIELDS, comparison_document, run_document
from promptmill.api.documents.result_formats import (
    forms_of,
    refuse_paging,
    stream_response,
    wanted_format,
)
from promptmill.api.errors.problems import CONFLICT
from promptmill.api.openapi.document import always, problem, success, unknown_benchmark
from promptmill.api.pagination import after_index, result_cursor
from promptmill.api.schemas.benchmarks import CompareQuery, ReportQuery
from promptmill.api.schemas.queries import StreamQuery
from promptmill.contract import benchmark_examples as examples
from promptmill.contract.benchmark_findings import Comparison, RunPage
from promptmill.domain.errors import Conflict, Invalid
from promptmill.reports import ReportFormat, ReportInput, render
from promptmill.services import benchmarks

router = APIRouter(prefix="/benchmarks", tags=["Benchmarks"], route_class=StrictRoute)

_DEFAULT_LIMIT: Final = 100
_RUNS: Final = forms_of(RUN_FIELDS, run_document)
_ONE: Final = f"/benchmarks/{examples.BENCHMARK_ID}"
_STREAMS: Final[dict[str, Any]] = {
    "application/x-ndjson": {
        "schema": {"type": "string", "description": "One run as a JSON object on each line."},
        "examples": {
            "ndjson": {
                "summary": "One run on each line",
                "value": f"{to_json(examples.RUN).decode()}\n",
            }
        },
    },
    "text/csv": {
        "schema": {
            "type": "string",
            "description": "RFC 4180: a row of names, then a row for each run. Missing is an empty"
            " cell; lists and objects stand as JSON.",
        },
        "examples": {
            "csv": {"summary": "The row of names", "value": ",".join(RUN_FIELDS) + "\r\n"}
        },
    },
}
_REPORT: Final[dict[str, Any]] = {
    media_type: {
        "schema": {"type": "string", "description": f"{description}."},
        "examples": {name: {"summary": description, "value": value}},
    }
    for name, media_type, description, value in (
        ("html", "text/html", "One file with charts", "<!doctype html>"),
        ("md", "text/markdown", "Markdown", "# Benchmark"),
        ("csv", "text/csv", "A row for each model, prompt and level", "model,concurrency\r\n"),
        ("benchstat", "text/plain", "Go's benchmark format", "goos: linux\n"),
    )
}
_UNTRUSTED: Final = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self';"
    " base-uri 'none'"
)
"""Policy of a report: no scripts, no requests, no access to the service's origin."""


@router.get(
    "/{benchmark_id}/runs",
    response_model=None,
    summary="Read runs",
    responses={
        **always(f"{_ONE}/runs"),
        **success(
            200,
            "Runs in the order in which they ended",
            RunPage,
            examples.RUN_PAGE,
            more_content=_STREAMS,
        ),
        **unknown_benchmark(f"{_ONE}/runs"),
    },
)
async def read_runs(
    request: Request,
    benchmark_id: BenchmarkId,
    query: Annotated[StreamQuery, Query()],
    resources: ResourcesOf,
) -> Response:
    """Read the runs, warm-ups and failures included, also while the benchmark is measured.

    JSON is a page; NDJSON and CSV are a stream of all runs.
    """
    form = wanted_format(query.format, request.headers.get("accept", ""), _RUNS)
    if form is not None:
        refuse_paging(query)
        chunks = await benchmarks.stream_runs(resources, benchmark_id)
        return stream_response(chunks, form, f"{benchmark_id}-runs")
    page = await benchmarks.runs_page(
        resources,
        benchmark_id,
        limit=query.limit or _DEFAULT_LIMIT,
        after=after_index(query.cursor),
    )
    data = [run_document(run) for run in page.runs]
    cursor = result_cursor(page.next_after)
    return JsonResponse({"data": data, "next_cursor": cursor}, headers={"Vary": "Accept"})


@router.get(
    "/{benchmark_id}/compare",
    response_model=None,
    summary="Compare with an earlier benchmark",
    responses={
        **always(f"{_ONE}/compare", "/query/baseline", "there is no such benchmark"),
        **success(200, "What is faster, what is slower", Comparison, examples.COMPARISON),
        **unknown_benchmark(f"{_ONE}/compare"),
        **problem(
            CONFLICT,
            f"The benchmark {examples.BENCHMARK_ID} is running; it can be compared when it has"
            " ended.",
            f"{_ONE}/compare",
        ),
    },
)
async def compare_with_a_baseline(
    benchmark_id: BenchmarkId, query: Annotated[CompareQuery, Query()], resources: ResourcesOf
) -> Response:
    """Compare the benchmark with an earlier one, by model, prompt, options and concurrency.

    A difference is reported only if the data support it: from five runs on each side by ranks
    (Hodges-Lehmann, Mann-Whitney), for two to four by Welch's t on logarithms.
    """
    found = await benchmarks.compare(resources, benchmark_id, baseline_id=query.baseline)
    return JsonResponse(comparison_document(found))


@router.get(
    "/{benchmark_id}/report",
    response_model=None,
    response_class=Response,
    summary="Write a report",
    responses={
        **always(f"{_ONE}/report", "/query/format", "must be 'html', 'md', 'csv' or 'benchstat'"),
        200: {
            "description": "The report",
            "headers": success(200, "The report")[200]["headers"],
            "content": _REPORT,
        },
        **unknown_benchmark(f"{_ONE}/report"),
    },
)
async def write_report(
    benchmark_id: BenchmarkId, query: Annotated[ReportQuery, Query()], resources: ResourcesOf
) -> Response:
    """Write a report; it includes the comparison if there is a `baseline_id`."""
    measured = await benchmarks.measured(resources, benchmark_id)
    comparison = None
    if measured.benchmark.draft.baseline_id is not None:
        try:
            comparison = await benchmarks.compare(resources, benchmark_id)
        except (Conflict, Invalid):
            # The benchmark has not ended or the baseline was deleted: no comparison is included.
            comparison = None
    form = ReportFormat(query.format)

    def write() -> bytes:
        return render(
            ReportInput(
                benchmark=measured.benchmark,
                results=measured.results,
                runs=measured.runs,
                comparison=comparison,
                model_comparison=benchmarks.comparison_of_models(measured),
            ),
            form,
        )

    content = await asyncio.to_thread(write)
    name = f"{benchmark_id}.{form.extension}"
    headers = {
        "Content-Disposition": f'inline; filename="{name}"',
        "Content-Security-Policy": _UNTRUSTED,
    }
    return Response(content, media_type=form.media_type, headers=headers)

"""Endpoints of `/benchmarks` that submit, read, list, cancel and delete."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from promptmill.api.dependencies import (
    IDEMPOTENCY_HEADER,
    IDEMPOTENCY_KEY,
    METADATA_PREFIX,
    BenchmarkId,
    CallerOf,
    IdempotencyHeader,
    MetadataFilter,
    ResourcesOf,
    StrictRoute,
)
from promptmill.api.documents.batches import JsonResponse
from promptmill.api.documents.benchmarks import benchmark_document, benchmark_summary
from promptmill.api.errors.problems import (
    BODY_TOO_LARGE,
    CONFLICT,
    MALFORMED_JSON,
    UNSUPPORTED_MEDIA_TYPE,
)
from promptmill.api.installed_models import require_text_models
from promptmill.api.intake.body import SMALL_BYTES, read_aside, receive_small
from promptmill.api.intake.small_bodies import read_benchmark
from promptmill.api.openapi.document import always, problem, success, unknown_benchmark
from promptmill.api.pagination import before_benchmark, benchmark_cursor
from promptmill.api.schemas.benchmarks import BenchmarkListQuery, BenchmarkQuery
from promptmill.contract import benchmark_examples as examples
from promptmill.contract.benchmarks import Benchmark, BenchmarkPage
from promptmill.domain.batches import IdempotencyKey
from promptmill.domain.lifecycle import JobState
from promptmill.services import benchmarks

router = APIRouter(prefix="/benchmarks", tags=["Benchmarks"], route_class=StrictRoute)

_ONE: Final = f"/benchmarks/{examples.BENCHMARK_ID}"
_LOCATION: Final = {
    "description": "Where the benchmark is.",
    "schema": {"type": "string", "examples": [_ONE]},
}
_REPLAYED: Final = {
    "description": "`true` when this key and body had been sent before: it is the same benchmark.",
    "schema": {"type": "string", "examples": ["true"]},
}
_SUBMISSION: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "What is to be measured.",
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/BenchmarkRequest"},
                "examples": {
                    "models": {"summary": "Two models", "value": examples.REQUEST},
                    "sweep": {"summary": "One model at three levels", "value": examples.SWEEP},
                },
            }
        },
    },
    "parameters": [
        {
            "name": IDEMPOTENCY_HEADER,
            "in": "header",
            "required": False,
            "description": "A key of your own, 1 to 255 visible ASCII characters. The same key and"
            " body give the same benchmark again; the same key with another body is refused.",
            "schema": {
                "type": "string",
                "pattern": IDEMPOTENCY_KEY.pattern,
                "examples": ["3f1c2a9e-5b7d-4c2e-9a55-0d6f2b1e7c48"],
            },
        }
    ],
}
_METADATA: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": f"{METADATA_PREFIX}name",
            "in": "query",
            "required": False,
            "description": "Only benchmarks whose `metadata` has the pair; in place of `name`"
            " stands the pair's own name. May be given for several names: all have to match.",
            "schema": {"type": "string", "examples": ["upgrade"]},
        }
    ]
}


@router.post(
    "",
    status_code=202,
    response_model=None,
    summary="Submit a benchmark",
    openapi_extra=_SUBMISSION,
    responses={
        **always("/benchmarks", "/num_runs", "must be at least 1"),
        **success(
            202,
            "The benchmark is stored and will be measured",
            Benchmark,
            examples.ACCEPTED,
            {"Location": _LOCATION, "Idempotent-Replayed": _REPLAYED},
        ),
        **problem(MALFORMED_JSON, "Expecting ',' delimiter at line 3 column 14.", "/benchmarks"),
        **problem(
            BODY_TOO_LARGE,
            f"The body of this request may have {SMALL_BYTES} bytes at most.",
            "/benchmarks",
        ),
        **problem(
            UNSUPPORTED_MEDIA_TYPE,
            "The header Content-Type must be application/json.",
            "/benchmarks",
        ),
    },
)
async def submit_benchmark(
    request: Request, resources: ResourcesOf, key: IdempotencyHeader, caller: CallerOf
) -> Response:
    """Store a benchmark. The response is sent when the benchmark is on disk.

    The benchmark has its host to itself: running prompts of batches may finish, and no others start
    until it ends. Benchmarks of one host run one after the other.
    """
    body = await receive_small(request)
    draft = await read_aside(partial(read_benchmark, settings=resources.settings), body)
    await require_text_models(resources, draft.models)
    idempotency = IdempotencyKey(key=key, body_hash=sha256(body).hexdigest()) if key else None
    submission = await benchmarks.submit(resources, draft, idempotency=idempotency, caller=caller)
    headers = {"Location": f"{request.scope['root_path']}/benchmarks/{submission.benchmark.id}"}
    if not submission.created:
        headers["Idempotent-Replayed"] = "true"
    document = benchmark_document(submission.benchmark)
    return JsonResponse(document, status_code=202, headers=headers)


@router.get(
    "/{benchmark_id}",
    response_model=None,
    summary="Read a benchmark",
    responses={
        **always(_ONE, "/query/result", "unknown query parameter; did you mean `results`?"),
        **success(200, "The benchmark as it stands", Benchmark, examples.BENCHMARK),
        **unknown_benchmark(_ONE),
    },
)
async def read_benchmark_as_it_stands(
    benchmark_id: BenchmarkId, query: Annotated[BenchmarkQuery, Query()], resources: ResourcesOf
) -> Response:
    """Read a benchmark, with the figures of all runs so far."""
    found = await benchmarks.wait_until_ended(resources, benchmark_id, timeout_s=query.wait_s)
    if not query.results:
        return JsonResponse(benchmark_document(found))
    measured = await benchmarks.measured(resources, benchmark_id)
    return JsonResponse(benchmark_document(measured.benchmark, measured.results))


@router.get(
    "",
    response_model=None,
    summary="List benchmarks",
    openapi_extra=_METADATA,
    responses={
        **always("/benchmarks"),
        **success(
            200, "A page of benchmarks, newest first", BenchmarkPage, examples.BENCHMARK_PAGE
        ),
    },
)
async def list_benchmarks(
    query: Annotated[BenchmarkListQuery, Query()],
    metadata: MetadataFilter,
    resources: ResourcesOf,
) -> Response:
    """List benchmarks without their figures, newest first."""
    page = await benchmarks.list_benchmarks(
        resources,
        limit=query.limit,
        cursor=before_benchmark(query.cursor),
        status=JobState(query.status) if query.status else None,
        metadata=metadata,
    )
    data = [benchmark_summary(benchmark) for benchmark in page.benchmarks]
    return JsonResponse({"data": data, "next_cursor": benchmark_cursor(page.next_cursor)})


@router.post(
    "/{benchmark_id}/cancel",
    status_code=202,
    response_model=None,
    summary="Cancel a benchmark",
    responses={
        **always(f"{_ONE}/cancel"),
        **success(202, "The benchmark is being cancelled", Benchmark, examples.CANCELLING),
        **unknown_benchmark(f"{_ONE}/cancel"),
        **problem(CONFLICT, "The benchmark has already ended: it is completed.", f"{_ONE}/cancel"),
    },
)
async def cancel_benchmark(benchmark_id: BenchmarkId, resources: ResourcesOf) -> Response:
    """Cancel a benchmark: running requests are aborted, finished runs stay.

    A repetition changes nothing.
    """
    found = await benchmarks.cancel(resources, benchmark_id)
    return JsonResponse(benchmark_document(found), status_code=202)


@router.delete(
    "/{benchmark_id}",
    status_code=204,
    response_model=None,
    summary="Delete a benchmark",
    responses={
        **always(_ONE),
        **success(204, "The benchmark and its runs are gone"),
        **unknown_benchmark(_ONE),
        **problem(CONFLICT, "The benchmark has not ended: it is running.", _ONE),
    },
)
async def delete_benchmark(benchmark_id: BenchmarkId, resources: ResourcesOf) -> Response:
    """Delete a benchmark that has ended, with its runs."""
    await benchmarks.delete(resources, benchmark_id)
    return Response(status_code=204)

"""The OpenAPI document: FastAPI's description of the routes, with bodies and problems added.

Bodies are read as streams and responses written from plain dicts, so that FastAPI cannot see their
models. A test holds every example to its schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema

from promptmill.access.routes import find_route
from promptmill.api.errors.problems import (
    BODY_STALLED,
    CROSS_ORIGIN,
    FORBIDDEN,
    HOST_NOT_ALLOWED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    MEDIA_TYPE,
    NOT_FOUND,
    STORAGE_FULL,
    TOO_MANY_ATTEMPTS,
    UNAUTHENTICATED,
    UNAVAILABLE,
    Kind,
)
from promptmill.api.schemas.benchmarks import BenchmarkRequest
from promptmill.api.schemas.control import BatchUpdate, HostUpdate, RetryRequest
from promptmill.api.schemas.requests import BatchRequest
from promptmill.contract import examples
from promptmill.contract.batches import AcceptedBatch, Batch, BatchPage
from promptmill.contract.benchmark_examples import BENCHMARK_ID
from promptmill.contract.benchmark_findings import Comparison, RunPage
from promptmill.contract.benchmarks import Benchmark, BenchmarkPage
from promptmill.contract.dry_run import DryRun
from promptmill.contract.hosts import HostPage
from promptmill.contract.reading import Stats, Summary, WaitingPromptPage, WholePrompt
from promptmill.contract.results import ResultPage
from promptmill.contract.service import Health, ModelPage, Problem, Readiness, WorkerPage

Responses = dict[int | str, dict[str, Any]]
"""Type of `responses=` in FastAPI."""

DESCRIPTION: Final = """\
The batch service for Ollama. Post thousands of prompts in one request; they are stored before the
answer, worked off within your limits, and survive restarts. Benchmarks have the host to themselves.

Errors are `application/problem+json` (RFC 9457), with every entry that is wrong. Unknown fields and
query parameters are refused, so that a typo never passes silently. Texts may be as long as the
settings of the service say, and have neither NUL characters nor lone surrogates. Times are UTC,
durations are seconds (`_s`), and what is missing is null.
"""
TAGS: Final = [
    {"name": "Batches", "description": "Submit prompts, follow them, read their results."},
    {"name": "Benchmarks", "description": "Measure models, read every run, compare, report."},
    {"name": "Service", "description": "Models, hosts, workers, liveness and readiness."},
]
_REQUESTS: Final = (BatchRequest, BatchUpdate, RetryRequest, BenchmarkRequest, HostUpdate)
_ANSWERS: Final = (
    Benchmark,
    BenchmarkPage,
    Comparison,
    RunPage,
    AcceptedBatch,
    Batch,
    BatchPage,
    DryRun,
    ResultPage,
    WaitingPromptPage,
    WholePrompt,
    Summary,
    Stats,
    ModelPage,
    HostPage,
    WorkerPage,
    Health,
    Readiness,
    Problem,
)
_COMMON_HEADERS: Final = {
    "X-Request-ID": {
        "description": "The request's id: the one that was sent, or a new one.",
        "schema": {"type": "string", "examples": [examples.REQUEST_ID]},
    }
}


def problem(
    kind: Kind, detail: str, instance: str, errors: Sequence[Mapping[str, str]] = ()
) -> Responses:
    """Description of a problem as a response, with a worked example."""
    example: dict[str, Any] = {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        "instance": instance,
        "request_id": examples.REQUEST_ID,
    }
    if errors:
        example["errors"] = [dict(error) for error in errors]
    description = f"{kind.title}. {kind.meaning}"
    headers: dict[str, Any] = dict(_COMMON_HEADERS)
    if "Retry-After" in kind.headers:
        headers["Retry-After"] = {
            "description": "Seconds to wait before the request is sent again.",
            "schema": {"type": "integer", "examples": [int(kind.headers["Retry-After"])]},
        }
    content = {
        MEDIA_TYPE: {
            "schema": {"$ref": "#/components/schemas/Problem"},
            "examples": {kind.slug: {"summary": kind.title, "value": example}},
        }
    }
    return {kind.status: {"description": description, "headers": headers, "content": content}}


def always(instance: str, pointer: str = "/query/limitt", fix: str | None = None) -> Responses:
    """Problems of every operation: a wrong query, the database away, an internal error."""
    entry = {
        "pointer": pointer,
        "detail": fix or "unknown query parameter; did you mean `limit`?",
    }
    return {
        **problem(INVALID_REQUEST, "One entry is wrong.", instance, [entry]),
        **problem(INTERNAL_ERROR, "The service failed.", instance),
        **problem(UNAVAILABLE, "The database does not answer.", instance),
    }


def unknown_batch(instance: str) -> Responses:
    """Problem of an unknown batch."""
    return problem(NOT_FOUND, f"There is no batch {examples.BATCH_ID}.", instance)


def unknown_benchmark(instance: str) -> Responses:
    """Problem of an unknown benchmark."""
    return problem(NOT_FOUND, f"There is no benchmark {BENCHMARK_ID}.", instance)


def success(
    status: int,
    description: str,
    model: type | None = None,
    example: object = None,
    headers: Mapping[str, Any] | None = None,
    more_content: Mapping[str, Any] | None = None,
) -> Responses:
    """Description of a successful response."""
    response: dict[str, Any] = {
        "description": description,
        "headers": {**_COMMON_HEADERS, **(headers or {})},
    }
    if model is not None:
        response["model"] = model
        shown = {"examples": {"example": {"summary": description, "value": example}}}
        response["content"] = {"application/json": shown, **(more_content or {})}
    return {status: response}


def install_openapi(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Let the application build its document from these routers once, at the first request."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, routers)
        return app.openapi_schema

    app.openapi = openapi


def _document(app: FastAPI, routers: Sequence[APIRouter]) -> dict[str, Any]:
    root_path: str = getattr(app.state, "root_path", "")
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=app.description,
        routes=app.routes,
        tags=TAGS,
        servers=[{"url": root_path}] if root_path else None,
    )
    _, models = models_json_schema(
        [
            *((model, "validation") for model in _REQUESTS),
            *((model, "serialization") for model in _ANSWERS),
        ],
        ref_template="#/components/schemas/{model}",
    )
    document["components"]["schemas"].update(models["$defs"])
    for router in routers:
        _restore_nulls(document, router)
    _add_what_every_write_may_meet(document)
    _add_access(document)
    _add_links(document)
    return document


def _add_links(document: dict[str, Any]) -> None:
    """Add links from operations that create a resource to those that take its id."""
    for made_by, parameter in (("/batches", "batch_id"), ("/benchmarks", "benchmark_id")):
        accepted = document["paths"][made_by]["post"]["responses"]["202"]
        accepted["links"] = {
            operation["operationId"]: {
                "operationId": operation["operationId"],
                "parameters": {parameter: "$response.body#/id"},
                "description": f"{operation['summary']}, by the `id` of the answer.",
            }
            for path, operations in document["paths"].items()
            if f"{{{parameter}}}" in path and path.count("{") == 1
            for operation in operations.values()
        }


def _add_access(document: dict[str, Any]) -> None:
    """Add keys, and the problems with which access control answers requests."""
    document["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, `pm_...`. Needed as soon as the service has any.",
        }
    }
    document["security"] = [{}, {"key": []}]
    for path, operations in document["paths"].items():
        instance = _instance(path)
        for method, operation in operations.items():
            route = find_route(path)
            if route is None or route.sufficient(method.upper()) is None:
                operation["security"] = []
                continue
            for told in (
                problem(UNAUTHENTICATED, "The request has no API key.", instance),
                problem(TOO_MANY_ATTEMPTS, "Too many wrong keys.", instance),
                problem(FORBIDDEN, "The key alice has the scopes metrics.", instance),
                problem(CROSS_ORIGIN, "A web page of another origin has sent this.", instance),
                problem(HOST_NOT_ALLOWED, "The service does not answer under `x`.", instance),
            ):
                _add_problem(operation["responses"], told)
            names = {parameter["name"] for parameter in operation.get("parameters", ())}
            if path.endswith("/events") or "wait_s" in names:
                detail = "500 event streams and long polls are open; no more may be."
                _add_problem(operation["responses"], problem(LIMIT_EXCEEDED, detail, instance))
            if "requestBody" in operation:
                detail = "Nothing has come of the body for 60 s."
                _add_problem(operation["responses"], problem(BODY_STALLED, detail, instance))


def _add_problem(responses: dict[str, Any], told: Responses) -> None:
    """Add a problem to an operation, beside others with the same status."""
    for status, response in told.items():
        there = responses.setdefault(str(status), response)
        if there is not response:
            there["description"] += f" Or: {response['description']}"
            there["content"][MEDIA_TYPE]["examples"] |= response["content"][MEDIA_TYPE]["examples"]


def _instance(path: str) -> str:
    """Path of an operation with the ids of the examples."""
    path = path.replace("{batch_id}", examples.BATCH_ID)
    return path.replace("{benchmark_id}", BENCHMARK_ID)


def _add_what_every_write_may_meet(document: dict[str, Any]) -> None:
    detail = "The database cannot store anything now: database or disk is full"
    for path, operations in document["paths"].items():
        told = problem(STORAGE_FULL, detail, _instance(path))
        for method in operations.keys() - {"get"}:
            operations[method]["responses"][str(STORAGE_FULL.status)] = told[STORAGE_FULL.status]


def _restore_nulls(document: dict[str, Any], router: APIRouter) -> None:
    """Restore the examples as written: FastAPI drops every null in them."""
    for route in router.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for method in route.methods or ():
            written = document["paths"][route.path_format][method.lower()]["responses"]
            for status, response in route.responses.items():
                for media_type, content in response.get("content", {}).items():
                    written[str(status)]["content"][media_type]["examples"] = content["examples"]

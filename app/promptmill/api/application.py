"""Building of the API's ASGI application: routes, middleware, problems, documentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from fastapi import APIRouter, FastAPI

from promptmill.api.access_control import AccessControl
from promptmill.api.errors.problems import install_problem_handlers
from promptmill.api.middleware import RequestContext
from promptmill.api.openai import openai_dialect
from promptmill.api.openapi.document import DESCRIPTION, install_openapi
from promptmill.api.routes import (
    batches,
    benchmark_findings,
    benchmarks,
    control,
    documentation,
    events,
    health,
    hosts,
    installation,
    metrics,
    models,
    reading,
    results,
    submission,
)
from promptmill.services.resources import Resources
from promptmill.version import version

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
"""Context manager of the application's life; it opens the resources and sets its state.
"""


ROUTERS: Final = (
    submission.router,
    batches.router,
    results.router,
    reading.router,
    events.router,
    control.router,
    benchmarks.router,
    benchmark_findings.router,
    models.router,
    hosts.router,
    installation.router,
    health.router,
    metrics.router,
    documentation.router,
)


def build_api(*, lifespan: Lifespan | None = None, root_path: str = "") -> FastAPI:
    """Build the API. Before its first request the lifespan must have set `app.state.resources`.

    `root_path` is the prefix under which a proxy serves it.
    """
    app = FastAPI(
        title="Promptmill",
        summary="The batch service for Ollama",
        description=DESCRIPTION,
        version=version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.root_path = root_path
    _install(app, ROUTERS, root_path=root_path)
    app.mount("/v1", openai_dialect())
    return app


def build_metrics_api(resources: Resources) -> FastAPI:
    """Build the application of `/metrics` and `/health` for a worker, under the same rules."""
    app = FastAPI(version=version(), docs_url=None, redoc_url=None, openapi_url=None)
    app.state.resources = resources
    _install(app, (health.router, metrics.router))
    return app


def _install(app: FastAPI, routers: Sequence[APIRouter], *, root_path: str = "") -> None:
    for router in routers:
        app.include_router(router)
    install_openapi(app, routers)
    install_problem_handlers(app, routers)
    app.add_middleware(AccessControl)
    app.add_middleware(RequestContext, root_path=root_path)

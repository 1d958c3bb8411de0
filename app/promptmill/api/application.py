"""The API as one ASGI application: routes, middleware, problems, documentation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

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
    models,
    reading,
    results,
    submission,
    workers,
)

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
"""What surrounds the application's life: it opens the resources and puts them on its state."""


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
    workers.router,
    health.router,
    documentation.router,
)


def build_api(*, lifespan: Lifespan | None = None) -> FastAPI:
    """The API. Before its first request the lifespan must have set `app.state.resources`."""
    app = FastAPI(
        title="Promptmill",
        summary="The batch service for Ollama",
        description=DESCRIPTION,
        version=version("promptmill"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    for router in ROUTERS:
        app.include_router(router)
    install_openapi(app, ROUTERS)
    install_problem_handlers(app, ROUTERS)
    app.mount("/v1", openai_dialect())
    app.add_middleware(AccessControl)
    app.add_middleware(RequestContext)
    return app

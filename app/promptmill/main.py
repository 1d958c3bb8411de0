"""The ASGI application: the only file that sees the API, the pages and the embedded worker."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

from fastapi import FastAPI

from promptmill.api import build_api
from promptmill.dashboard import install_dashboard
from promptmill.observability.event_loop import measuring_lag
from promptmill.runtime import open_resources
from promptmill.settings import Settings
from promptmill.worker.runner import working


def create_app(settings: Settings) -> FastAPI:
    """Build the service; its resources open when the server starts and close when it stops."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
        async with contextlib.AsyncExitStack() as stack:
            resources = await stack.enter_async_context(open_resources(settings))
            app.state.resources = resources
            await stack.enter_async_context(measuring_lag())
            if settings.embedded_worker:
                await stack.enter_async_context(working(resources))
            yield

    app = build_api(lifespan=lifespan, root_path=settings.root_path)
    install_dashboard(app)
    return app

"""`/ui/hosts`: the Ollama hosts, what they have loaded, the models, and the workers."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from promptmill.dashboard.pages import page_router, resources_of, show
from promptmill.services import workers
from promptmill.services.reading import glance

router = page_router()


@router.get("/ui/hosts")
async def hosts(request: Request) -> Response:
    """All hosts with their state and its reason, all models, all workers."""
    resources = resources_of(request)
    return show(
        request,
        "hosts.html.j2",
        hosts=await glance.seen_hosts(resources),
        models=await glance.seen_models(resources),
        workers=await workers.list_workers(resources),
    )

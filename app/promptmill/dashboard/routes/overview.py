"""`/`: what the service does at this moment."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import Request
from starlette.responses import PlainTextResponse, Response

from promptmill.dashboard.pages import page_router, resources_of, show
from promptmill.services.reading import glance

router = page_router()


@router.get("/")
async def overview(request: Request) -> Response:
    """The overview for a browser; two lines of text for whoever does not ask for HTML."""
    if "text/html" not in request.headers.get("accept", ""):
        base = str(request.base_url).rstrip("/")
        text = f"Promptmill {version('promptmill')}\nThe API is described at {base}/docs\n"
        return PlainTextResponse(text, headers={"Vary": "Accept"})
    resources = resources_of(request)
    found = await glance.glance(resources)
    recent = await glance.recent(resources)
    return show(request, "overview.html.j2", glance=found, recent=recent)

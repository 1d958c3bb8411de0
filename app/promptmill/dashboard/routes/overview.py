"""`/`: what the service does at this moment."""

from __future__ import annotations

from typing import Final

from fastapi import Request
from starlette.responses import PlainTextResponse, Response

from promptmill.dashboard import activity_charts
from promptmill.dashboard.pages import page_router, resources_of, show
from promptmill.domain.hosts.activity import SUCCEEDED, WINDOWS, Grouping
from promptmill.services.reading import glance
from promptmill.version import version

router = page_router()
_USUAL: Final = "15m"
_GROUPINGS: Final = {
    Grouping.NONE: "together",
    Grouping.MODEL: "by model",
    Grouping.HOST: "by host",
}


@router.get("/")
async def overview(request: Request) -> Response:
    """The overview for a browser; two lines of text for whoever does not ask for HTML."""
    if "text/html" not in request.headers.get("accept", ""):
        base = str(request.base_url).rstrip("/")
        text = f"Promptmill {version()}\nThe API is described at {base}/docs\n"
        return PlainTextResponse(text, headers={"Vary": "Accept"})
    resources = resources_of(request)
    found = await glance.glance(resources)
    recent = await glance.recent(resources)
    window = request.query_params.get("window", _USUAL)
    window = window if window in WINDOWS else _USUAL
    by = request.query_params.get("by", "")
    by = Grouping(by) if by in set(Grouping) else Grouping.NONE
    throughput = await glance.throughput(resources, WINDOWS[window], by)
    errors = {name: many for name, many in found.recent.hour.items() if name != SUCCEEDED}
    return show(
        request,
        "overview.html.j2",
        glance=found,
        recent=recent,
        charts=activity_charts.of_throughput(throughput),
        windows=list(WINDOWS),
        window=window,
        groupings=_GROUPINGS,
        by=by,
        succeeded=found.recent.hour.get(SUCCEEDED, 0),
        errors=errors,
    )

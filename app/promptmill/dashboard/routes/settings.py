"""`/ui/settings`: every setting in force, versions, the database, and the findings of doctor."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from promptmill.dashboard.pages import page_router, resources_of, show
from promptmill.diagnosis import diagnose
from promptmill.services.monitoring import installation

router = page_router()


@router.get("/ui/settings")
async def settings(request: Request) -> Response:
    """The settings; with `check` in the address also what `promptmill doctor` finds."""
    resources = resources_of(request)
    is_wanted = "check" in request.query_params
    return show(
        request,
        "settings.html.j2",
        found=await installation.describe(resources),
        findings=await diagnose(resources.settings) if is_wanted else None,
    )

"""`/ui/batches`: the batches that there are, and the form for a new one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from fastapi import Request
from starlette.responses import Response

from promptmill.dashboard.pages import cursor_of, page_router, resources_of, show, text_of
from promptmill.domain.lifecycle import JobState
from promptmill.domain.reading import BatchFilter
from promptmill.services import batches
from promptmill.services.reading import glance

router = page_router()
_PAGE: Final = 30
STATES: Final = tuple(state.value for state in JobState if state is not JobState.RECEIVING)


@router.get("/ui/batches")
async def list_batches(request: Request) -> Response:
    """A page of the batches that match the filter in the address, newest first."""
    resources = resources_of(request)
    given = request.query_params
    found = await batches.list_batches(
        resources, wanted=_wanted(request), limit=_PAGE, cursor=cursor_of(request)
    )
    return show(
        request,
        "batches.html.j2",
        found=found,
        states=STATES,
        chosen=given.getlist("status"),
        models=await glance.seen_models(resources),
    )


def _wanted(request: Request) -> BatchFilter:
    given = request.query_params
    # What nobody can have meant is left out: an address that was cut still shows a list.
    metadata = {
        name.removeprefix("metadata."): text_of(request, name) or ""
        for name in given
        if name.startswith("metadata.") and "\x00" not in name
    }
    return BatchFilter(
        states=tuple(JobState(one) for one in given.getlist("status") if one in STATES),
        model=text_of(request, "model"),
        key_name=text_of(request, "key"),
        text=text_of(request, "q"),
        created_after_ms=_day(given.get("from")),
        created_before_ms=_day(given.get("to"), days=1),
        metadata=metadata,
    )


def _day(text: str | None, *, days: int = 0) -> int | None:
    try:
        day = datetime.fromisoformat(text or "").replace(tzinfo=UTC) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return round(day.timestamp() * 1000)


@router.get("/ui/batches/new")
async def new_batch(request: Request) -> Response:
    """The form for a new batch; its script sends the prompts to the API."""
    resources = resources_of(request)
    original = request.query_params.get("copy")
    return show(
        request,
        "new_batch.html.j2",
        models=await glance.seen_models(resources),
        default_model=resources.settings.default_model,
        original=await batches.get(resources, original) if original else None,
    )

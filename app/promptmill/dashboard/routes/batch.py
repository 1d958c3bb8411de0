"""`/ui/batches/{id}`: one batch; each of its tabs is an address."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from promptmill.dashboard import batch_charts
from promptmill.dashboard.pages import BatchId, Given, page_router, resources_of, show, text_of
from promptmill.domain.batches import Batch
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.outcomes import DEFECTS, ErrorCode
from promptmill.domain.reading import ResultFilter, SearchedText
from promptmill.services import batches
from promptmill.services.reading import glance, search

router = page_router()
_PAGE: Final = 50
_MOST_RUNNING: Final = 100
PREVIEW: Final = 200
_OUTCOMES: Final = ("succeeded", "failed", "cancelled", "expired")
TABS: Final = {
    "progress": "Progress",
    "results": "Results",
    "failures": "Failures",
    "latency": "Latency",
    "running": "Running",
    "request": "Request",
    "events": "Events",
}


@router.get("/ui/batches/{batch_id}")
async def one_batch(request: Request, batch_id: BatchId) -> Response:
    """The batch as it stands, with the tab that the address names."""
    resources = resources_of(request)
    batch = await batches.get(resources, batch_id)
    tab = request.query_params.get("tab", "progress")
    tab = tab if tab in TABS else "progress"
    return show(
        request,
        f"batch_{tab}.html.j2",
        batch=batch,
        tab=tab,
        tabs=TABS,
        **await _of_tab(request, batch, tab),
    )


async def _of_tab(request: Request, batch: Batch, tab: str) -> dict[str, Any]:
    resources = resources_of(request)
    found: dict[str, Any]
    match tab:
        case "results":
            found = await _results(request, batch)
        case "failures":
            found = {"causes": await glance.batch_causes(resources, batch)}
        case "running":
            prompts = await search.prompts_without_result(
                resources, batch.id, TaskState.RUNNING, limit=_MOST_RUNNING
            )
            found = {"running": prompts}
        case "request":
            again = _request_again(batch)
            found = {"again": again, "arguments": {name: repr(again[name]) for name in again}}
        case "events":
            found = {"history": await batches.get_history(resources, batch.id)}
        case _:
            findings = await glance.batch_findings(resources, batch)
            draw = batch_charts.of_progress if tab == "progress" else batch_charts.of_latency
            found = {"charts": draw(findings), "figures": batch_charts.figures(findings)}
    return found


async def _results(request: Request, batch: Batch) -> dict[str, Any]:
    wanted = wanted_results(request)
    found = await search.find_results(
        resources_of(request),
        batch.id,
        wanted,
        limit=_PAGE,
        after=number_of(request.query_params.get("after")),
        preview=PREVIEW,
    )
    return {
        "found": found,
        "filter": filter_of(request),
        "outcomes": _OUTCOMES,
        "codes": [code.value for code in ErrorCode],
        "defects": [code.value for code in DEFECTS],
        "texts": [one.value for one in SearchedText],
        "is_filtered": wanted != ResultFilter(),
    }


def _request_again(batch: Batch) -> dict[str, Any]:
    """The body that asks for a batch like this one, with one prompt in place of its own."""
    concurrency = "auto" if batch.auto_concurrency else batch.limits.max_concurrent
    more = {
        "label": batch.label,
        "priority": batch.priority or None,
        "max_failures": batch.max_failures and batch.max_failures.text,
        "auto_pull": batch.auto_pull or None,
        "metadata": dict(batch.metadata) or None,
        **batch.parameters,
    }
    return {
        "model": batch.model,
        "prompts": ["Why is the sky blue?"],
        "max_concurrent": concurrency,
        "rate_limit_delay": batch.limits.rate_limit_delay_s,
        "timeout_s": batch.timeout_s,
        "max_attempts": batch.max_attempts,
        **{name: value for name, value in more.items() if value is not None},
    }


FILTER_FIELDS: Final = (
    *("status", "error_code", "defect", "model", "host", "min_attempts"),
    *("min_latency_s", "max_latency_s", "q", "in"),
)
"""Names of the filter in the address; those of the API's results, so that a download takes it."""


def filter_of(request: Request) -> Given:
    """The part of the address that is the filter of results."""
    found = ((name, text_of(request, name)) for name in FILTER_FIELDS)
    return Given((name, text) for name, text in found if text)


def wanted_results(request: Request) -> ResultFilter:
    """The filter of the address; what nobody can have meant is left out."""
    given = filter_of(request)
    status, code, defect = given.get("status"), given.get("error_code"), given.get("defect")
    text_in = given.get("in")
    return ResultFilter(
        status=TaskState(status) if status in _OUTCOMES else None,
        error_codes=(ErrorCode(code),) if code in set(ErrorCode) else (),
        defect=ErrorCode(defect) if defect in set(DEFECTS) else None,
        model=given.get("model"),
        host=given.get("host"),
        min_attempts=number_of(given.get("min_attempts")),
        min_latency_s=_seconds(given.get("min_latency_s")),
        max_latency_s=_seconds(given.get("max_latency_s")),
        text=given.get("q"),
        text_in=SearchedText(text_in) if text_in in set(SearchedText) else None,
    )


def number_of(text: str | None) -> int | None:
    """The number that the text is; None for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else None  # noqa: PLR2004 - digits of an index


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None

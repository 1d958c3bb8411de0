"""Endpoints for prompts, histories, summaries and statistics: the dashboard's data."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from promptmill.api.dependencies import BatchId, ResourcesOf, StrictRoute
from promptmill.api.documents.batches import JsonResponse
from promptmill.api.documents.reading import (
    history_document,
    stats_document,
    summary_document,
    throughput_document,
    waiting_document,
    whole_document,
)
from promptmill.api.openapi.document import always, success, unknown_batch
from promptmill.api.schemas.queries import PromptsQuery, SeriesQuery
from promptmill.contract import activity, examples, reading
from promptmill.domain.hosts.activity import WINDOWS, Grouping
from promptmill.domain.lifecycle import TaskState
from promptmill.services import batches
from promptmill.services.reading import glance, search

router = APIRouter(route_class=StrictRoute)
_ONE: Final = f"/batches/{examples.BATCH_ID}"
_HIGHEST: Final = 2**32 - 1


@router.get(
    "/batches/{batch_id}/prompts",
    tags=["Batches"],
    response_model=None,
    summary="Read prompts without a result",
    responses={
        **always(f"{_ONE}/prompts"),
        **success(200, "Prompts", reading.WaitingPromptPage, reading.WAITING_PAGE),
        **unknown_batch(f"{_ONE}/prompts"),
    },
)
async def read_prompts(
    batch_id: BatchId, query: Annotated[PromptsQuery, Query()], resources: ResourcesOf
) -> Response:
    """List prompts that run, with host and worker, or prompts that will start next."""
    found = await search.prompts_without_result(
        resources, batch_id, TaskState(query.state), limit=query.limit
    )
    return JsonResponse({"data": [waiting_document(one) for one in found], "next_cursor": None})


@router.get(
    "/batches/{batch_id}/prompts/{index}",
    tags=["Batches"],
    response_model=None,
    summary="Read one prompt",
    responses={
        **always(f"{_ONE}/prompts/0"),
        **success(200, "The prompt", reading.WholePrompt, reading.WHOLE),
        **unknown_batch(f"{_ONE}/prompts/0"),
    },
)
async def read_prompt(
    batch_id: BatchId,
    index: Annotated[
        int, Path(ge=0, le=_HIGHEST, description="Place of the prompt, from 0.", examples=[0])
    ],
    resources: ResourcesOf,
) -> Response:
    """Read one prompt: its overrides, its state and its result."""
    return JsonResponse(whole_document(await search.whole_prompt(resources, batch_id, index)))


@router.get(
    "/batches/{batch_id}/history",
    tags=["Batches"],
    response_model=None,
    summary="Read the history of a batch",
    responses={
        **always(f"{_ONE}/history"),
        **success(200, "The events", reading.HistoryPage, reading.HISTORY_PAGE),
        **unknown_batch(f"{_ONE}/history"),
    },
)
async def read_history(batch_id: BatchId, resources: ResourcesOf) -> Response:
    """Read a batch's states with their times, and the requests that paused, changed or ended it."""
    found = await batches.get_history(resources, batch_id)
    return JsonResponse({"data": [history_document(one) for one in found], "next_cursor": None})


@router.get(
    "/batches/{batch_id}/summary",
    tags=["Batches"],
    response_model=None,
    summary="Summarise results",
    responses={
        **always(f"{_ONE}/summary"),
        **success(200, "What the results say together", reading.Summary, reading.SUMMARY),
        **unknown_batch(f"{_ONE}/summary"),
    },
)
async def summarise(batch_id: BatchId, resources: ResourcesOf) -> Response:
    """Summarise a batch: progress over time, percentiles, shares of hosts and models, failures.

    The cost does not grow with the batch: of many results an even sample is read.
    """
    batch = await batches.get(resources, batch_id)
    found = await glance.batch_findings(resources, batch)
    return JsonResponse(summary_document(found, await glance.batch_causes(resources, batch)))


@router.get(
    "/stats",
    tags=["Service"],
    response_model=None,
    summary="See the service at a glance",
    responses={
        **always("/stats"),
        **success(200, "Queue, hosts and workers", reading.Stats, reading.STATS),
    },
)
async def read_stats(resources: ResourcesOf) -> Response:
    """Read statistics of the service, up to a second old and shared by all requests."""
    return JsonResponse(stats_document(await glance.glance(resources)))


@router.get(
    "/stats/series",
    tags=["Service"],
    response_model=None,
    summary="Read throughput over time",
    responses={
        **always("/stats/series"),
        **success(200, "Results by parts of the window", activity.Throughput, activity.THROUGHPUT),
    },
)
async def read_series(query: Annotated[SeriesQuery, Query()], resources: ResourcesOf) -> Response:
    """Read throughput over time, up to five seconds old, in total or by model or host.

    Minutes are kept for three days, hours for 400 days. Workers add to them with their heartbeats.
    """
    by = Grouping(query.by)
    found = await glance.throughput(resources, WINDOWS[query.window], by)
    return JsonResponse(throughput_document(found, window=query.window, by=by))

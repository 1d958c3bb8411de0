"""Endpoint `/workers`: processes that work on the queue."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from promptmill.api.dependencies import ResourcesOf, StrictRoute
from promptmill.api.documents.batches import JsonResponse, worker_document
from promptmill.api.openapi.document import always, success
from promptmill.contract import examples
from promptmill.contract.service import WorkerPage
from promptmill.services import workers

router = APIRouter(tags=["Service"], route_class=StrictRoute)


@router.get(
    "/workers",
    response_model=None,
    summary="List workers",
    responses={
        **always("/workers"),
        **success(200, "The workers of the last day", WorkerPage, examples.WORKER_PAGE),
    },
)
async def list_workers(resources: ResourcesOf) -> Response:
    """List the worker processes of the last day, with their calls in flight."""
    found = await workers.list_workers(resources)
    return JsonResponse({"data": [worker_document(one) for one in found], "next_cursor": None})

"""Endpoints `/workers` and `/settings`: worker processes, and the settings in force."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from promptmill.api.dependencies import ResourcesOf, StrictRoute
from promptmill.api.documents.batches import JsonResponse, worker_document
from promptmill.api.documents.installation import installation_document
from promptmill.api.openapi.document import always, success
from promptmill.contract import examples
from promptmill.contract.service import WorkerPage
from promptmill.contract.settings import INSTALLATION, Installation
from promptmill.services import workers
from promptmill.services.monitoring import installation

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


@router.get(
    "/settings",
    response_model=None,
    summary="Read the settings in force",
    responses={
        **always("/settings"),
        **success(200, "Versions, settings, database", Installation, INSTALLATION),
    },
)
async def read_settings(resources: ResourcesOf) -> Response:
    """Read every setting with its value and variable, versions, the database and its size.

    Secrets are only reported as set or unset. If keys exist, the scope `admin` is needed.
    """
    return JsonResponse(installation_document(await installation.describe(resources)))

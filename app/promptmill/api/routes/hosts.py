"""`/hosts`: the Ollama hosts, asked live."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from promptmill.api.dependencies import ResourcesOf, StrictRoute
from promptmill.api.documents.batches import JsonResponse
from promptmill.api.documents.hosts import host_document
from promptmill.api.openapi.document import always, success
from promptmill.contract import examples
from promptmill.contract.hosts import HostPage
from promptmill.services import hosts

router = APIRouter(tags=["Service"], route_class=StrictRoute)


@router.get(
    "/hosts",
    response_model=None,
    summary="List hosts",
    responses={
        **always("/hosts"),
        **success(200, "All Ollama hosts", HostPage, examples.HOST_PAGE),
    },
)
async def list_hosts(resources: ResourcesOf) -> Response:
    """Every Ollama host of the settings: reachable, loaded, in flight, put aside and why.

    All are asked at once, for two seconds at most. `quarantine`, `on_trial`, `calls`, `failed` and
    `latency_s` are what this service's own worker has seen.
    """
    found = await hosts.list_hosts(resources)
    return JsonResponse({"data": [host_document(one) for one in found], "next_cursor": None})

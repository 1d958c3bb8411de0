"""Endpoints of `/hosts`: the state of the Ollama hosts, and taking them out of service."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from promptmill.api.dependencies import ResourcesOf, StrictRoute
from promptmill.api.documents.batches import JsonResponse
from promptmill.api.documents.hosts import host_document
from promptmill.api.errors.problems import NOT_FOUND
from promptmill.api.intake.body import read_aside, receive_small
from promptmill.api.intake.small_bodies import read_host_update
from promptmill.api.openapi.bodies import json_body, refused_bodies
from promptmill.api.openapi.document import always, problem, success
from promptmill.api.schemas.queries import HostsQuery
from promptmill.contract import examples
from promptmill.contract.hosts import Host, HostPage
from promptmill.services import hosts
from promptmill.services.reading import glance

router = APIRouter(tags=["Service"], route_class=StrictRoute)
_ONE: Final = "/hosts/host_1"


@router.get(
    "/hosts",
    response_model=None,
    summary="List hosts",
    responses={
        **always("/hosts"),
        **success(200, "All Ollama hosts", HostPage, examples.HOST_PAGE),
    },
)
async def list_hosts(query: Annotated[HostsQuery, Query()], resources: ResourcesOf) -> Response:
    """List the Ollama hosts of the settings: reachability, loaded models, calls, quarantine.

    All hosts are asked at once, for at most two seconds. `quarantine`, `on_trial`, `calls`,
    `failed` and `latency_s` are reported by workers.
    """
    found = await (hosts.list_hosts if query.fresh else glance.seen_hosts)(resources)
    return JsonResponse({"data": [host_document(one) for one in found], "next_cursor": None})


@router.patch(
    "/hosts/{host_id}",
    response_model=None,
    summary="Change a host",
    openapi_extra=json_body(
        "HostUpdate", "What to change.", required=True, disable={"enabled": False}
    ),
    responses={
        **always(_ONE),
        **success(200, "The host as it is now", Host, {**examples.HOST, "enabled": False}),
        **problem(NOT_FOUND, "There is no host host_1.", _ONE),
        **refused_bodies(_ONE),
    },
)
async def change_host(
    host_id: Annotated[str, Path(description="The host's `id`.", examples=["host_1"])],
    request: Request,
    resources: ResourcesOf,
) -> Response:
    """Take a host out of service for maintenance, or put it back.

    Running calls may end, and a benchmark that has the host to itself continues. No worker starts
    more calls there, also after restarts, until the host is put back.
    """
    update = await read_aside(read_host_update, await receive_small(request))
    host = await hosts.set_enabled(resources, host_id, enabled=update.enabled)
    return JsonResponse(host_document(host))

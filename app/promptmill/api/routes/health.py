"""Endpoints `/health` and `/ready`: the state of the process, and its ability to work."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from promptmill.api.dependencies import ResourcesOf, StrictRoute
from promptmill.api.documents.batches import JsonResponse
from promptmill.api.errors.problems import UNAVAILABLE
from promptmill.api.openapi.document import always, problem, success
from promptmill.contract.service import Health, Readiness
from promptmill.domain.errors import Unavailable
from promptmill.services import status

router = APIRouter(tags=["Service"], route_class=StrictRoute)


@router.get(
    "/health",
    response_model=None,
    summary="Liveness",
    responses={
        **always("/health"),
        **success(200, "The process works", Health, {"status": "ok", "version": "0.1.0"}),
        **problem(UNAVAILABLE, "The role heartbeat of worker gpu-4711 has ended.", "/health"),
    },
)
async def tell_health(request: Request, resources: ResourcesOf) -> Response:
    """Report health: 200 while the process works, 503 when it must be restarted.

    Neither the database nor Ollama is accessed.
    """
    status.require_health(resources)
    return JsonResponse({"status": "ok", "version": request.app.version})


@router.get(
    "/ready",
    response_model=None,
    summary="Readiness",
    responses={
        **always("/ready"),
        **success(200, "The service can work", Readiness, {"status": "ready", "missing": []}),
        **problem(UNAVAILABLE, "No Ollama host answers at http://127.0.0.1:11434.", "/ready"),
    },
)
async def tell_readiness(resources: ResourcesOf) -> Response:
    """Report readiness: 200 if the database and at least one host respond and no worker is stuck.

    Else what is missing.
    """
    readiness = await status.check_ready(resources)
    if not readiness.ready:
        raise Unavailable(" ".join(readiness.missing))
    return JsonResponse({"status": "ready", "missing": list(readiness.missing)})

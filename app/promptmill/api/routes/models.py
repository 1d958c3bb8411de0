"""Endpoint `/models`: models installed on the Ollama hosts."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from promptmill.api.dependencies import ResourcesOf, StrictRoute
from promptmill.api.documents.batches import JsonResponse, model_document
from promptmill.api.errors.problems import UNAVAILABLE
from promptmill.api.openapi.document import always, problem, success
from promptmill.contract import examples
from promptmill.contract.service import ModelPage
from promptmill.services import models

router = APIRouter(tags=["Service"], route_class=StrictRoute)


@router.get(
    "/models",
    response_model=None,
    summary="List models",
    responses={
        **always("/models"),
        **success(200, "All installed models", ModelPage, examples.MODEL_PAGE),
        **problem(UNAVAILABLE, "No Ollama host answers at http://127.0.0.1:11434.", "/models"),
    },
)
async def list_models(resources: ResourcesOf) -> Response:
    """List the models installed on all reachable hosts, with limits that suit their size."""
    found = await models.list_models(resources)
    return JsonResponse({"data": [model_document(one) for one in found], "next_cursor": None})

"""`/models`: what the Ollama hosts have installed."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from app.api.dependencies import ResourcesOf, only_query
from app.api.openapi import always, problem, success
from app.api.problems import UNAVAILABLE
from app.api.representation import JsonResponse, model_document
from app.api.schemas import examples
from app.api.schemas.service import ModelPage
from app.services import models

router = APIRouter(tags=["Service"])


@router.get(
    "/models",
    response_model=None,
    summary="List models",
    dependencies=[Depends(only_query())],
    responses={
        **always("/models"),
        **success(200, "All installed models", ModelPage, examples.MODEL_PAGE),
        **problem(UNAVAILABLE, "No Ollama host answers at http://127.0.0.1:11434.", "/models"),
    },
)
async def list_models(resources: ResourcesOf) -> Response:
    """Models installed over all Ollama hosts that answer, with limits that suit their size."""
    found = await models.list_models(resources)
    return JsonResponse({"data": [model_document(one) for one in found], "next_cursor": None})

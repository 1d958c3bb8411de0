"""Endpoints of `/v1/models`: the models installed on the Ollama hosts, each name once."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from starlette.responses import Response

from promptmill.api.dependencies import resources_of
from promptmill.api.openai.errors import json_response
from promptmill.api.openai.operations import Address, Operation
from promptmill.domain.errors import NotFound
from promptmill.domain.model_names import normalise_model
from promptmill.services.models import installed_models

_LOCAL: Final = "library"


async def _documents(request: Request) -> dict[str, dict[str, Any]]:
    """Documents of the models by normalised names."""
    found = await installed_models(resources_of(request))
    return {
        name: {
            "id": model.name,
            "object": "model",
            "created": 0 if model.modified_at is None else int(model.modified_at.timestamp()),
            "owned_by": model.name.rpartition("/")[0] or _LOCAL,
        }
        for name, model in sorted(found.items())
    }


async def _list(request: Request) -> Response:
    documents = await _documents(request)
    return json_response({"object": "list", "data": list(documents.values())})


async def _read(request: Request) -> Response:
    asked: str = request.path_params["model"]
    documents = await _documents(request)
    found = documents.get(normalise_model(asked))
    if found is None:
        raise NotFound(f"The model '{asked[:128]}' does not exist on any Ollama host that answers.")
    return json_response(found)


MODELS: Final = Address(get=Operation(_list))
MODEL: Final = Address(get=Operation(_read), missing=("model_not_found", "model"))

"""The dialect's ASGI application, to be mounted under `/v1`."""

from __future__ import annotations

from starlette.routing import Route, Router
from starlette.types import ASGIApp

from promptmill.api.openai.batches import BATCH, BATCH_CANCEL, BATCH_RESULTS, BATCHES
from promptmill.api.openai.files import FILE, FILE_CONTENT, FILES
from promptmill.api.openai.models import MODEL, MODELS
from promptmill.api.openai.online import CHAT, COMPLETIONS, EMBEDDINGS
from promptmill.api.openai.operations import nothing_here


def openai_dialect() -> ASGIApp:
    """Build the dialect. All its responses, also for unknown paths, have OpenAI's form."""
    return Router(
        [
            Route("/files", FILES),
            Route("/files/{file_id}", FILE),
            Route("/files/{file_id}/content", FILE_CONTENT),
            Route("/batches", BATCHES),
            Route("/batches/{batch_id}", BATCH),
            Route("/batches/{batch_id}/cancel", BATCH_CANCEL),
            Route("/batches/{batch_id}/results", BATCH_RESULTS),
            Route("/chat/completions", CHAT),
            Route("/completions", COMPLETIONS),
            Route("/embeddings", EMBEDDINGS),
            Route("/models", MODELS),
            Route("/models/{model:path}", MODEL),
        ],
        redirect_slashes=False,
        default=nothing_here,
    )

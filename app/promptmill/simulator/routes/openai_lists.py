"""The routes /v1/models, /v1/models/NAME and /v1/embeddings."""

from __future__ import annotations

import base64
import struct
import time
from typing import cast
from urllib.parse import unquote

from promptmill.simulator.engine.catalog import StoredModel
from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.protocol import binding
from promptmill.simulator.protocol.binding import Reader
from promptmill.simulator.protocol.gojson import NANOSECONDS, encode
from promptmill.simulator.protocol.openai_styles import BindingRefusal
from promptmill.simulator.protocol.wire import BARE_JSON, Exchange
from promptmill.simulator.routes.embeddings import embed_fields
from promptmill.simulator.routes.openai_text import bind_openai

_FIELDS: dict[str, Reader] = {
    "model": binding.text,
    "input": binding.anything,
    "dimensions": binding.integer,
    "encoding_format": binding.text,
}

_ENCODINGS = ("", "float", "base64")


async def models(server: ServerState, exchange: Exchange) -> None:
    """GET /v1/models."""
    listed = [_listed(model, model.name.short) for model in server.catalog]
    # Go writes an empty slice that was never made as null.
    await _answer(exchange, {"object": "list", "data": listed or None})


async def model(server: ServerState, exchange: Exchange) -> None:
    """GET /v1/models/NAME."""
    sent = unquote(exchange.call.path.removeprefix("/v1/models/"))
    await _answer(exchange, _listed(server.catalog.require(sent), sent))


async def embeddings(server: ServerState, exchange: Exchange) -> None:
    """POST /v1/embeddings."""
    started_ns = time.perf_counter_ns()
    fields = bind_openai(exchange, "EmbedRequest", _FIELDS)
    if fields.get("input") in (None, "", []):
        raise BindingRefusal(400, "invalid input")
    encoding = cast("str", fields.get("encoding_format", ""))
    if encoding not in _ENCODINGS:
        raise BindingRefusal(
            400,
            f"Invalid value for 'encoding_format' = {encoding}. "
            "Supported values: ['float', 'base64'].",
        )
    done = await embed_fields(server, exchange, fields, started_ns=started_ns)
    if done is None:
        return
    data = [
        {
            "object": "embedding",
            "embedding": _packed(vector) if encoding == "base64" else vector,
            "index": place,
        }
        for place, vector in enumerate(done.vectors)
    ]
    await _answer(
        exchange,
        {
            "object": "list",
            "data": data,
            "model": fields.get("model", ""),
            "usage": {"prompt_tokens": done.tokens, "total_tokens": done.tokens},
        },
    )


def _packed(vector: list[float]) -> str:
    """A vector as base64 of its 32-bit floats, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _listed(stored: StoredModel, name: str) -> dict[str, object]:
    return {
        "id": name,
        "object": "model",
        "created": stored.modified_ns // NANOSECONDS,
        "owned_by": stored.name.namespace,
    }


async def _answer(exchange: Exchange, value: object) -> None:
    await exchange.answer(200, BARE_JSON, encode(value) + "\n")

"""The table of routes: path, method, who answers, and in whose shape a refusal is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.protocol.openai_styles import refuse_as_openai
from promptmill.simulator.protocol.wire import Exchange
from promptmill.simulator.routes import (
    control,
    embeddings,
    models,
    openai_lists,
    openai_text,
    pull,
    text,
)

Run = Callable[[ServerState, Exchange], Awaitable[None]]
Refuse = Callable[[Exchange, Refusal], Awaitable[None]]


async def refuse_natively(exchange: Exchange, refusal: Refusal) -> None:
    """Write a refusal as the routes under /api do."""
    await exchange.refuse(refusal, streaming=exchange.call.stream is True)


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers a path and a method."""

    run: Run
    refuse: Refuse = refuse_natively


def _openai(run: Run) -> Route:
    return Route(run, refuse_as_openai)


# The order of the methods of a path is the order of the header Allow.
ROUTES: dict[str, dict[str, Route]] = {
    "/": {"HEAD": Route(models.root), "GET": Route(models.root)},
    "/api/version": {"HEAD": Route(models.version), "GET": Route(models.version)},
    "/api/status": {"GET": Route(models.status)},
    "/api/tags": {"HEAD": Route(models.tags), "GET": Route(models.tags)},
    "/api/ps": {"GET": Route(models.ps)},
    "/api/show": {"POST": Route(models.show)},
    "/api/copy": {"POST": Route(models.copy)},
    "/api/delete": {"DELETE": Route(models.delete)},
    "/api/pull": {"POST": Route(pull.pull)},
    "/api/generate": {"POST": Route(text.generate)},
    "/api/chat": {"POST": Route(text.chat)},
    "/api/embed": {"POST": Route(embeddings.embed)},
    "/api/embeddings": {"POST": Route(embeddings.embeddings)},
    "/v1/chat/completions": {"POST": _openai(openai_text.chat_completions)},
    "/v1/completions": {"POST": _openai(openai_text.completions)},
    "/v1/embeddings": {"POST": _openai(openai_lists.embeddings)},
    "/v1/models": {"GET": _openai(openai_lists.models)},
    "/simulator/calls": {"GET": Route(control.calls)},
    "/simulator/stats": {"GET": Route(control.stats)},
    "/simulator/reset": {"POST": Route(control.reset)},
    "/simulator/crash": {"POST": Route(control.crash)},
    "/simulator/refuse": {"POST": Route(control.refuse)},
    "/simulator/faults": {"POST": Route(control.faults)},
}

DYNAMIC_ROUTES: tuple[tuple[str, dict[str, Route]], ...] = (
    ("/v1/models/", {"GET": _openai(openai_lists.model)}),
)
"""Routes whose path goes on after the given start."""


def allowed_methods(methods: dict[str, Route]) -> bytes:
    """The header Allow of a refused method."""
    return ", ".join(methods).encode()

"""The table of routes: path, method, who answers, and in whose shape a refusal is written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from promptmill.simulator import (
    control_routes,
    embed_routes,
    model_routes,
    openai_lists,
    openai_text,
    pull_route,
    text_routes,
)
from promptmill.simulator.openai_styles import refuse_as_openai
from promptmill.simulator.refusals import Refusal
from promptmill.simulator.state import ServerState
from promptmill.simulator.wire import Exchange

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
    "/": {"HEAD": Route(model_routes.root), "GET": Route(model_routes.root)},
    "/api/version": {"HEAD": Route(model_routes.version), "GET": Route(model_routes.version)},
    "/api/status": {"GET": Route(model_routes.status)},
    "/api/tags": {"HEAD": Route(model_routes.tags), "GET": Route(model_routes.tags)},
    "/api/ps": {"GET": Route(model_routes.ps)},
    "/api/show": {"POST": Route(model_routes.show)},
    "/api/copy": {"POST": Route(model_routes.copy)},
    "/api/delete": {"DELETE": Route(model_routes.delete)},
    "/api/pull": {"POST": Route(pull_route.pull)},
    "/api/generate": {"POST": Route(text_routes.generate)},
    "/api/chat": {"POST": Route(text_routes.chat)},
    "/api/embed": {"POST": Route(embed_routes.embed)},
    "/api/embeddings": {"POST": Route(embed_routes.embeddings)},
    "/v1/chat/completions": {"POST": _openai(openai_text.chat_completions)},
    "/v1/completions": {"POST": _openai(openai_text.completions)},
    "/v1/embeddings": {"POST": _openai(openai_lists.embeddings)},
    "/v1/models": {"GET": _openai(openai_lists.models)},
    "/simulator/calls": {"GET": Route(control_routes.calls)},
    "/simulator/stats": {"GET": Route(control_routes.stats)},
    "/simulator/reset": {"POST": Route(control_routes.reset)},
    "/simulator/crash": {"POST": Route(control_routes.crash)},
    "/simulator/refuse": {"POST": Route(control_routes.refuse)},
    "/simulator/faults": {"POST": Route(control_routes.faults)},
}

DYNAMIC_ROUTES: tuple[tuple[str, dict[str, Route]], ...] = (
    ("/v1/models/", {"GET": _openai(openai_lists.model)}),
)
"""Routes whose path goes on after the given start."""


def allowed_methods(methods: dict[str, Route]) -> bytes:
    """The header Allow of a refused method."""
    return ", ".join(methods).encode()

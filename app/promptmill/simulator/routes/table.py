"""The table of routes: path, method and the function that responds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.protocol.wire import Exchange
from promptmill.simulator.routes import (
    control,
    embeddings,
    models,
    pull,
    text,
)

Run = Callable[[ServerState, Exchange], Awaitable[None]]

# The order of the methods of a path is the order of the header Allow.
ROUTES: dict[str, dict[str, Run]] = {
    "/": {"HEAD": models.root, "GET": models.root},
    "/api/version": {"HEAD": models.version, "GET": models.version},
    "/api/status": {"GET": models.status},
    "/api/tags": {"HEAD": models.tags, "GET": models.tags},
    "/api/ps": {"GET": models.ps},
    "/api/show": {"POST": models.show},
    "/api/copy": {"POST": models.copy},
    "/api/delete": {"DELETE": models.delete},
    "/api/pull": {"POST": pull.pull},
    "/api/generate": {"POST": text.generate},
    "/api/chat": {"POST": text.chat},
    "/api/embed": {"POST": embeddings.embed},
    "/api/embeddings": {"POST": embeddings.embeddings},
    "/simulator/calls": {"GET": control.calls},
    "/simulator/stats": {"GET": control.stats},
    "/simulator/reset": {"POST": control.reset},
    "/simulator/crash": {"POST": control.crash},
    "/simulator/refuse": {"POST": control.refuse},
    "/simulator/refuses": {"POST": control.refuses},
    "/simulator/faults": {"POST": control.faults},
}


def allowed_methods(methods: dict[str, Run]) -> bytes:
    """The header Allow of a refused method."""
    return ", ".join(methods).encode()

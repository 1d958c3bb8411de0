"""Table of the routes: the scopes that each needs, and whether it is a page for people.

Every route of the service has a row; a test fails for a route without one. Without keys every
request is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from promptmill.domain.access.keys import Scope

Sufficient = frozenset[Scope] | None
"""Scopes of which any one suffices; None where no key is needed."""

OPEN: Final = None
ANY_KEY: Final = frozenset(Scope)
READ: Final = frozenset({Scope.READ, Scope.SUBMIT, Scope.ADMIN})
SUBMIT: Final = frozenset({Scope.SUBMIT, Scope.ADMIN})
ADMIN: Final = frozenset({Scope.ADMIN})
METRICS: Final = frozenset({Scope.METRICS, Scope.ADMIN})


@dataclass(frozen=True, slots=True)
class Route:
    """A path of the service."""

    path: str
    """Path template, such as `/batches/{batch_id}`."""
    needs: Mapping[str, Sufficient]
    """Sufficient scopes, by method."""
    is_page: bool = False
    """Whether people open the route in a browser, so that links from other sites may lead there."""

    def sufficient(self, method: str) -> Sufficient:
        """Scopes that suffice for a method; any key suffices for a method that the route lacks."""
        return self.needs.get("GET" if method == "HEAD" else method, ANY_KEY)


TABLE: Final = (
    Route("/health", {"GET": OPEN}),
    Route("/ready", {"GET": ANY_KEY}),
    Route("/metrics", {"GET": METRICS}),
    Route("/docs", {"GET": ANY_KEY}, is_page=True),
    Route("/docs/start.js", {"GET": ANY_KEY}),
    Route("/docs/assets/{name}", {"GET": ANY_KEY}),
    Route("/redoc", {"GET": ANY_KEY}, is_page=True),
    Route("/openapi.json", {"GET": ANY_KEY}),
    Route("/problems/{slug}", {"GET": ANY_KEY}, is_page=True),
    Route("/batches", {"GET": READ, "POST": SUBMIT}),
    Route("/batches/{batch_id}", {"GET": READ, "PATCH": SUBMIT, "DELETE": SUBMIT}),
    Route("/batches/{batch_id}/results", {"GET": READ}),
    Route("/batches/{batch_id}/events", {"GET": READ}),
    Route("/batches/{batch_id}/history", {"GET": READ}),
    Route("/batches/{batch_id}/summary", {"GET": READ}),
    Route("/batches/{batch_id}/prompts", {"GET": READ}),
    Route("/batches/{batch_id}/prompts/{index}", {"GET": READ}),
    Route("/batches/{batch_id}/cancel", {"POST": SUBMIT}),
    Route("/batches/{batch_id}/pause", {"POST": SUBMIT}),
    Route("/batches/{batch_id}/resume", {"POST": SUBMIT}),
    Route("/batches/{batch_id}/retry", {"POST": SUBMIT}),
    Route("/benchmarks", {"GET": READ, "POST": SUBMIT}),
    Route("/benchmarks/{benchmark_id}", {"GET": READ, "DELETE": SUBMIT}),
    Route("/benchmarks/{benchmark_id}/runs", {"GET": READ}),
    Route("/benchmarks/{benchmark_id}/compare", {"GET": READ}),
    Route("/benchmarks/{benchmark_id}/report", {"GET": READ}, is_page=True),
    Route("/benchmarks/{benchmark_id}/cancel", {"POST": SUBMIT}),
    Route("/models", {"GET": READ}),
    Route("/hosts", {"GET": READ}),
    Route("/hosts/{host_id}", {"PATCH": ADMIN}),
    Route("/workers", {"GET": READ}),
    Route("/settings", {"GET": ADMIN}),
    Route("/stats", {"GET": READ}),
    Route("/stats/series", {"GET": READ}),
    Route("/v1/chat/completions", {"POST": SUBMIT}),
    Route("/v1/completions", {"POST": SUBMIT}),
    Route("/v1/embeddings", {"POST": SUBMIT}),
    Route("/v1/models", {"GET": READ}),
    Route("/v1/models/{model:path}", {"GET": READ}),
    Route("/v1/files", {"GET": READ, "POST": SUBMIT}),
    Route("/v1/files/{file_id}", {"GET": READ, "DELETE": SUBMIT}),
    Route("/v1/files/{file_id}/content", {"GET": READ}),
    Route("/v1/batches", {"GET": READ, "POST": SUBMIT}),
    Route("/v1/batches/{batch_id}", {"GET": READ}),
    Route("/v1/batches/{batch_id}/cancel", {"POST": SUBMIT}),
    Route("/v1/batches/{batch_id}/results", {"GET": READ}),
    Route("/", {"GET": READ}, is_page=True),
    Route("/ui/batches", {"GET": READ}, is_page=True),
    Route("/ui/batches/new", {"GET": SUBMIT}, is_page=True),
    Route("/ui/batches/{batch_id}", {"GET": READ}, is_page=True),
    Route("/ui/batches/{batch_id}/prompts/{index}", {"GET": READ}, is_page=True),
    Route("/ui/benchmarks", {"GET": READ}, is_page=True),
    Route("/ui/benchmarks/new", {"GET": SUBMIT}, is_page=True),
    Route("/ui/benchmarks/compare", {"GET": READ}, is_page=True),
    Route("/ui/benchmarks/{benchmark_id}", {"GET": READ}, is_page=True),
    Route("/ui/hosts", {"GET": READ}, is_page=True),
    Route("/ui/settings", {"GET": ADMIN}, is_page=True),
    Route("/ui/hosts/{host_id}/disable", {"POST": ADMIN}),
    Route("/ui/hosts/{host_id}/enable", {"POST": ADMIN}),
    Route("/ui/batches/{batch_id}/pause", {"POST": SUBMIT}),
    Route("/ui/batches/{batch_id}/resume", {"POST": SUBMIT}),
    Route("/ui/batches/{batch_id}/cancel", {"POST": SUBMIT}),
    Route("/ui/batches/{batch_id}/delete", {"POST": SUBMIT}),
    Route("/ui/batches/{batch_id}/retry", {"POST": SUBMIT}),
    Route("/ui/batches/{batch_id}/change", {"POST": SUBMIT}),
    Route("/ui/benchmarks/{benchmark_id}/cancel", {"POST": SUBMIT}),
    Route("/ui/benchmarks/{benchmark_id}/delete", {"POST": SUBMIT}),
    Route("/ui/login", {"GET": OPEN, "POST": OPEN}, is_page=True),
    Route("/ui/logout", {"POST": OPEN}),
    Route("/ui/assets/{wanted}/{name}", {"GET": OPEN}),
)
_EXACT: Final = {route.path: route for route in TABLE if "{" not in route.path}
_TEMPLATES: Final = [
    (re.compile(re.sub(r"\{\w+\}", "[^/]+", route.path.replace("{model:path}", ".+"))), route)
    for route in TABLE
    if "{" in route.path
]


def find_route(path: str) -> Route | None:
    """The row of a request's path; None without such a route."""
    if (exact := _EXACT.get(path)) is not None:
        return exact
    return next((route for pattern, route in _TEMPLATES if pattern.fullmatch(path)), None)


def path_below_root(scope: Mapping[str, Any]) -> str:
    """The path of a request without the prefix of a proxy."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path

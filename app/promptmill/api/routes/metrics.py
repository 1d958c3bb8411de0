"""Endpoint `/metrics`: metrics of the process and the database, for Prometheus."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request
from prometheus_client.exposition import choose_encoder
from starlette.responses import Response

from promptmill.api.dependencies import ResourcesOf, StrictRoute
from promptmill.api.openapi.document import always, success
from promptmill.observability.metrics import REGISTRY
from promptmill.services.monitoring import gauges

router = APIRouter(tags=["Service"], route_class=StrictRoute)

_EXPOSITION: Final[dict[str, Any]] = {
    "text/plain": {
        "schema": {"type": "string", "description": "Prometheus' text format, or OpenMetrics."},
        "examples": {
            "metrics": {"summary": "One metric", "value": "promptmill_queue_limit_prompts 1e+07\n"}
        },
    }
}


@router.get(
    "/metrics",
    response_model=None,
    response_class=Response,
    summary="Metrics",
    responses={
        **always("/metrics"),
        200: {
            "description": "All metrics",
            "headers": success(200, "All metrics")[200]["headers"],
            "content": _EXPOSITION,
        },
    },
)
async def tell_metrics(request: Request, resources: ResourcesOf) -> Response:
    """All metrics of this process and the gauges of the database, in Prometheus' format.

    OpenMetrics comes when `Accept` asks for it.
    """
    await gauges.refresh(resources)
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    content = await asyncio.to_thread(encode, REGISTRY)
    return Response(content, headers={"Content-Type": media_type})

"""Start value of `max_concurrent: auto`: the limit recommended for the model's size."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from promptmill.domain.batches import BatchDraft
from promptmill.domain.limits import parse_parameter_size, recommended_limits
from promptmill.domain.model_names import normalise_model
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.hosts import Host
from promptmill.services.resources import Resources

_LIST_S = 1.0
"""Most seconds to wait for a host's list of models during a submission."""


async def with_starting_limit(resources: Resources, draft: BatchDraft) -> BatchDraft:
    """Set the start value of a draft that asks for `auto`.

    The size is that of the batch's model; it is unknown if no host reports it.
    """
    if not draft.auto_concurrency:
        return draft
    sizes = await asyncio.gather(*(_size(host, draft.model) for host in resources.hosts))
    known = next((size for size in sizes if size is not None), None)
    recommended = recommended_limits(parse_parameter_size(known))
    limits = replace(draft.limits, max_concurrent=recommended.max_concurrent)
    return replace(draft, limits=limits)


async def _size(host: Host, model: str) -> str | None:
    """Size of the model as the host reports it, last time or now."""
    installed = host.view.installed
    if installed is None:
        try:
            installed = await host.client.list_models(within_s=_LIST_S)
        except OllamaError:
            return None
    wanted = normalise_model(model)
    return next(
        (one.parameter_size for one in installed if normalise_model(one.name) == wanted), None
    )

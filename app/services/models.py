"""What models there are, on which hosts, and which limits suit them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.domain.errors import Unavailable
from app.domain.limits import Limits, parse_parameter_size, recommended_limits
from app.ollama.errors import OllamaError
from app.ollama.names import normalise_model
from app.services.resources import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """An installed model."""

    name: str
    size: int | None
    """Bytes on the host's disk."""
    digest: str | None
    family: str | None
    parameter_size: str | None
    """As Ollama writes it, such as `8.2B`."""
    quantization_level: str | None
    loaded_on: tuple[str, ...]
    """URLs of the hosts that have it in memory now."""
    recommended: Limits
    """Limits that suit its size."""


async def list_models(resources: Resources) -> Sequence[ModelSummary]:
    """The installed models, by name.

    Raises:
        Unavailable: The Ollama host does not answer as Ollama does.
    """
    client = resources.host.client
    try:
        installed = await client.list_models()
        loaded = {normalise_model(model.name) for model in await client.list_running()}
    except OllamaError as error:
        raise Unavailable(error.failed.message) from error
    return [
        ModelSummary(
            name=model.name,
            size=model.size,
            digest=model.digest,
            family=model.family,
            parameter_size=model.parameter_size,
            quantization_level=model.quantization_level,
            loaded_on=(client.base_url,) if normalise_model(model.name) in loaded else (),
            recommended=recommended_limits(parse_parameter_size(model.parameter_size)),
        )
        for model in sorted(installed, key=lambda model: model.name)
    ]


async def installed_names(resources: Resources) -> Sequence[str]:
    """The names of the installed models, as the host spells them.

    Raises:
        Unavailable: The Ollama host does not answer as Ollama does.
    """
    try:
        return [model.name for model in await resources.host.client.list_models()]
    except OllamaError as error:
        raise Unavailable(error.failed.message) from error

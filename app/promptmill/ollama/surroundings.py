"""What can be seen of a model and its host from outside, gathered for a benchmark."""

from __future__ import annotations

from dataclasses import dataclass, replace

from promptmill.domain.benchmarks.records import ModelEnvironment
from promptmill.domain.model_names import normalise_model
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.failures.table import OllamaError


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look; what the host did not tell is None."""

    version: str | None = None
    loaded: tuple[str, ...] | None = None
    """Names of the models in memory."""
    model: ModelEnvironment


async def look_at_model(client: OllamaClient, model: str, known: ModelEnvironment) -> Look:
    """What the host tells about itself and the model, beside what is known already.

    Nothing is raised: a host that does not answer a question leaves its part as it was. A model in
    memory is described as it lies there, any other as it lies on the disk.
    """
    version = loaded = None
    found = known
    wanted = normalise_model(model)
    try:
        version = await client.version()
        for installed in await client.list_models():
            if normalise_model(installed.name) == wanted:
                found = replace(
                    found,
                    model_digest=installed.digest,
                    family=installed.family,
                    parameter_size=installed.parameter_size,
                    quantization_level=installed.quantization_level,
                    capabilities=installed.capabilities or found.capabilities,
                )
        running = await client.list_running()
        loaded = tuple(sorted(each.name for each in running))
        for each in running:
            if normalise_model(each.name) == wanted:
                found = replace(
                    found,
                    context_length=each.context_length,
                    size=each.size,
                    size_vram=each.size_vram,
                )
        if found.capabilities is None and found.model_digest is not None:
            found = replace(found, capabilities=(await client.show(model)).capabilities)
    except OllamaError:
        pass
    return Look(version=version, loaded=loaded, model=found)

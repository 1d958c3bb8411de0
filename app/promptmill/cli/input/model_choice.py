"""Choice of a model on an Ollama server for a demonstration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from promptmill.domain.model_names import normalise_model
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.deadlines import Timeouts
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.models import InstalledModel, ModelInfo

_QUICK: Final = Timeouts(connect_s=2.0, first_byte_s=5.0, between_chunks_s=5.0)
_LEAST_BYTES: Final = 1_000_000
"""Bytes below which a model is a reference to a cloud model, which costs its owner money."""
_ONLY_EMBEDS: Final = ("bert", "nomic-bert", "xlm-roberta")
"""Architectures that cannot complete text, for servers that do not list capabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Server that responds, with one of its models."""

    ollama_host: str
    version: str
    model: str
    thinks: bool
    """Whether thinking of the model can be turned off."""


async def choose_model(ollama_host: str, preferred: str) -> Choice | str:
    """Choose the preferred model if installed, else the smallest that completes text.

    A string says why there is none.
    """
    client = OllamaClient(ollama_host, timeouts=_QUICK)
    try:
        version = await client.version()
        for model in candidates(await client.list_models(), preferred):
            info = await client.show(model.name)
            if completes_text(info):
                return Choice(
                    ollama_host=client.base_url,
                    version=version,
                    model=model.name,
                    thinks="thinking" in info.capabilities,
                )
    except OllamaError as error:
        return error.failed.message
    else:
        return f"{client.base_url} answers, but it has no model that completes text."
    finally:
        await client.aclose()


def candidates(installed: Sequence[InstalledModel], preferred: str) -> list[InstalledModel]:
    """Models on the server's own disk: the preferred first, then by size."""
    wanted = normalise_model(preferred)
    local = [model for model in installed if model.size >= _LEAST_BYTES]
    return sorted(local, key=lambda model: (normalise_model(model.name) != wanted, model.size))


def completes_text(info: ModelInfo) -> bool:
    """Whether the model accepts prompts."""
    if info.capabilities:
        return "completion" in info.capabilities
    return info.family not in _ONLY_EMBEDS

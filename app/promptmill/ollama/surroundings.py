"""State of a model and its host for a benchmark, as seen from outside."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from promptmill.domain.benchmarks.records import ModelEnvironment
from promptmill.domain.hosts.spec import HostSpec
from promptmill.domain.model_names import normalise_model
from promptmill.ollama.client import OllamaClient
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.transport import headers_with, tls_for

_HALF_S: Final = 0.5
"""The header `Date` has whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Result of one look; None stands for values that the host did not report."""

    version: str | None = None
    loaded: tuple[str, ...] | None = None
    """Names of the models in memory."""
    model: ModelEnvironment


async def look_at_model(client: OllamaClient, model: str, known: ModelEnvironment) -> Look:
    """Ask a host about itself and a model, and complete the known values.

    No error is raised: a question without a response leaves its values unchanged. A loaded model is
    described as loaded, any other as installed.
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


async def clock_ahead_s(spec: HostSpec, *, within_s: float) -> float | None:
    """Seconds that a host's clock is ahead of this machine's, exact to half a second.

    None if the host does not answer in time, or its answer has no `Date`.
    """
    headers = headers_with(spec.credentials)
    try:
        async with httpx.AsyncClient(
            verify=tls_for(spec.url), headers=headers, timeout=within_s, trust_env=False
        ) as client:
            answer = await client.get(f"{spec.url}/api/version")
        told = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (httpx.HTTPError, KeyError, ValueError):
        return None
    return told + _HALF_S - time.time()

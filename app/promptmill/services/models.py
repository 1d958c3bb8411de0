"""Service functions of installed models: hosts that have them, and limits that suit them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from promptmill.domain.errors import Unavailable
from promptmill.domain.limits import Limits, parse_parameter_size, recommended_limits
from promptmill.domain.model_names import normalise_model
from promptmill.ollama.failures.table import OllamaError
from promptmill.ollama.hosts import LOOK_S, Host
from promptmill.ollama.models import InstalledModel
from promptmill.services.resources import Resources

_TEXT = "completion"
_LIST_S = 10.0
"""Most seconds for a list of models, which a host reads from its disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """Installed model. Hosts on which the name has another digest are separate entries."""

    name: str
    size: int | None
    """Bytes on the host's disk."""
    digest: str | None
    family: str | None
    parameter_size: str | None
    """The size in Ollama's notation, such as `8.2B`."""
    quantization_level: str | None
    hosts: tuple[str, ...]
    """URLs of the hosts that have the model installed and may be called for it."""
    loaded_on: tuple[str, ...]
    """URLs of the hosts that have the model loaded."""
    recommended: Limits
    """Limits that suit the model's size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shelf:
    """Models of one host."""

    url: str
    installed: Sequence[InstalledModel]
    loaded: frozenset[str]


async def list_models(resources: Resources) -> Sequence[ModelSummary]:
    """List the installed models of all reachable hosts, by name.

    Raises:
        Unavailable: No Ollama host answers as Ollama does.
    """
    shelves = await _shelves(resources, with_loaded=True)
    found: dict[tuple[str, str], list[tuple[InstalledModel, _Shelf]]] = {}
    for shelf in shelves:
        for model in shelf.installed:
            found.setdefault((normalise_model(model.name), model.digest), []).append((model, shelf))
    summaries = [_summary(name, places) for (name, _), places in found.items()]
    return sorted(summaries, key=lambda model: model.name)


def _summary(name: str, places: Sequence[tuple[InstalledModel, _Shelf]]) -> ModelSummary:
    # Hosts with the same digest have the same model; the first describes it.
    model = places[0][0]
    return ModelSummary(
        name=model.name,
        size=model.size,
        digest=model.digest,
        family=model.family,
        parameter_size=model.parameter_size,
        quantization_level=model.quantization_level,
        hosts=tuple(shelf.url for _, shelf in places),
        loaded_on=tuple(shelf.url for _, shelf in places if name in shelf.loaded),
        recommended=recommended_limits(parse_parameter_size(model.parameter_size)),
    )


async def installed_models(resources: Resources) -> Mapping[str, InstalledModel]:
    """Installed models of all reachable hosts, by normalised names.

    Raises:
        Unavailable: No Ollama host answers as Ollama does.
    """
    return {
        normalise_model(model.name): model
        for shelf in await _shelves(resources, with_loaded=False)
        for model in shelf.installed
    }


async def installed_names(resources: Resources) -> Sequence[str]:
    """Names of the installed models of all reachable hosts, as the hosts spell them.

    Raises:
        Unavailable: No Ollama host answers as Ollama does.
    """
    return [model.name for model in (await installed_models(resources)).values()]


async def that_only_embed(
    resources: Resources, names: Collection[str], *, within_s: float = 1.0
) -> Collection[str]:
    """Names, of those given, of models that can only make embeddings on every host.

    A host that has not been seen is asked once; if it does not respond in time, its models count as
    able to complete text.
    """
    hosts = [host for host in resources.hosts if host.available]
    unseen = [host for host in hosts if host.view.installed is None]
    await asyncio.gather(*(host.look_at_models(within_s=within_s) for host in unseen))

    async def only_embeds(name: str) -> bool:
        asked = (host.capabilities_of(name, within_s=within_s) for host in hosts)
        told = [able for able in await asyncio.gather(*asked) if able]
        return bool(told) and all("embedding" in able and _TEXT not in able for able in told)

    return [name for name in names if await only_embeds(name)]


async def _shelves(resources: Resources, *, with_loaded: bool) -> Sequence[_Shelf]:
    answers = await asyncio.gather(
        *(_shelf(host, with_loaded=with_loaded) for host in resources.hosts)
    )
    shelves = [answer for answer in answers if isinstance(answer, _Shelf)]
    if not shelves:
        raise Unavailable(" ".join(answer for answer in answers if isinstance(answer, str)))
    return shelves


async def _shelf(host: Host, *, with_loaded: bool) -> _Shelf | str:
    """Models of a host, or the error of the request."""
    listing = host.client.list_models(within_s=_LIST_S)
    try:
        if with_loaded:
            installed, loaded = await asyncio.gather(listing, _loaded(host))
        else:
            installed, loaded = await listing, frozenset[str]()
    except OllamaError as error:
        return error.failed.message
    usable = [model for model in installed if host.may_run(model.name)]
    return _Shelf(url=host.url, installed=usable, loaded=loaded)


async def _loaded(host: Host) -> frozenset[str]:
    """Names of the loaded models; the last known ones while Ollama does not respond."""
    try:
        running = await host.client.list_running(within_s=LOOK_S)
    except OllamaError:
        running = host.view.loaded or ()
    return frozenset(normalise_model(model.name) for model in running)

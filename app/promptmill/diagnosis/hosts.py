"""Checks of the Ollama hosts."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from promptmill.diagnosis.findings import Finding, Level, clock_finding
from promptmill.domain.calls import Call
from promptmill.domain.hosts.spec import HostSpec
from promptmill.domain.outcomes import Succeeded
from promptmill.ollama.hosts import Host
from promptmill.ollama.surroundings import clock_ahead_s
from promptmill.runtime import open_host
from promptmill.settings import Settings, given_proxies

_TRIED: Final = "0.24.0"
"""The version of Ollama whose answers were recorded for the tests."""
_LEVELS: Final = (1, 2, 4, 8)
_LOOK_S: Final = 5.0
_PROBE_S: Final = 300.0
_SLOWER: Final = 1.5
"""A time that grows by this factor when the requests double shows that they wait for each other."""


async def check_hosts(settings: Settings, *, probe: bool) -> Sequence[Finding]:
    """Whether each host answers, has the default model, and how much it does at a time."""
    found = list(_check_names(settings.hosts))
    for spec in settings.hosts:
        host = open_host(settings, spec)
        try:
            found += await _check_host(settings, host, probe=probe)
        finally:
            await host.client.aclose()
    return found


def _check_names(specs: Sequence[HostSpec]) -> Iterator[Finding]:
    """Names of one server, which would get the calls of several."""
    seen: dict[tuple[str, int], str] = {}
    for spec in specs:
        url = urlsplit(spec.url)
        try:
            found = socket.getaddrinfo(url.hostname, url.port, type=socket.SOCK_STREAM)
        except OSError:
            continue  # That it cannot be reached is told below.
        addresses = {(str(where[0]), int(where[1])) for *_, where in found}
        others = {seen[each] for each in addresses if seen.get(each, spec.url) != spec.url}
        for other in sorted(others):
            told = f"{spec.url} and {other} are the same server."
            yield Finding("hosts", Level.WARNING, told, "Name it once, or its slots count twice.")
        seen |= dict.fromkeys(addresses, spec.url)
    proxies = sorted({name for name in given_proxies() if name.lower() != "no_proxy"})
    if proxies:
        told = f"{', '.join(proxies)}: not used for hosts, which are called at their address."
        yield Finding("hosts", Level.NOTE, told)


async def _check_host(settings: Settings, host: Host, *, probe: bool) -> Sequence[Finding]:
    began = time.monotonic()
    view = await host.look(within_s=_LOOK_S, judging=False)
    took_ms = (time.monotonic() - began) * 1000
    if view.trouble is not None:
        advice = "Start Ollama there, or correct OLLAMA_HOST."
        return [Finding("hosts", Level.FAILURE, view.trouble.message, advice)]
    told = f"{host.url} is Ollama {view.version}, answered in {took_ms:.0f} ms,"
    told += f" and has {len(view.installed or ())} models."
    found = [Finding("hosts", Level.OK, told, "", True)]
    if (known := _as_numbers(view.version)) and known < _as_numbers(_TRIED):
        told = f"{host.url} is older than Ollama {_TRIED}, with which Promptmill was tried."
        found.append(Finding("hosts", Level.NOTE, told, "Upgrade it, if calls fail."))
    for model in view.loaded or ():
        if model.size_vram < model.size:
            share = model.size_vram / model.size
            told = f"{model.name} at {host.url} has {share:.0%} of its memory on graphics cards."
            advice = "The rest is computed by the processor, and slow; a smaller model may fit."
            found.append(Finding("hosts", Level.NOTE, told, advice if model.size_vram else ""))
    if host.has_model(settings.default_model) is False:
        told = f"{host.url} has no model {settings.default_model}, the default one."
        advice = f"`ollama pull {settings.default_model}` there, or set PROMPTMILL_DEFAULT_MODEL."
        found.append(Finding("hosts", Level.NOTE, told, advice))
    if host.spec.slots is None:
        advice = "Set PROMPTMILL_OLLAMA_SLOTS to Ollama's OLLAMA_NUM_PARALLEL."
        found.append(Finding("hosts", Level.NOTE, f"{host.url} has no slots set.", advice))
    if probe:
        found.append(await _probe(settings, host))
    ahead_s = await clock_ahead_s(host.spec, within_s=_LOOK_S)
    return found if ahead_s is None else [*found, clock_finding(host.url, ahead_s)]


def _as_numbers(version: str | None) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version or "")[:3]))


async def _probe(settings: Settings, host: Host) -> Finding:
    options = {"num_predict": 1, "temperature": 0}
    call = Call(
        model=settings.default_model,
        prompt="Say one word.",
        parameters={"options": options, "think": False},
        timeout_s=_PROBE_S,
    )
    first = await host.client.run(call)
    if not isinstance(first, Succeeded):
        return Finding("hosts", Level.WARNING, f"{host.url}: {first.message}", "See its own log.")
    took: list[float] = []
    for level in _LEVELS:
        began = time.monotonic()
        await asyncio.gather(*(host.client.run(call) for _ in range(level)))
        took.append(time.monotonic() - began)
    parallel = 1
    for level, before, after in zip(_LEVELS[1:], took, took[1:], strict=False):
        if after > before * _SLOWER:
            break
        parallel = level
    shown = ", ".join(f"{n} in {s:.2f} s" for n, s in zip(_LEVELS, took, strict=True))
    told = f"{host.url} answered {shown}: about {parallel} at a time."
    slots = host.spec.slots
    if slots is not None and slots > parallel and parallel < _LEVELS[-1]:
        return Finding("hosts", Level.WARNING, told, f"{slots} slots are set: set fewer.")
    return Finding("hosts", Level.OK, told)

"""The Ollama hosts as they stand now: asked live, all at once, beside what the database knows."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.domain.outcomes import ErrorCode
from app.ollama.hosts import Host
from app.ollama.models import RunningModel
from app.services.resources import Resources
from app.store import groups, hosts
from app.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Why a host is put aside, and how long its rest still lasts."""

    next_look_s: float
    error_code: ErrorCode
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What this process's own worker has seen of a host since its start."""

    quarantine: Quarantine | None
    on_trial: bool
    """It came back, and no call has gone through since."""
    calls: int
    failed: int
    latency_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSummary:
    """An Ollama host; None is what nobody knows."""

    url: str
    reachable: bool
    """Whether it told its version just now."""
    error: str | None
    """Why it did not."""
    version: str | None
    slots: int | None
    in_flight: int
    held_by: str | None
    """Id of the benchmark that has it to itself."""
    models: int | None
    """Installed models that it may be asked for."""
    only_models: tuple[str, ...] | None
    loaded: tuple[RunningModel, ...] | None
    loaded_age_s: float | None
    """How old the sight of the loaded models is."""
    groups: tuple[str, ...]
    work: Work | None
    """None in a process without a worker."""


async def list_hosts(resources: Resources) -> Sequence[HostSummary]:
    """The hosts of the settings in their order, asked at once.

    Raises:
        Unavailable: The database does not answer.
    """
    (used, running), _ = await asyncio.gather(
        resources.database.read(_used),
        asyncio.gather(*(host.look(judging=False) for host in resources.hosts)),
    )
    use_of = {use.url: use for use in used}
    works = resources.settings.embedded_worker
    return [
        _summary(host, use_of.get(host.url), tuple(running.get(host.url, ())), works=works)
        for host in resources.hosts
    ]


def _used(tx: Transaction) -> tuple[Sequence[hosts.HostUse], Mapping[str, Sequence[str]]]:
    return hosts.list_hosts(tx), groups.names_by_host(tx)


def _summary(
    host: Host, use: hosts.HostUse | None, groups: tuple[str, ...], *, works: bool
) -> HostSummary:
    view = host.view
    usable = [model for model in view.installed or () if host.may_run(model.name)]
    return HostSummary(
        url=host.url,
        reachable=view.trouble is None,
        error=None if view.trouble is None else view.trouble.message,
        version=view.version,
        slots=host.spec.slots,
        in_flight=0 if use is None else use.in_flight,
        held_by=None if use is None else use.held_by,
        models=None if view.installed is None else len(usable),
        only_models=host.spec.models,
        loaded=view.loaded,
        loaded_age_s=None if view.loaded_at is None else host.seconds_since(view.loaded_at),
        groups=groups,
        work=_work(host) if works else None,
    )


def _work(host: Host) -> Work:
    health, tally = host.health, host.tally
    trouble = health.trouble
    quarantine = None
    if trouble is not None:
        quarantine = Quarantine(
            next_look_s=max(-host.seconds_since(health.rest_until), 0.0),
            error_code=trouble.code,
            reason=trouble.message,
        )
    return Work(
        quarantine=quarantine,
        on_trial=health.on_trial,
        calls=tally.calls,
        failed=tally.failed,
        latency_s=tally.latency_s,
    )

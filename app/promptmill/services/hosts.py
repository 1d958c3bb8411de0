"""Service functions of Ollama hosts: asked live and concurrently, joined with stored reports."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from promptmill.domain.errors import NotFound
from promptmill.domain.hosts.reports import HostReport, Quarantine
from promptmill.observability.audit import Change, audit
from promptmill.ollama.hosts import Host
from promptmill.ollama.models import RunningModel
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Wakeup
from promptmill.store.db.database import Transaction
from promptmill.store.hosts import host_reports, hosts
from promptmill.store.hosts import model_switching as groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Work of a host as all living workers report it, each since its start."""

    aside: Quarantine | None
    """Quarantine by at least one worker; of several, that of the worker that tries again first."""
    on_trial: bool
    """Whether the host is half-open for one of the workers."""
    calls: int
    failed: int
    latency_s: float | None
    """Median of the workers' median latencies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSummary:
    """State of an Ollama host; None stands for unknown values."""

    id: str | None
    """Id for changes; None until a worker has registered the host."""
    url: str
    machine: str | None
    """Machine of a loopback address; None: an address of the network."""
    reachable: bool
    """Whether the host has just returned its version; of another machine, whether it takes work."""
    error: str | None
    """Why the host is not reachable."""
    version: str | None
    slots: int | None
    in_flight: int
    enabled: bool
    """Whether the host is in service."""
    held_by: str | None
    """Id of the benchmark that has the host to itself."""
    models: int | None
    """Installed models that the settings allow at the host."""
    only_models: tuple[str, ...] | None
    loaded: tuple[RunningModel, ...] | None
    loaded_age_s: float | None
    """Seconds since the loaded models were read."""
    groups: tuple[str, ...]
    work: Work | None
    """Work by the workers' reports; None if no worker is alive."""


async def list_hosts(resources: Resources) -> Sequence[HostSummary]:
    """List the hosts of the settings in their order, asked at once; then those of other machines.

    Hosts that this process cannot reach are shown as the workers of their machine report them.

    Raises:
        Unavailable: The database does not respond.
    """
    (used, running, told), _ = await asyncio.gather(
        resources.database.read(_used, lease_ms=round(resources.settings.lease_s * 1000)),
        asyncio.gather(*(host.look(judging=False) for host in resources.hosts)),
    )
    # A SQLite file has hosts of one machine only, see `register_host`.
    by_url = resources.database.is_sqlite
    key_of = {(use.url, None if by_url else use.machine): use.key for use in used}
    use_of = {use.key: use for use in used}
    of_host: dict[int | None, list[HostReport]] = {}
    for worker_id, key, report in told:
        if worker_id not in resources.own_workers:
            of_host.setdefault(key, []).append(report)
    found: list[HostSummary] = []
    for host in resources.hosts:
        key = key_of.get((host.url, None if by_url else host.machine))
        reports = of_host.pop(key, []) if key is not None else []
        if resources.settings.embedded_worker:
            reports.append(host.report())
        use = None if key is None else use_of[key]
        groups = () if key is None else tuple(running.get(key, ()))
        found.append(_summary(host, use, groups=groups, work=_work(reports)))
    found += [
        _summary_of_another_machine(use, of_host[use.key], groups=tuple(running.get(use.key, ())))
        for use in used
        if use.machine is not None and use.key in of_host
    ]
    return found


async def set_enabled(resources: Resources, host_id: str, *, enabled: bool) -> HostSummary:
    """Put a host into service, or take it out: running calls end, and no more are started.

    The state applies to every worker, across restarts, until it is changed again.

    Raises:
        NotFound: There is no host of that id.
        Unavailable: The database does not respond.
    """
    found = {host.id: host for host in await list_hosts(resources)}
    if host_id not in found:
        raise NotFound(f"There is no host {host_id}.")
    key = int(host_id.removeprefix(_PREFIX))
    changed = await resources.database.write(hosts.set_enabled, key, enabled=enabled)
    resources.snapshots.forget("hosts", "glance")
    if changed:
        audit(Change.HOST_ENABLED if enabled else Change.HOST_DISABLED, host_id)
        resources.signals.spread(Wakeup.WORK)
    return replace(found[host_id], enabled=enabled)


_PREFIX: Final = "host_"


def _id_of(use: hosts.HostUse) -> str:
    return f"{_PREFIX}{use.key}"


def _used(
    tx: Transaction, *, lease_ms: int
) -> tuple[
    Sequence[hosts.HostUse],
    Mapping[int, Sequence[str]],
    Sequence[tuple[str, int, HostReport]],
]:
    return (
        hosts.list_hosts(tx),
        groups.names_by_host(tx),
        host_reports.of_hosts(tx, lease_ms=lease_ms),
    )


def _summary(
    host: Host, use: hosts.HostUse | None, *, groups: tuple[str, ...], work: Work | None
) -> HostSummary:
    view = host.view
    usable = [model for model in view.installed or () if host.may_run(model.name)]
    return HostSummary(
        id=None if use is None else _id_of(use),
        enabled=use is None or use.enabled,
        url=host.url,
        machine=host.machine,
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
        work=work,
    )


def _summary_of_another_machine(
    use: hosts.HostUse, told: Sequence[HostReport], *, groups: tuple[str, ...]
) -> HostSummary:
    idle = [one.aside for one in told if one.aside is not None]
    reachable = len(idle) < len(told)
    return HostSummary(
        id=_id_of(use),
        enabled=use.enabled,
        url=use.url,
        machine=use.machine,
        reachable=reachable,
        error=None if reachable else idle[0].reason,
        version=None,
        slots=told[0].slots,
        in_flight=use.in_flight,
        held_by=use.held_by,
        models=None,
        only_models=None,
        loaded=None,
        loaded_age_s=None,
        groups=groups,
        work=_work(told),
    )


def _work(told: Sequence[HostReport]) -> Work | None:
    if not told:
        return None
    asides = [one.aside for one in told if one.aside is not None]
    latencies = [one.latency_s for one in told if one.latency_s is not None]
    return Work(
        aside=min(asides, key=lambda one: one.next_look_s, default=None),
        on_trial=any(one.on_trial for one in told),
        calls=sum(one.calls for one in told),
        failed=sum(one.failed for one in told),
        latency_s=median(latencies) if latencies else None,
    )

"""Documents of Ollama hosts."""

from __future__ import annotations

from typing import Any

from promptmill.domain.hosts.reports import Quarantine
from promptmill.ollama.models import RunningModel
from promptmill.services.hosts import HostSummary


def host_document(host: HostSummary) -> dict[str, Any]:
    """Document of a host."""
    work = host.work
    return {
        "id": host.id,
        "url": host.url,
        "machine": host.machine,
        "enabled": host.enabled,
        "reachable": host.reachable,
        "error": host.error,
        "version": host.version,
        "slots": host.slots,
        "in_flight": host.in_flight,
        "held_by": host.held_by,
        "models": host.models,
        "only_models": None if host.only_models is None else list(host.only_models),
        "loaded_models": None if host.loaded is None else [_loaded(one) for one in host.loaded],
        "loaded_models_age_s": _rounded(host.loaded_age_s, 1),
        "groups": list(host.groups),
        "quarantine": _quarantine(work.aside) if work and work.aside else None,
        "on_trial": work.on_trial if work else None,
        "calls": work.calls if work else None,
        "failed": work.failed if work else None,
        "latency_s": _rounded(work.latency_s, 6) if work else None,
    }


def _loaded(model: RunningModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "size": model.size,
        "size_vram": model.size_vram,
        "context_length": model.context_length,
    }


def _quarantine(aside: Quarantine) -> dict[str, Any]:
    return {
        "next_look_s": _rounded(aside.next_look_s, 1),
        "error_code": aside.error_code.value,
        "reason": aside.reason,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)

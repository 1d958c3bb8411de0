"""Reports: records of a host as a worker sees it, for the other processes on its database.

A worker writes them with its heartbeat and not with every call; a quarantine and its end are
written at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptmill.domain.outcomes import ErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """Quarantine of a host: the reason why a worker sends no work there now."""

    error_code: ErrorCode
    reason: str
    next_look_s: float
    """Seconds until the worker asks the host again; never negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSpeed:
    """The speed of a host with prompts of one model."""

    call_s: float
    """Mean seconds of the last answered calls, without loading the model."""
    age_s: float
    """Seconds since the last of these calls ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """Host as one worker has seen it since the worker's start."""

    url: str
    machine: str | None = None
    """Machine of a loopback address; None: an address of the network."""
    slots: int | None
    """Most calls in flight at the host, by the worker's settings; None: no limit."""
    aside: Quarantine | None
    on_trial: bool
    """Whether the host is half-open: back from quarantine, and no call has succeeded since."""
    calls: int
    failed: int
    """Calls without an answer, except those that failed because of the prompt."""
    latency_s: float | None
    """Median seconds of the last answered calls."""
    paces: Mapping[str, CallSpeed] = field(default_factory=dict[str, CallSpeed])
    """Speeds by the normalised names of the models that the host was recently called for."""

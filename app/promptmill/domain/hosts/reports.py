"""Reports: what a worker has seen of a host, for the other processes of its database.

It is told now and then and not with every call, so it is as old as a heartbeat at most; that a host
was put aside or came back is told at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptmill.domain.outcomes import ErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """The quarantine of a host: why a worker sends no work there for the moment."""

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
    """A host as one worker has seen it since the worker's start."""

    url: str
    machine: str | None = None
    """The machine that the address is of; None: it is of the network."""
    slots: int | None
    """Most calls in flight there, by the worker's settings; None: not limited."""
    aside: Quarantine | None
    on_trial: bool
    """Whether the host is half-open: back from quarantine, and no call has succeeded since."""
    calls: int
    failed: int
    """Calls without an answer for a reason other than the prompt's own."""
    latency_s: float | None
    """Median seconds of the last answered calls."""
    paces: Mapping[str, CallSpeed] = field(default_factory=dict[str, CallSpeed])
    """Speeds by the normalised name of each model that the host was asked for lately."""

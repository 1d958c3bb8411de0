"""What a worker has seen of a host, as it tells the other processes on its database.

It is told now and then and not with every call, so it is as old as a heartbeat at most; that a host
was put aside or came back is told at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from promptmill.domain.outcomes import ErrorCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """Why a worker sends no work to a host for the moment."""

    error_code: ErrorCode
    reason: str
    next_look_s: float
    """Seconds until it is looked at again; never negative."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a host answers prompts of one model."""

    call_s: float
    """Mean seconds of the last calls that gave an answer, without loading the model."""
    age_s: float
    """Seconds since the last of them ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReport:
    """A host as one worker sees it, since that worker's start."""

    url: str
    machine: str | None = None
    """The machine that the address is of; None: it is of the network."""
    slots: int | None
    """Most calls in flight there, by the worker's settings; None: not limited."""
    aside: Aside | None
    on_trial: bool
    """It came back, and no call has gone through since."""
    calls: int
    failed: int
    """Calls that gave no answer, and not for a reason of the prompt's own."""
    latency_s: float | None
    """Median seconds of the last calls that gave an answer."""
    paces: Mapping[str, Pace] = field(default_factory=dict[str, Pace])
    """By the one name of each model that it was asked for lately."""

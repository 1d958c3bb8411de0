"""Models that batches wait for (`auto_pull`): what a pull is, and at which hosts one is to be made.

The rule to know: one host is enough, since work goes where its model is. Only without grouping,
where a prompt may go to any host, all of them need it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_ATTEMPTS: Final = 5
"""So many failed attempts at a host are the end of a pull; a host that is away costs none."""


class PullState(StrEnum):
    """Where a pull is."""

    WAITING = "waiting"
    """It is to begin, or to be tried again."""
    PULLING = "pulling"
    """A worker has the host fetch the model."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """It was tried too often, or there is no such model; then other hosts are asked."""
    CANCELLED = "cancelled"
    """No batch waits for it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a pull has come."""

    detail: str
    """Ollama's own line: `pulling 6a0746a1ec1a`, `verifying sha256 digest`, ..."""
    completed_bytes: int
    total_bytes: int | None
    """Of the layers that Ollama has spoken of so far; None before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A pull as one of the batches that wait for it sees it."""

    model: str
    """As the batch has it."""
    host: str | None
    """None while no host can be chosen."""
    state: PullState
    completed_bytes: int | None = None
    total_bytes: int | None = None
    detail: str | None = None
    error: str | None = None
    """Why the last attempt failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A host as a worker sees it when it decides about pulls."""

    host_key: int
    models: frozenset[str]
    """One names of those that it has and may run; none of a host that is away."""
    is_open: bool
    """Whether it has just told its models and work may go to it, so that it can be given a pull."""
    only: frozenset[str] | None = None
    """One names of the models that it may be asked for; None: all."""

    def may_run(self, model: str) -> bool:
        """Whether the settings let it be asked for that model."""
        return self.only is None or model in self.only


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A pull of the model that the batch waits or has waited for."""

    host_key: int
    is_live: bool


def hosts_to_pull_at(
    model: str,
    sights: Sequence[Sight],
    tried: Sequence[Tried],
    *,
    under_way: Mapping[int, int],
    everywhere: bool,
) -> Sequence[int] | None:
    """Keys of the hosts that are to fetch a model now; none: wait; None: wait for it no more.

    One host, the one with the fewest pulls `under_way`, among equals the first; with `everywhere`
    all that can be reached. Where a pull has failed for good another host is tried.
    """
    allowed = [sight for sight in sights if sight.may_run(model)]
    has_it = any(model in sight.models for sight in allowed)
    if not allowed or (has_it and not everywhere):
        return None
    known = {one.host_key for one in tried}
    lacking = [
        sight.host_key
        for sight in allowed
        if sight.is_open and model not in sight.models and sight.host_key not in known
    ]
    reachable = {sight.host_key for sight in sights if sight.is_open}
    is_live = any(one.is_live for one in tried)
    if everywhere and lacking:
        return lacking
    if any(one.is_live and one.host_key in reachable for one in tried):
        return ()
    if lacking:
        return [min(lacking, key=lambda key: under_way.get(key, 0))]
    if has_it:
        return None
    return () if is_live or not tried else None

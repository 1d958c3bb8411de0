"""Downloads of models that batches wait for (`auto_pull`): states, and choice of hosts.

One host is enough, because prompts go where their model is. Only without grouping, where a prompt
may go to any host, all hosts need the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MOST_ATTEMPTS: Final = 5
"""Failed attempts after which a pull has failed; an unreachable host costs none."""


class PullState(StrEnum):
    """The state of a pull."""

    WAITING = "waiting"
    """The pull has not begun, or waits for another attempt."""
    PULLING = "pulling"
    """A worker has told a host to pull the model."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """The attempts are used up, or the model does not exist; other hosts are tried."""
    CANCELLED = "cancelled"
    """No batch waits for the model any more."""


LIVE_PULL_STATES: Final = frozenset({PullState.WAITING, PullState.PULLING})
"""Pulls that have not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a pull."""

    detail: str
    """Ollama's own line: `pulling 6a0746a1ec1a`, `verifying sha256 digest`, ..."""
    completed_bytes: int
    total_bytes: int | None
    """The size of all layers that Ollama has named so far; None before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """Pull as a waiting batch sees it."""

    model: str
    """The model's name as the batch writes it."""
    host: str | None
    """The address of the host; None while no host can be chosen."""
    state: PullState
    completed_bytes: int | None = None
    total_bytes: int | None = None
    detail: str | None = None
    error: str | None = None
    """The error of the last attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Host as a worker sees it when it decides about pulls."""

    host_key: int
    models: frozenset[str]
    """Normalised names of the models that the host has and may run; empty if unreachable."""
    is_open: bool
    """Whether the host has just listed its models and takes work, so that it may pull."""
    only: frozenset[str] | None = None
    """Normalised names of the models that the settings allow at the host; None: all."""

    def may_run(self, model: str) -> bool:
        """Whether the settings allow the model at the host."""
        return self.only is None or model in self.only


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Pull that the batch waits or waited for."""

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
    """Choose the hosts that pull a model now; empty: wait; None: no host can have the model.

    One host is chosen: that with the fewest pulls `under_way`, the first of equals; with
    `everywhere` all reachable hosts. After a final failure another host is tried.
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

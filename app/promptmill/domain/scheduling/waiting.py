"""Reason why a batch does not advance, derived from the stored state of hosts and workers.

A pure decision, made when a client asks: no state is maintained, and a batch that advances costs
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from promptmill.domain.batches import Batch, WaitingFor, WaitingReason
from promptmill.domain.hosts.reports import Quarantine
from promptmill.domain.lifecycle import JobState
from promptmill.domain.outcomes import ErrorCode

QUIET_MS: Final = 1_000
"""Milliseconds after its last claim for which a batch counts as advancing."""
_LONG_MS: Final = 5_000
"""Milliseconds without a start after which one quarantined host suffices as the reason.
"""
_REASON_OF: Final = {
    ErrorCode.HOST_UNREACHABLE: WaitingReason.HOST_UNREACHABLE,
    ErrorCode.HOST_REFUSED: WaitingReason.HOST_REFUSES,
    ErrorCode.SERVER_BUSY: WaitingReason.HOST_BUSY,
}
_BLOCKED: Final = frozenset(
    {
        WaitingReason.WORKERS_MISSING,
        WaitingReason.MODEL_MISSING,
        WaitingReason.BENCHMARK,
        WaitingReason.HOST_DISABLED,
        WaitingReason.HOST_UNREACHABLE,
        WaitingReason.HOST_REFUSES,
        WaitingReason.HOST_BUSY,
        WaitingReason.HOST_FAILS,
        WaitingReason.USAGE_LIMIT,
        WaitingReason.PAUSED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingHost:
    """Host to which living workers send work."""

    key: int
    url: str
    aside: Quarantine | None
    """Quarantine of the host; None as long as one worker sends work there."""
    held_by: str | None
    """Id of the benchmark that has the host to itself."""
    enabled: bool
    """Whether the host is in service."""
    is_working: bool
    """Whether the host runs a prompt of any batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingLimit:
    """Usage limit in force."""

    until_ms: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingJob:
    """Batch without running prompts: the part of its state that explains its waiting."""

    load_groups: frozenset[int]
    """Load groups of its remaining prompts."""
    due_at_ms: int | None
    """Moment at which the first remaining prompt may be tried; None: no prompt remains."""
    next_start_at_ms: int
    last_claimed_at_ms: int
    awaits_models: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """State of hosts and workers that concerns all batches, at one moment."""

    has_workers: bool = True
    hosts: Sequence[StandingHost] = ()
    limits: Mapping[tuple[int, int], StandingLimit] = field(
        default_factory=dict[tuple[int, int], StandingLimit]
    )
    """Usage limits by the keys of host and group."""
    jobs: Mapping[int, StandingJob] = field(default_factory=dict[int, StandingJob])


def may_wait(batch: Batch) -> bool:
    """Whether the batch is in a state in which `waiting_for` may find a reason."""
    is_open = batch.state in {JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}
    return is_open and batch.counts.pending > 0 and batch.counts.running == 0


def is_blocked(waiting: WaitingFor | None) -> bool:
    """Whether a batch does not advance at all, so that its end cannot be estimated."""
    return waiting is not None and waiting.reason in _BLOCKED


def waiting_for(batch: Batch, standing: Standing) -> WaitingFor | None:
    """Find the reason why a batch does not advance; None while it advances."""
    job = standing.jobs.get(batch.key)
    if job is None or not may_wait(batch):
        return None
    if batch.state is JobState.PAUSED:
        return WaitingFor(WaitingReason.PAUSED, "The batch is paused until it is resumed.")
    quiet_ms = batch.read_at_ms - max(job.last_claimed_at_ms, batch.created_at_ms)
    if not standing.has_workers:
        if quiet_ms < QUIET_MS:
            return None
        return WaitingFor(
            WaitingReason.WORKERS_MISSING,
            "No worker is alive; `promptmill serve` or `promptmill worker` starts one.",
        )
    if job.awaits_models:
        return WaitingFor(WaitingReason.MODEL_MISSING, _of_models(batch))
    return _of_hosts(batch, job, standing, quiet_ms)


def _of_models(batch: Batch) -> str:
    names = sorted(
        {pull.model for pull in batch.pulls if pull.state.value in {"waiting", "pulling"}}
    )
    told = ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")  # noqa: PLR2004
    return f"No host has {told or batch.model} yet; `pulls` tells how far the download is."


def _of_hosts(
    batch: Batch, job: StandingJob, standing: Standing, quiet_ms: int
) -> WaitingFor | None:
    now_ms = batch.read_at_ms
    reasons = {host.key: _of_host(host, job, standing, now_ms) for host in standing.hosts}
    against = [reason for reason in reasons.values() if reason is not None]
    # Of several reasons the one that ends first, after which the batch goes on.
    soonest = min(against, key=lambda one: one.until_ms or (1 << 62), default=None)
    if soonest is not None and len(against) == len(reasons):
        return soonest
    if quiet_ms < QUIET_MS:
        return None
    if job.next_start_at_ms > now_ms + QUIET_MS:
        delay_s = batch.limits.rate_limit_delay_s
        return WaitingFor(
            WaitingReason.START_LIMIT,
            f"A prompt starts every {delay_s:g} s (rate_limit_delay).",
            until_ms=job.next_start_at_ms,
        )
    if job.due_at_ms is not None and job.due_at_ms > now_ms:
        return WaitingFor(
            WaitingReason.NEXT_ATTEMPT,
            "The remaining prompts have failed, and wait for another attempt.",
            until_ms=job.due_at_ms,
        )
    busy = [host for host in standing.hosts if reasons[host.key] is None and host.is_working]
    if busy:
        return WaitingFor(
            WaitingReason.OTHER_BATCHES,
            f"{busy[0].url} works on other batches first.",
            host=busy[0].url,
        )
    return soonest if quiet_ms >= _LONG_MS else None


def _of_host(
    host: StandingHost, job: StandingJob, standing: Standing, now_ms: int
) -> WaitingFor | None:
    """Find the reason why a host starts no prompt of the batch."""
    if not host.enabled:
        message = f"{host.url} is out of service until it is put back."
        return WaitingFor(WaitingReason.HOST_DISABLED, message, host=host.url)
    if host.aside is not None:
        reason = _REASON_OF.get(host.aside.error_code, WaitingReason.HOST_FAILS)
        until_ms = now_ms + round(host.aside.next_look_s * 1000)
        return WaitingFor(reason, host.aside.reason, until_ms=until_ms, host=host.url)
    if host.held_by is not None:
        message = f"The benchmark {host.held_by} has {host.url} to itself."
        return WaitingFor(WaitingReason.BENCHMARK, message, host=host.url)
    limits = [standing.limits.get((host.key, group)) for group in job.load_groups]
    standing_limits = [limit for limit in limits if limit is not None]
    if not limits or len(standing_limits) < len(limits):
        return None
    first = min(standing_limits, key=lambda one: one.until_ms)
    return WaitingFor(
        WaitingReason.USAGE_LIMIT, first.error, until_ms=first.until_ms, host=host.url
    )

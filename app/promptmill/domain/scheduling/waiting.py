"""Why a batch does not advance: a sentence out of what the database knows of hosts and workers.

A pure decision. It is made when somebody asks, so nothing has to be kept up to date, and a batch
that advances costs nothing.
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
"""A batch that was given something so lately advances: between two prompts nothing of it runs."""
_LONG_MS: Final = 5_000
"""After so long without a start a host that is set aside is the reason although another is not."""
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
    """A host to which living workers send work."""

    key: int
    url: str
    aside: Quarantine | None
    """Why no worker sends work there; None as long as one does."""
    held_by: str | None
    """Id of the benchmark that has it to itself."""
    enabled: bool
    """Whether it is in service."""
    is_working: bool
    """Whether a prompt of any batch runs there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingLimit:
    """A usage limit that stands."""

    until_ms: int
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingJob:
    """A batch of which nothing runs, as far as its waiting depends on it alone."""

    load_groups: frozenset[int]
    """Groups of its prompts that are left."""
    due_at_ms: int | None
    """When the first of these prompts may be tried; None: none is left."""
    next_start_at_ms: int
    last_claimed_at_ms: int
    awaits_models: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What all batches wait for alike, at one moment."""

    has_workers: bool = True
    hosts: Sequence[StandingHost] = ()
    limits: Mapping[tuple[int, int], StandingLimit] = field(
        default_factory=dict[tuple[int, int], StandingLimit]
    )
    """By the keys of host and group."""
    jobs: Mapping[int, StandingJob] = field(default_factory=dict[int, StandingJob])


def may_wait(batch: Batch) -> bool:
    """Whether `waiting_for` may have something to say about the batch."""
    is_open = batch.state in {JobState.QUEUED, JobState.RUNNING, JobState.PAUSED}
    return is_open and batch.counts.pending > 0 and batch.counts.running == 0


def is_blocked(waiting: WaitingFor | None) -> bool:
    """Whether a batch does not advance at all, so that nobody can tell when it will end."""
    return waiting is not None and waiting.reason in _BLOCKED


def waiting_for(batch: Batch, standing: Standing) -> WaitingFor | None:
    """What the batch waits for; None while it advances."""
    job = standing.jobs.get(batch.key)
    if job is None or not may_wait(batch):
        return None
    if batch.state is JobState.PAUSED:
        return WaitingFor(WaitingReason.PAUSED, "The batch is paused until somebody resumes it.")
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
    # Of several the one that ends first: then the batch goes on.
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
            "The prompts that are left have failed, and wait to be tried again.",
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
    """Why a host starts nothing of the batch."""
    if not host.enabled:
        message = f"{host.url} is out of service until somebody puts it back."
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

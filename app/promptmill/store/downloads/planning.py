"""The plan of downloads: which batches wait for models, what is pulled, which may start.

    note_models, await_again    the job waits: none of its prompts is claimed
    plan                        pulls are asked for, and jobs that wait for nothing more let go

The rules to know:
- `job.awaits_models` is a condition of the claim; it is cleared in the commit that has found every
  model of the job at a host, or its pulls failed for good.
- What a worker has seen of the hosts is older than its transaction. So it says since when it has
  looked, and what was pulled after that counts as seen.
- Plans are made one at a time, or two workers would choose two hosts for one model.
- The waiting is the job's, a pull is nobody's: it ends when no live job waits for its model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from promptmill.domain.batches import PromptDraft
from promptmill.domain.lifecycle import TERMINAL_JOB_STATES, JobState
from promptmill.domain.model_names import normalise_model
from promptmill.domain.scheduling.downloads import Pull, PullState, Sight, Tried, hosts_to_pull_at
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import NO_LEASE, is_live
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import host, job
from promptmill.store.db.tables.downloads import job_model, job_pull, pull
from promptmill.store.downloads import pulls
from promptmill.store.downloads.pulls import PullLease
from promptmill.store.hosts import model_switching

_AWAITS = sa.and_(is_live(job), ~is_in(job.c.state, [JobState.CANCELLING]), job.c.awaits_models)
_ONE_AT_A_TIME = sa.text("SELECT pg_advisory_xact_lock(7305806)")


# --- of jobs -----------------------------------------------------------------------------------


def note_models(tx: Transaction, job_key: int, prompts: Sequence[PromptDraft]) -> None:
    """Make a job with `auto_pull` wait for the models of further prompts."""
    usual = tx.execute(sa.select(job.c.model).where(job.c.key == job_key, job.c.auto_pull)).scalar()
    if usual is None:
        return
    own = {draft.overrides.get("model") if draft.overrides else None for draft in prompts}
    names = {normalise_model(name): name for name in (one or usual for one in own)}
    known = set(
        tx.execute(sa.select(job_model.c.model).where(job_model.c.job_key == job_key)).scalars()
    )
    new = [
        {"job_key": job_key, "model": model, "name": name, "awaited": True}
        for model, name in names.items()
        if model not in known
    ]
    if new:
        tx.execute(sa.insert(job_model), new)


def await_again(tx: Transaction, job_key: int) -> None:
    """Make a job with `auto_pull` wait again, before a retry of its prompts.

    Pulls that have ended no longer count, so that a failed one is tried again.
    """
    awaits = sa.update(job).where(job.c.key == job_key, job.c.auto_pull)
    if tx.execute(awaits.values(awaits_models=True)).rowcount:
        tx.execute(sa.update(job_model).where(job_model.c.job_key == job_key).values(awaited=True))
        live = sa.select(pull.c.key).where(pulls.LIVE)
        tx.execute(
            sa.delete(job_pull).where(
                job_pull.c.job_key == job_key, job_pull.c.pull_key.not_in(live)
            )
        )


def forget(tx: Transaction, job_key: int) -> None:
    """Remove the rows of a deleted job, and pulls that no other job refers to."""
    for of_job in (job_model, job_pull):
        tx.execute(sa.delete(of_job).where(of_job.c.job_key == job_key))
    tx.execute(
        sa.delete(pull).where(
            sa.not_(pulls.LIVE), pull.c.key.not_in(sa.select(job_pull.c.pull_key))
        )
    )


def pulls_of(tx: Transaction, jobs: Iterable[sa.Row[Any]]) -> Mapping[int, tuple[Pull, ...]]:
    """The pulls of each job with `auto_pull`, and its models without a chosen host.

    The rows have the columns of `job`.
    """
    asked = {row.key: row for row in jobs if row.auto_pull}
    if not asked:
        return {}
    rows = tx.execute(
        sa.select(
            job_model.c.job_key,
            job_model.c.name.label("as_written"),
            job_model.c.awaited,
            host.c.url,
            pull,
        )
        .select_from(job_model)
        .outerjoin(
            sa.join(job_pull, pull, job_pull.c.pull_key == pull.c.key),
            sa.and_(job_pull.c.job_key == job_model.c.job_key, pull.c.model == job_model.c.model),
        )
        .outerjoin(host, host.c.key == pull.c.host_key)
        .where(job_model.c.job_key.in_(asked))
        .order_by(job_model.c.job_key, job_model.c.model, pull.c.key)
    )
    found: dict[int, list[Pull]] = {}
    for row in rows:
        if row.url is not None:
            found.setdefault(row.job_key, []).append(_pull(row))
        elif row.awaited and asked[row.job_key].state not in TERMINAL_JOB_STATES:
            nowhere = Pull(model=row.as_written, host=None, state=PullState.WAITING)
            found.setdefault(row.job_key, []).append(nowhere)
    return {key: tuple(some) for key, some in found.items()}


def _pull(row: sa.Row[Any]) -> Pull:
    return Pull(
        model=row.as_written,
        host=row.url,
        state=row.state,
        completed_bytes=row.completed_bytes,
        total_bytes=row.total_bytes,
        detail=row.detail,
        error=row.error,
    )


# --- plans -------------------------------------------------------------------------------------


def looked_at_ms(tx: Transaction) -> int | None:
    """Moment by the database's clock; None if no job waits and no pull is live."""
    awaits = sa.exists().select_from(job).where(_AWAITS)
    live = sa.exists().select_from(pull).where(pulls.LIVE)
    return tx.now_ms() if tx.execute(sa.select(sa.or_(awaits, live))).scalar() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Result of planning."""

    released: int
    """Number of jobs whose models are all available."""
    leases: Sequence[PullLease]
    """Pulls that the caller has leased."""


def plan(
    tx: Transaction,
    sights: Sequence[Sight],
    *,
    since_ms: int,
    everywhere: bool,
    owner: str,
    lease_ms: int,
) -> Plan:
    """Request the pulls that jobs need, lease the due ones, release jobs that may start.

    Args:
        tx: Transaction; plans are made one at a time.
        sights: Hosts in the order of the settings, as seen since `since_ms`.
        since_ms: Earlier result of `looked_at_ms`.
        everywhere: Whether every host needs a model, as without grouping.
        owner: Id of the worker that leases the pulls.
        lease_ms: Length of the leases.
    """
    if not tx.is_sqlite:
        tx.execute(_ONE_AT_A_TIME)
    _cancel_unawaited(tx)
    seen = _with_pulled_since(tx, sights, since_ms)
    released = _let_go(tx, _settled(tx, seen, everywhere=everywhere), seen)
    reachable = [sight.host_key for sight in seen if sight.is_open]
    leases = pulls.take_up(tx, owner=owner, lease_ms=lease_ms, host_keys=reachable)
    return Plan(released=released, leases=leases)


def _cancel_unawaited(tx: Transaction) -> None:
    """End pulls that no live job waits for; a worker that makes one loses its lease."""
    awaited = (
        sa.select(job_model.c.model)
        .join(job, job.c.key == job_model.c.job_key)
        .where(_AWAITS, job_model.c.awaited)
    )
    tx.execute(
        sa.update(pull)
        .where(pulls.LIVE, pull.c.model.not_in(awaited))
        .values(state=PullState.CANCELLED, finished_at_ms=tx.now_ms(), **NO_LEASE)
    )


def _with_pulled_since(tx: Transaction, sights: Sequence[Sight], since_ms: int) -> list[Sight]:
    rows = tx.execute(
        sa.select(pull.c.host_key, pull.c.model).where(
            pull.c.state == PullState.SUCCEEDED, pull.c.finished_at_ms >= since_ms
        )
    )
    pulled: dict[int, set[str]] = {}
    for row in rows:
        pulled.setdefault(row.host_key, set()).add(row.model)
    return [
        replace(sight, models=sight.models | pulled.get(sight.host_key, set())) for sight in sights
    ]


def _settled(
    tx: Transaction, sights: Sequence[Sight], *, everywhere: bool
) -> list[tuple[int, str]]:
    """Pairs (job, model) that need no more waiting; for the others pulls are requested."""
    standing = sa.select(pull.c.key, pull.c.host_key, pull.c.model).where(pulls.LIVE)
    live = {(row.host_key, row.model): row.key for row in tx.execute(standing)}
    tried = _tried(tx)
    settled: list[tuple[int, str]] = []
    for row in tx.execute(
        sa.select(job_model.c.job_key, job_model.c.model, job_model.c.name)
        .join(job, job.c.key == job_model.c.job_key)
        .where(_AWAITS, job_model.c.awaited)
        .order_by(job_model.c.job_key, job_model.c.model)
    ).all():
        own = tried.get((row.job_key, row.model), {})
        # This job joins the pulls that other jobs wait for.
        for (host_key, model), key in live.items():
            if model == row.model and key not in own:
                own[key] = Tried(host_key=host_key, is_live=True)
                _link(tx, row.job_key, key)
        under_way = Counter(host_key for host_key, _ in live)
        hosts = hosts_to_pull_at(
            row.model, sights, list(own.values()), under_way=under_way, everywhere=everywhere
        )
        if hosts is None:
            settled.append((row.job_key, row.model))
            continue
        for host_key in hosts:
            key = pulls.ask(tx, host_key=host_key, model=row.model, name=row.name)
            live[host_key, row.model] = key
            _link(tx, row.job_key, key)
    return settled


def _tried(tx: Transaction) -> dict[tuple[int, str], dict[int, Tried]]:
    """Pulls of each (job, model) that is waited for, by key, without cancelled ones."""
    rows = tx.execute(
        sa.select(job_pull.c.job_key, pull)
        .join(pull, pull.c.key == job_pull.c.pull_key)
        .join(job, job.c.key == job_pull.c.job_key)
        .where(_AWAITS, pull.c.state != PullState.CANCELLED)
    )
    found: dict[tuple[int, str], dict[int, Tried]] = {}
    for row in rows:
        found.setdefault((row.job_key, row.model), {})[row.key] = Tried(
            host_key=row.host_key, is_live=row.state in {PullState.WAITING, PullState.PULLING}
        )
    return found


def _link(tx: Transaction, job_key: int, pull_key: int) -> None:
    tx.execute(sa.insert(job_pull).values(job_key=job_key, pull_key=pull_key))


def _let_go(tx: Transaction, settled: Sequence[tuple[int, str]], sights: Sequence[Sight]) -> int:
    """Release jobs that wait for no model any more; return their number."""
    if not settled:
        return 0
    for job_key, model in settled:
        tx.execute(
            sa.update(job_model)
            .where(job_model.c.job_key == job_key, job_model.c.model == model)
            .values(awaited=False)
        )
    waits = sa.exists().where(job_model.c.job_key == job.c.key, job_model.c.awaited)
    keys = sorted({job_key for job_key, _ in settled})
    released = tx.execute(
        sa.update(job)
        .where(job.c.key.in_(keys), job.c.awaits_models, ~waits)
        .values(awaits_models=False)
    ).rowcount
    # In the same commit, so that no host starts prompts that only another can run.
    models = {model for _, model in settled}
    found = {model for sight in sights for model in sight.models if model in models}
    for sight in sights:
        if missing := found - sight.models:
            model_switching.let_go(tx, sight.host_key, missing)
    return released

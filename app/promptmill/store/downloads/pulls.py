"""The lease of a pull: taken, progress stored, ended.

The rules to know:
- One worker reads a pull's stream. Its lease's token guards every write, so one that was paused
  beyond its lease changes nothing any more and stops reading.
- When a worker dies, another takes the pull up. Ollama goes on with what it has on its disk: see
  `blobDownload.Prepare` in its server/download.go, which reads the parts that are there. It stops
  when nobody reads the stream any more (`Wait` and `release`, there as well).
- Which jobs wait for a pull, and where it is made, is in `planning`.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from promptmill.domain.scheduling.downloads import (
    LIVE_PULL_STATES,
    MOST_ATTEMPTS,
    Progress,
    PullState,
)
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import NO_LEASE, is_unleased
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import host
from promptmill.store.db.tables.downloads import pull

LIVE: Final = is_in(pull.c.state, LIVE_PULL_STATES)
"""Condition that a pull has not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PullLease:
    """Right to have one host pull one model."""

    key: int
    token: int
    host_key: int
    model: str
    """The normalised name of the model."""
    name: str
    """The name that is sent to Ollama."""
    failures: int
    """Attempts that failed before this one."""


def ask(tx: Transaction, *, host_key: int, model: str, name: str) -> int:
    """Request a pull of a model at a host; return the pull's key."""
    statement = sa.insert(pull).values(
        host_key=host_key,
        model=model,
        name=name,
        state=PullState.WAITING,
        failures=0,
        available_at_ms=tx.now_ms(),
    )
    return int(tx.execute(statement.returning(pull.c.key)).scalar_one())


def take_up(
    tx: Transaction, *, owner: str, lease_ms: int, host_keys: Collection[int]
) -> Sequence[PullLease]:
    """Lease every due pull at these hosts that no worker has.

    Hosts that a benchmark has to itself are left out. A benchmark that takes the host at this
    moment waits for the commit, and then sees the pulls (`exclusivity.is_quiet`).
    """
    not_held = (
        sa.select(host.c.key)
        .where(host.c.key.in_(host_keys), host.c.held_by.is_(None), host.c.closed_at_ms.is_(None))
        .order_by(host.c.key)
        .with_for_update(read=True)
    )
    now = tx.now_ms()
    due = sa.and_(
        LIVE,
        pull.c.host_key.in_(tx.execute(not_held).scalars().all()),
        pull.c.available_at_ms <= now,
        is_unleased(pull),
    )
    # One token for all is enough: it only has to differ from those of other leases.
    token = secrets.randbits(63)
    rows = tx.execute(
        sa.update(pull)
        .where(due)
        .values(
            state=PullState.PULLING,
            lease_token=token,
            lease_owner=owner,
            lease_until_ms=now + lease_ms,
        )
        .returning(pull.c.key, pull.c.host_key, pull.c.model, pull.c.name, pull.c.failures),
        {"now": now},
    ).all()
    return [
        PullLease(
            key=row.key,
            token=token,
            host_key=row.host_key,
            model=row.model,
            name=row.name,
            failures=row.failures,
        )
        for row in sorted(rows, key=lambda row: row.key)
    ]


def _update(tx: Transaction, lease: PullLease, **values: object) -> bool:
    mine = sa.and_(pull.c.key == lease.key, pull.c.lease_token == lease.token)
    return bool(tx.execute(sa.update(pull).where(mine).values(**values)).rowcount)


def report(tx: Transaction, lease: PullLease, progress: Progress | None, *, lease_ms: int) -> bool:
    """Renew the lease and store the progress.

    False if the lease was lost: another worker has it, or no batch waits for the pull.
    """
    told = {} if progress is None else _columns(progress)
    return _update(tx, lease, lease_until_ms=tx.now_ms() + lease_ms, **told)


def _columns(progress: Progress) -> dict[str, object]:
    return {
        "detail": progress.detail,
        "completed_bytes": progress.completed_bytes,
        "total_bytes": progress.total_bytes,
    }


def succeed(tx: Transaction, lease: PullLease, progress: Progress | None) -> bool:
    """End a successful pull; False if the lease was lost."""
    told = {} if progress is None else _columns(progress)
    return _update(
        tx,
        lease,
        state=PullState.SUCCEEDED,
        error=None,
        finished_at_ms=tx.now_ms(),
        **told,
        **NO_LEASE,
    )


def fail(
    tx: Transaction,
    lease: PullLease,
    error: str,
    *,
    wait_s: float,
    is_charged: bool = True,
    is_final: bool = False,
) -> bool:
    """Record a failed attempt: the pull is tried again after `wait_s`, or has failed.

    It has failed with its last charged attempt, or if further attempts would not help (`is_final`).
    False if the lease was lost.
    """
    now = tx.now_ms()
    failures = lease.failures + is_charged
    is_final = is_final or failures >= MOST_ATTEMPTS
    return _update(
        tx,
        lease,
        state=PullState.FAILED if is_final else PullState.WAITING,
        error=error,
        failures=failures,
        available_at_ms=now + int(wait_s * 1000),
        finished_at_ms=now if is_final else None,
        **NO_LEASE,
    )


def give_back(tx: Transaction, lease: PullLease) -> None:
    """Return the pull for another worker."""
    _update(tx, lease, state=PullState.WAITING, **NO_LEASE)


def take_all_back(tx: Transaction) -> None:
    """Return all leased pulls, at the start of a database's only worker."""
    tx.execute(
        sa.update(pull)
        .where(LIVE, pull.c.lease_token.is_not(None))
        .values(state=PullState.WAITING, **NO_LEASE)
    )

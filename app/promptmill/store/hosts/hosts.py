"""Ollama hosts in the database: registration, use, and taking them out of service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import RUNNING
from promptmill.store.db.tables.batches import host, task
from promptmill.store.db.tables.benchmarks import benchmark


@dataclass(frozen=True, slots=True, kw_only=True)
class HostUse:
    """The use of a host by all workers."""

    key: int
    url: str
    machine: str | None
    in_flight: int
    """Running prompts of batches at the host, over all workers; not a benchmark's requests."""
    held_by: str | None
    """Id of the benchmark that holds the host exclusively."""
    enabled: bool
    """Whether the host is in service; while False no prompts start there."""


def register_host(tx: Transaction, url: str, machine: str | None = None) -> int:
    """Find or create the row of a host, and return its key.

    `machine` is the machine of a loopback address, None for an address of the network. A SQLite
    file has workers on one machine only, whatever its current identity: there the address is
    enough, and the row takes on the identity.
    """
    known = sa.select(host.c.key, host.c.machine).where(host.c.url == url)
    if not tx.is_sqlite:
        known = known.where(host.c.machine == (machine or ""))
    row = tx.execute(known).first()
    if row is None:
        statement = sa.insert(host).values(url=url, machine=machine or "").returning(host.c.key)
        return int(tx.execute(statement).scalar_one())
    if row.machine != (machine or ""):
        tx.execute(sa.update(host).where(host.c.key == row.key).values(machine=machine or ""))
    return int(row.key)


_IN_FLIGHT = (
    sa.select(task.c.host_key, sa.func.count().label("prompts"))
    # The state is a literal, so that the partial index is used.
    .where(RUNNING)
    .group_by(task.c.host_key)
    .cte("in_flight")
)
_HOSTS = (
    sa.select(
        host.c.key,
        host.c.url,
        host.c.machine,
        host.c.closed_at_ms,
        sa.func.coalesce(_IN_FLIGHT.c.prompts, 0).label("in_flight"),
        benchmark.c.id.label("held_by"),
    )
    .outerjoin(_IN_FLIGHT, _IN_FLIGHT.c.host_key == host.c.key)
    .outerjoin(benchmark, benchmark.c.key == host.c.held_by)
    .order_by(host.c.key)
)


def list_hosts(tx: Transaction) -> Sequence[HostUse]:
    """List every host that a worker has registered, in the order of registration."""
    return [
        HostUse(
            key=row.key,
            url=row.url,
            machine=row.machine or None,
            in_flight=row.in_flight,
            held_by=row.held_by,
            enabled=row.closed_at_ms is None,
        )
        for row in tx.execute(_HOSTS)
    ]


def set_enabled(tx: Transaction, key: int, *, enabled: bool) -> bool:
    """Put a host into service, or take it out; return whether that changed anything."""
    changed = sa.update(host).where(
        host.c.key == key,
        host.c.closed_at_ms.is_not(None) if enabled else host.c.closed_at_ms.is_(None),
    )
    closed_at_ms = None if enabled else tx.now_ms()
    return bool(tx.execute(changed.values(closed_at_ms=closed_at_ms)).rowcount)

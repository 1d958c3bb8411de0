"""Online calls among the prompts of batches: each is a task, and counts against the host's slots.

    ask      a ticket: a task that runs and was never attempted
    start    the ticket becomes a call, when the host has a slot for it
    leave    it is gone

The rules to know:
- A ticket counts as a call wherever slots are counted for batches. So the next slot that becomes
  free is left to it, and batches never have more than the others.
- A ticket may start when calls that were begun, and tickets that were there before, leave a slot.
  It is counted under the host's lock, which is waited for.
- Its job is never seen nor claimed, because it is `receiving` for ever. What a process leaves that
  dies is taken back by the rescuer, and removed like an upload that was given up.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.store.batches import jobs
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import RUNNING
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import host, job, job_stats, prompt, prompt_id, task
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import completions

_AT_HOST = sa.and_(task.c.host_key == sa.bindparam("host_key"), RUNNING)
_BEFORE = (
    sa.select(sa.func.count())
    .select_from(task)
    .where(_AT_HOST, sa.or_(task.c.attempt > 0, task.c.id < sa.bindparam("own")))
)
_IS_OPEN = sa.select(host.c.key).where(
    host.c.key == sa.bindparam("host_key"), host.c.held_by.is_(None), host.c.closed_at_ms.is_(None)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Online call that waits for a slot of a host, or has one."""

    job_key: int
    task_id: int
    token: int
    owner: str
    host_key: int
    slots: int | None
    """Most calls at the host; None: no limit."""


def ask(
    tx: Transaction,
    *,
    url: str,
    machine: str | None,
    slots: int | None,
    model: str,
    job_id: str,
    owner: str,
    lease_ms: int,
    key_id: str | None = None,
) -> Ticket | None:
    """Insert a ticket for a call at the host of that address; None while the host is closed.

    A host is closed by a benchmark that has it to itself, or if it is out of service. `machine` is
    the machine of a loopback address; None for an address of the network.
    """
    host_key = register_host(tx, url, machine)
    if tx.execute(_IS_OPEN, {"host_key": host_key}).first() is None:
        return None
    draft = BatchDraft(prompts=(), model=model, key_id=key_id)
    job_key = jobs.insert_row(tx, draft, batch_id=job_id, state=JobState.RECEIVING, total=1)
    now = tx.now_ms()
    tx.execute(sa.update(job).where(job.c.key == job_key).values(kind="online", received_at_ms=now))
    task_id, token = prompt_id(job_key, 0), secrets.randbits(63)
    # The prompt itself is not stored; the row lets the purger find the task.
    tx.execute(sa.insert(prompt).values(id=task_id, text=""))
    tx.execute(
        sa.insert(task).values(
            id=task_id,
            job_key=job_key,
            state=TaskState.RUNNING,
            attempt=0,
            losses=0,
            available_at_ms=0,
            group_key=0,
            lease_token=token,
            lease_owner=owner,
            lease_until_ms=now + lease_ms,
            host_key=host_key,
        )
    )
    return Ticket(
        job_key=job_key,
        task_id=task_id,
        token=token,
        owner=owner,
        host_key=host_key,
        slots=slots,
    )


def calls_of_key(tx: Transaction, key_id: str | None) -> int:
    """Number of online calls of an API key that wait or run, in all processes."""
    statement = (
        sa.select(sa.func.count())
        .select_from(job)
        .where(
            is_in(job.c.state, [JobState.RECEIVING]), job.c.kind == "online", job.c.key_id == key_id
        )
    )
    return int(tx.execute(statement).scalar_one())


def may_start(tx: Transaction, ticket: Ticket) -> bool | None:
    """Whether the host has a slot for the call, read without a lock.

    None if a benchmark has taken the host; it waits until no ticket is left there.
    """
    if tx.execute(_IS_OPEN, {"host_key": ticket.host_key}).first() is None:
        return None
    if ticket.slots is None:
        return True
    before = tx.execute(_BEFORE, {"host_key": ticket.host_key, "own": ticket.task_id})
    return before.scalar_one() < ticket.slots


def start(tx: Transaction, ticket: Ticket) -> bool:
    """Take the slot, if there still is one."""
    lock = sa.select(host.c.key).where(host.c.key == ticket.host_key).with_for_update()
    tx.execute(lock)
    # A separate statement sees what earlier holders of the lock have committed.
    if not may_start(tx, ticket):
        return False
    mine = sa.and_(task.c.id == ticket.task_id, task.c.lease_token == ticket.token)
    return bool(tx.execute(sa.update(task).where(mine).values(attempt=1)).rowcount)


def keep(tx: Transaction, ticket: Ticket, *, lease_ms: int) -> bool:
    """Renew the call's lease; False if it is lost."""
    held = completions.renew(tx, owner=ticket.owner, task_ids=[ticket.task_id], lease_ms=lease_ms)
    return (ticket.task_id, ticket.token) in held


def leave(tx: Transaction, ticket: Ticket) -> None:
    """Remove the call, which frees its slot."""
    for table in (task, prompt):
        tx.execute(sa.delete(table).where(table.c.id == ticket.task_id))
    tx.execute(sa.delete(job_stats).where(job_stats.c.job_key == ticket.job_key))
    tx.execute(sa.delete(job).where(job.c.key == ticket.job_key))

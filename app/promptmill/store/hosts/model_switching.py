"""Model switching: which load groups hosts run, and how they switch by draining.

The rules to know:
- Only prompts of the groups that a host runs (`host_group`) are claimed there.
- A host takes up another group only when nothing runs there any more: it is told to switch (then no
  claim finds a group there), drains, and then runs the new one. Both halves are transactions of
  their own, so whoever comes first may do the second.
- Between the halves a claim may be open that read the host before; the second half waits for it
(`exclusivity`). Locks are taken in the order jobs, host.
- Of several workers that look at a host at once, one changes what it runs: the host's row is locked
  before its groups are read for good.
- A group whose model the host has in memory already is taken up beside the others, undrained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import sqlalchemy as sa

from promptmill.domain.scheduling.load_groups import (
    ANY_GROUP,
    Waiting,
    best_of,
    has_load_options,
    model_of,
)
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import PENDING, is_going
from promptmill.store.db.tables.batches import host, host_group, job, job_group, model_group, task
from promptmill.store.hosts import usage_limits
from promptmill.store.hosts.exclusivity import running_at, wait_for_claims

_SHORT_TURN = 4
"""The factor by which a turn is shorter while a group of higher priority waits."""

# A sub-select, because PostgreSQL turns EXISTS into a join that reads the whole table. Ordered as
# the index is: otherwise PostgreSQL scans the table for a first match.
HAS_WORK = (
    sa.select(sa.literal(1))
    .where(
        task.c.job_key == job.c.key,
        task.c.group_key == job_group.c.group_key,
        PENDING,
        task.c.available_at_ms <= sa.bindparam("now"),
    )
    .order_by(task.c.available_at_ms, task.c.id)
    .limit(1)
    .scalar_subquery()
    .is_not(None)
)
"""Condition that a job's group has pending prompts that are due."""


def _anything(model: str) -> bool:
    del model
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A worker's view of a host, for the decision what the host runs next."""

    key: int
    loaded: frozenset[str] = frozenset()
    """Normalised names of the models that the host has loaded."""
    can_run: Callable[[str], bool] = _anything
    """Whether the host may have a model."""
    turn_ms: int = 120_000
    """Milliseconds that a group may run while others wait."""


_WAITING = (
    sa.select(
        job_group.c.load_key,
        model_group.c.name,
        sa.func.max(job.c.priority).label("priority"),
        sa.func.min(
            sa.case(
                (job.c.last_claimed_at_ms > 0, job.c.last_claimed_at_ms),
                else_=job.c.created_at_ms,
            )
        ).label("waits_since_ms"),
        sa.exists()
        .where(
            host_group.c.group_key == job_group.c.load_key,
            host_group.c.host_key != sa.bindparam("at_host"),
        )
        .label("elsewhere"),
    )
    .select_from(job)
    .join(job_group, job_group.c.job_key == job.c.key)
    .join(model_group, model_group.c.key == job_group.c.load_key)
    .where(
        is_going(job),
        sa.or_(job.c.expires_at_ms.is_(None), job.c.expires_at_ms > sa.bindparam("now")),
        HAS_WORK,
        usage_limits.allows(job_group.c.load_key),
    )
    .group_by(job_group.c.load_key, model_group.c.name)
)


class _Act(Enum):
    """The possible changes of a host's groups."""

    TAKE_UP = "nothing runs there, so it runs the group from now on"
    RUN_BESIDE = "the group's model is in its memory, so it runs the group as well"
    SWITCH = "it is closed for the groups that it runs, and drains"


def advance(tx: Transaction, view: HostView) -> bool:
    """Move the host to another group if it is time; return whether anything has changed.

    To be called when a claim at the host returned too few prompts. Nothing changes while a group
    that the host runs has work and its turn is not over, or no other group waits.

    The decision is made twice: without locks, so that checking a draining host costs little, and
    again under the host's lock, because another worker may have acted.
    """
    found = _next(tx, view)
    if found is None:
        return False
    taken_up = found[0] is _Act.TAKE_UP
    if taken_up:
        wait_for_claims(tx)
    tx.execute(sa.select(host.c.key).where(host.c.key == view.key).with_for_update())
    again = _next(tx, view)
    if again is None or (again[0] is _Act.TAKE_UP and not taken_up):
        return False
    act, group = again
    if act is _Act.SWITCH:
        _begin_switch(tx, view.key, group)
    else:
        tx.execute(sa.update(host).where(host.c.key == view.key).values(switching_to=None))
        tx.execute(
            sa.insert(host_group).values(host_key=view.key, group_key=group, since_ms=tx.now_ms())
        )
    return True


def _next(tx: Transaction, view: HostView) -> tuple[_Act, int] | None:
    """Decide the due change of the host's groups, with its group; None: no change."""
    state = tx.execute(
        sa.select(host.c.held_by, host.c.closed_at_ms, host.c.switching_to).where(
            host.c.key == view.key
        )
    ).first()
    if state is None or state.held_by is not None or state.closed_at_ms is not None:
        return None
    if state.switching_to is not None:
        return None if running_at(tx, view.key) else (_Act.TAKE_UP, state.switching_to)
    running = _running_groups(tx, view.key)
    waiting = _waiting(tx, view)
    best = best_of(
        [
            one
            for one in waiting
            if one.group not in running
            and (one.name == ANY_GROUP or view.can_run(model_of(one.name)))
        ]
    )
    if best is None:
        return None
    own = [one for one in waiting if one.group in running]
    if not running:
        act = _Act.SWITCH if running_at(tx, view.key) else _Act.TAKE_UP
    elif best.loaded and not has_load_options(best.name):
        act = _Act.RUN_BESIDE
    elif own and not _turn_is_over(own, running, best, now_ms=tx.now_ms(), turn_ms=view.turn_ms):
        return None
    else:
        act = _Act.SWITCH
    return act, best.group


def _waiting(tx: Transaction, view: HostView) -> list[Waiting]:
    return [
        Waiting(
            group=row.load_key,
            name=row.name,
            priority=row.priority,
            waits_since_ms=row.waits_since_ms,
            elsewhere=bool(row.elsewhere),
            loaded=model_of(row.name) in view.loaded,
        )
        for row in tx.execute(_WAITING, {"now": tx.now_ms(), "at_host": view.key})
    ]


class SwitchNeed(Enum):
    """Whether a host may need another group."""

    NONE = "nothing waits that it does not run"
    PLAIN = "one group waits and it runs none, or it is switching: there is nothing to choose"
    CHOICE = "what it has in memory matters"


def switch_need_of(tx: Transaction, host_key: int) -> SwitchNeed:
    """Whether `advance` may change anything for the host."""
    state = tx.execute(sa.select(host.c.switching_to).where(host.c.key == host_key)).first()
    if state is None:
        return SwitchNeed.NONE
    if state.switching_to is not None:
        return SwitchNeed.PLAIN
    running = _running_groups(tx, host_key)
    waiting = tx.execute(_WAITING, {"now": tx.now_ms(), "at_host": host_key})
    others = sum(row.load_key not in running for row in waiting)
    if not others:
        return SwitchNeed.NONE
    return SwitchNeed.CHOICE if running or others > 1 else SwitchNeed.PLAIN


def _turn_is_over(
    own: Sequence[Waiting],
    running: Mapping[int, int],
    best: Waiting,
    *,
    now_ms: int,
    turn_ms: int,
) -> bool:
    since_ms = now_ms - min(running[one.group] for one in own)
    if best.priority > max(one.priority for one in own):
        # Not at once, because the running group may have waited long for its turn.
        return since_ms >= turn_ms // _SHORT_TURN
    return since_ms >= turn_ms


def _running_groups(tx: Transaction, host_key: int) -> dict[int, int]:
    """Groups that the host runs, each with the start of its turn."""
    rows = tx.execute(
        sa.select(host_group.c.group_key, host_group.c.since_ms).where(
            host_group.c.host_key == host_key
        )
    )
    return {row.group_key: row.since_ms for row in rows}


def _begin_switch(tx: Transaction, host_key: int, group: int) -> None:
    tx.execute(sa.update(host).where(host.c.key == host_key).values(switching_to=group))
    tx.execute(sa.delete(host_group).where(host_group.c.host_key == host_key))


def let_go(tx: Transaction, host_key: int, models: Collection[str]) -> None:
    """Remove groups from the host whose models it does not have.

    The host may have taken up such a group only to report the missing model, and keeps it while no
    other group waits.
    """
    whole = sa.select(model_group.c.key, model_group.c.name).where(model_group.c.load_key.is_(None))
    gone = [row.key for row in tx.execute(whole) if model_of(row.name) in models]
    _stop_running(tx, host_key, gone)
    tx.execute(
        sa.update(host)
        .where(host.c.key == host_key, host.c.switching_to.in_(gone))
        .values(switching_to=None)
    )


def _stop_running(tx: Transaction, host_key: int, groups: Collection[int]) -> None:
    if groups:
        tx.execute(
            sa.delete(host_group).where(
                host_group.c.host_key == host_key, host_group.c.group_key.in_(groups)
            )
        )


def runs_several(tx: Transaction, host_key: int) -> bool:
    """Whether the host runs more than one group."""
    return len(_running_groups(tx, host_key)) > 1


def forget_unloaded(tx: Transaction, host_key: int, loaded: frozenset[str]) -> None:
    """Remove all but one of the groups whose models the host has unloaded.

    Two groups that do not fit into memory together would unload each other at every prompt.
    """
    running = tx.execute(
        sa.select(host_group.c.group_key, model_group.c.name)
        .join(model_group, model_group.c.key == host_group.c.group_key)
        .where(host_group.c.host_key == host_key)
        .order_by(host_group.c.since_ms)
    ).all()
    gone = [row.group_key for row in running if model_of(row.name) not in loaded]
    if len(gone) == len(running):
        gone = gone[1:]
    _stop_running(tx, host_key, gone)


def names_by_host(tx: Transaction) -> dict[int, list[str]]:
    """The names of the groups that each host runs, by the host's key."""
    rows = tx.execute(
        sa.select(host_group.c.host_key, model_group.c.name)
        .join(model_group, model_group.c.key == host_group.c.group_key)
        .order_by(host_group.c.since_ms)
    )
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row.host_key, []).append(row.name)
    return found

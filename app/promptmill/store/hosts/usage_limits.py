"""Usage limits (429): while one is in force, no prompts of its group are claimed at its host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.usage_limits import host_limit


class Limited(NamedTuple):
    """Host that takes no prompts of a group for a while."""

    host_key: int
    group_key: int
    """Load group; see `model_group`."""
    wait_ms: int
    error: str


def allows(group: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Condition that no limit is in force for the group at the host `at_host`, at `now`."""
    return ~(
        sa.select(sa.literal(1))
        .where(
            host_limit.c.host_key == sa.bindparam("at_host"),
            host_limit.c.group_key == group,
            host_limit.c.until_ms > sa.bindparam("now"),
        )
        .exists()
    )


def note(tx: Transaction, limits: Iterable[Limited]) -> None:
    """Put limits into force; of two limits for the same group the later end counts."""
    latest: dict[tuple[int, int], Limited] = {}
    for one in sorted(limits, key=lambda one: one.wait_ms):
        latest[one.host_key, one.group_key] = one
    if not latest:
        return
    insert = sqlite.insert if tx.is_sqlite else postgresql.insert
    now = tx.now_ms()
    # In the order of keys, so that two flushes never deadlock.
    for key, one in sorted(latest.items()):
        row = dict(zip(("host_key", "group_key"), key, strict=True))
        row |= {"until_ms": now + one.wait_ms, "error": one.error}
        new = insert(host_limit).values(row)
        tx.execute(
            new.on_conflict_do_update(
                index_elements=[host_limit.c.host_key, host_limit.c.group_key],
                set_={"until_ms": new.excluded.until_ms, "error": new.excluded.error},
                where=host_limit.c.until_ms < new.excluded.until_ms,
            )
        )


def forget(tx: Transaction, host_key: int) -> None:
    """Remove all limits at the host, because a worker that starts finds them out by one call."""
    tx.execute(sa.delete(host_limit).where(host_limit.c.host_key == host_key))

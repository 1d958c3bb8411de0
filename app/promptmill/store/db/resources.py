"""Resources: rows that clients create and name by an id; common to batches and benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from promptmill.domain.errors import Conflict, NotFound
from promptmill.domain.lifecycle import (
    TERMINAL_JOB_STATES,
    JobEvent,
    JobState,
    job_sources,
    job_target,
)
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import id_range


@dataclass(frozen=True, slots=True)
class Resource:
    """A table whose rows go along `domain.lifecycle`."""

    noun: str
    """The name of such a row in messages."""
    table: sa.Table
    visible: sa.ColumnElement[bool]
    """The condition of the rows that clients can see."""

    def find_by_idempotency_key(self, tx: Transaction, key: str) -> tuple[str, str] | None:
        """Id and body hash of the row that was created under the key; None: there is none."""
        of = self.table.c
        row = tx.execute(sa.select(of.id, of.body_hash).where(of.idempotency_key == key)).first()
        return None if row is None else (row.id, row.body_hash)

    def state_of(self, tx: Transaction, id_: str) -> JobState:
        """The state of the row with the id.

        Raises:
            NotFound: There is none of that id.
        """
        statement = sa.select(self.table.c.state).where(self.table.c.id == id_, self.visible)
        state = tx.execute(statement).scalar()
        if state is None:
            raise self.not_found(id_)
        return JobState(state)

    def not_found(self, id_: str) -> NotFound:
        """The error for an unknown id."""
        return NotFound(f"There is no {self.noun} {id_}.")

    def move(
        self,
        tx: Transaction,
        id_: str,
        event: JobEvent,
        *conditions: sa.ColumnElement[bool],
        **values: object,
    ) -> bool:
        """Apply an event to a row, if its state and the conditions allow the event."""
        statement = (
            sa.update(self.table)
            .where(self.table.c.id == id_, self.visible, *conditions)
            .where(self.table.c.state.in_(job_sources(event)))
            .values(state=job_target(event), **values)
        )
        return bool(tx.execute(statement).rowcount)

    def mark_deleted(self, tx: Transaction, id_: str) -> None:
        """Hide an ended row for good; `purge_some` removes it afterwards.

        Raises:
            NotFound: There is none of that id.
            Conflict: It has not ended.
        """
        deleted = tx.execute(
            sa.update(self.table)
            .where(self.table.c.id == id_, self.visible)
            .where(self.table.c.state.in_(TERMINAL_JOB_STATES))
            .values(deleted_at_ms=tx.now_ms(), idempotency_key=None)
        ).rowcount
        if not deleted:
            state = self.state_of(tx, id_).value
            raise Conflict(
                f"The {self.noun} is {state}; cancel it first, or wait until it has ended."
            )

    def purge_some(
        self,
        tx: Transaction,
        children: sa.Table,
        *,
        limit: int,
        purge_children: Callable[[Transaction, int, int], None],
        purge_row: Callable[[Transaction, int], None],
    ) -> int:
        """Remove some of what belongs to deleted rows; returns how much, 0 when nothing is left.

        While a deleted row has children, up to `limit` of them go: `purge_children` is given the
        first and the last of their ids. When it has none, `purge_row` is given the row's key.
        """
        is_deleted = self.table.c.deleted_at_ms.is_not(None)
        deleted = sa.select(self.table.c.key).where(is_deleted).order_by(self.table.c.key).limit(1)
        key = tx.execute(deleted).scalar()
        if key is None:
            return 0
        some = sa.select(children.c.id).where(children.c.id.between(*id_range(key)))
        ids = tx.execute(some.order_by(children.c.id).limit(limit)).scalars().all()
        if ids:
            purge_children(tx, ids[0], ids[-1])
            return len(ids)
        purge_row(tx, key)
        return 1


def has_metadata(
    tx: Transaction, column: sa.ColumnElement[Any], name: str, value: str
) -> sa.ColumnElement[bool]:
    """Whether the JSON object in the column has the pair."""
    # Listed, not addressed: a path into JSON cannot name a key with a quotation mark on SQLite.
    list_members = sa.func.json_each if tx.is_sqlite else sa.func.json_each_text
    member = list_members(column).table_valued("key", "value")
    return sa.exists().where(member.c.key == name, member.c.value == value)

"""Host exclusivity: closing a host to claims, and waiting until it has drained.

Closing a host (for a benchmark, or a switch to another group) is written and committed; from then
on no prompt is claimed there. An open claim that read the host before checks again under the lock
of its job's row, and holds that lock until its commit; locking every such row once therefore waits
for all of them.
"""

from __future__ import annotations

import sqlalchemy as sa

from promptmill.domain.scheduling.downloads import LIVE_PULL_STATES
from promptmill.store.db.compiled import Prepared
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import RUNNING, is_live
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, task
from promptmill.store.db.tables.downloads import pull


def wait_for_claims(tx: Transaction) -> None:
    """Wait until every claim that began before has committed; on SQLite no claim can be open.

    Locks the rows of all live jobs, in the order of their keys, before any other row.
    """
    if tx.is_sqlite:
        return
    tx.execute(sa.select(job.c.key).where(is_live(job)).order_by(job.c.key).with_for_update()).all()


_RUNNING_AT = Prepared(
    sa.select(sa.func.count())
    .select_from(task)
    .where(task.c.host_key == sa.bindparam("at_host"), RUNNING)
)


def running_at(tx: Transaction, host_key: int) -> int:
    """Number of prompts of batches that run at the host."""
    return int(_RUNNING_AT.run(tx, {"at_host": host_key}).scalar_one())


def is_quiet(tx: Transaction, host_key: int) -> bool:
    """Whether a closed host has drained: no prompt runs there, and no model is pulled.

    A pull whose lease has expired does not count: Ollama stops it, and no worker takes it up
    meanwhile.
    """
    pulling = sa.exists().where(
        pull.c.host_key == host_key,
        is_in(pull.c.state, LIVE_PULL_STATES),
        pull.c.lease_until_ms >= tx.now_ms(),
    )
    return not running_at(tx, host_key) and not tx.execute(sa.select(pulling)).scalar_one()

"""Attempts that ended without a result: why a prompt went back to the queue, each time.

Nothing is written for a prompt that succeeds at its first attempt. Rows are written in the
transaction that puts the prompt back, at most `MOST_KEPT` for each prompt, and are removed when the
prompt is run again from the beginning or its batch is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa

from promptmill.domain.outcomes import ErrorCode, Failed
from promptmill.domain.reading import EarlierAttempt
from promptmill.domain.retry import TryAgain
from promptmill.store.db.compiled import Prepared, ids_in
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.activity import attempt
from promptmill.store.db.tables.batches import host, task
from promptmill.store.queue.leases import Completion

MOST_KEPT: Final = 20
"""The first so many attempts of a prompt have rows; a host that is away can refuse it often."""
_LONGEST_ERROR: Final = 500
_INSERT = Prepared(sa.insert(attempt))


def record(tx: Transaction, returned: Sequence[Completion]) -> None:
    """Record attempts whose prompts have gone back; calls that were not begun are left out."""
    rows: list[dict[str, Any]] = []
    for each in returned:
        again, lease, outcome = each.decision, each.lease, each.outcome
        if not isinstance(again, TryAgain) or not isinstance(outcome, Failed) or again.unused:
            continue
        if lease.attempt + lease.losses + lease.turned_away > MOST_KEPT:
            continue
        rows.append(
            {
                "id": lease.task_id,
                "token": lease.token,
                "number": lease.attempt,
                "charged": again.charged,
                "host_key": lease.host_key,
                "started_at_ms": each.started_at_ms,
                "ended_at_ms": each.finished_at_ms,
                "error_code": outcome.code,
                "error": outcome.message[:_LONGEST_ERROR],
            }
        )
    if rows:
        _INSERT.run(tx, rows)


def record_lost(tx: Transaction, task_ids: Sequence[int]) -> None:
    """Record running attempts of dead workers, before their leases are removed."""
    lost = sa.select(
        task.c.id,
        task.c.lease_token,
        task.c.attempt,
        sa.false(),
        task.c.host_key,
        sa.literal(tx.now_ms(), sa.BigInteger),
        sa.literal(ErrorCode.LEASE_LOST, attempt.c.error_code.type),
        sa.literal("The worker that ran it fell silent."),
    ).where(
        task.c.id.in_(task_ids),
        task.c.attempt + task.c.losses + task.c.turned_away <= MOST_KEPT,
    )
    columns = ["id", "token", "number", "charged", "host_key", "ended_at_ms", "error_code", "error"]
    tx.execute(sa.insert(attempt).from_select(columns, lost, include_defaults=False))


_FORGET = Prepared(sa.delete(attempt).where(ids_in(attempt.c.id, "ids")))


def forget(tx: Transaction, task_ids: Sequence[int]) -> None:
    """Remove the attempts of prompts that are run again from the beginning."""
    _FORGET.run(tx, {"ids": list(task_ids)})


def forget_between(tx: Transaction, first_id: int, last_id: int) -> None:
    """Remove the attempts of the prompts with these ids and all between."""
    tx.execute(sa.delete(attempt).where(attempt.c.id.between(first_id, last_id)))


OF_PROMPT: Final = (
    sa.select(attempt, host.c.url)
    .outerjoin(host, host.c.key == attempt.c.host_key)
    .where(attempt.c.id == sa.bindparam("prompt_id"))
    .order_by(attempt.c.ended_at_ms, attempt.c.number)
)


def of_prompt(tx: Transaction, prompt_id: int) -> Sequence[EarlierAttempt]:
    """The recorded attempts of a prompt, the first one first."""
    return [
        EarlierAttempt(
            number=row.number,
            charged=bool(row.charged),
            host=row.url,
            started_at_ms=row.started_at_ms,
            ended_at_ms=row.ended_at_ms,
            error_code=row.error_code,
            error=row.error,
        )
        for row in tx.execute(OF_PROMPT, {"prompt_id": prompt_id})
    ]

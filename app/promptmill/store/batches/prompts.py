"""Single prompts of a batch: one as a whole, and prompts without a result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from promptmill.domain.errors import NotFound
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.reading import WaitingPrompt, WholePrompt
from promptmill.store.batches.results import as_result
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import PENDING, RUNNING
from promptmill.store.db.tables.batches import (
    host,
    index_of,
    prompt,
    prompt_id,
    result,
    task,
)
from promptmill.store.queue import attempts

_PREVIEW: Final = 200
_WAITING = (
    sa.select(
        task.c.id,
        task.c.state,
        task.c.attempt,
        task.c.lease_owner,
        host.c.url,
        prompt.c.custom_id,
        sa.func.substr(prompt.c.text, 1, _PREVIEW).label("text"),
    )
    .join(prompt, prompt.c.id == task.c.id)
    .outerjoin(host, host.c.key == task.c.host_key)
    .limit(sa.bindparam("most"))
)
# Each of the two goes along the partial index of its state, which begins with the job. Few prompts
# run: ordered by an expression, they are sorted, and PostgreSQL does not walk the primary key.
_RUNNING = _WAITING.where(task.c.job_key == sa.bindparam("of_job"), RUNNING).order_by(task.c.id + 0)
_PENDING = _WAITING.where(task.c.job_key == sa.bindparam("of_job"), PENDING).order_by(
    task.c.group_key, task.c.available_at_ms, task.c.id
)
_WHOLE = (
    sa.select(
        prompt,
        task.c.state,
        task.c.attempt,
        task.c.lease_owner,
        host.c.url,
    )
    .join(task, task.c.id == prompt.c.id)
    .outerjoin(host, host.c.key == task.c.host_key)
    .where(prompt.c.id == sa.bindparam("prompt_id"))
)
_RESULT = (
    sa.select(result, prompt.c.text, prompt.c.custom_id, prompt.c.data)
    .join(prompt, prompt.c.id == result.c.id)
    .where(result.c.id == sa.bindparam("prompt_id"))
)


def without_result(
    tx: Transaction, key: int, state: TaskState, *, limit: int
) -> Sequence[WaitingPrompt]:
    """List up to `limit` prompts of the job that run, by index, or wait, in the order of start."""
    statement = _RUNNING if state is TaskState.RUNNING else _PENDING
    return [
        WaitingPrompt(
            index=index_of(row.id),
            custom_id=row.custom_id,
            prompt=row.text,
            state=row.state,
            attempt=row.attempt,
            host=row.url,
            worker=row.lease_owner,
        )
        for row in tx.execute(statement, {"of_job": key, "most": limit})
    ]


def whole(tx: Transaction, key: int, index: int) -> WholePrompt:
    """Read a prompt with its result, if any.

    Raises:
        NotFound: The job has no prompt of that index.
    """
    wanted = {"prompt_id": prompt_id(key, index)}
    row = tx.execute(_WHOLE, wanted).first()
    if row is None:
        raise NotFound(f"The batch has no prompt {index}.")
    found = tx.execute(_RESULT, wanted).first()
    return WholePrompt(
        index=index,
        custom_id=row.custom_id,
        text=row.text,
        overrides=row.overrides or {},
        state=row.state,
        attempt=row.attempt,
        host=row.url,
        worker=row.lease_owner,
        result=None if found is None else as_result(found),
        earlier_attempts=attempts.of_prompt(tx, row.id),
    )

"""Results of a batch, read in prompt order and by pages, in constant memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from promptmill.domain.batches import TaskResult
from promptmill.domain.errors import NotFound
from promptmill.domain.lifecycle import TaskState
from promptmill.domain.outcomes import METRICS, REPLIED, CallMetrics, ErrorCode
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import VISIBLE_BATCH, WITHOUT_SUCCESS
from promptmill.store.db.tables.batches import id_range, index_of, job, prompt, prompt_id, result

_PAGE = (
    sa.select(result, prompt.c.text, prompt.c.custom_id, prompt.c.data)
    .join(prompt, prompt.c.id == result.c.id)
    .where(result.c.id.between(sa.bindparam("low"), sa.bindparam("high")))
    .order_by(result.c.id)
    .limit(sa.bindparam("most"))
)
_PAGE_OF_STATUS = _PAGE.where(result.c.status == sa.bindparam("wanted_status"))
# The condition of the partial index, so that a few failures are found among many successes.
_PAGE_OF_NOT_SUCCEEDED = _PAGE_OF_STATUS.where(WITHOUT_SUCCESS)


def job_key(tx: Transaction, batch_id: str) -> int:
    """The store's own number of a batch.

    Raises:
        NotFound: There is none of that id.
    """
    key = tx.execute(sa.select(job.c.key).where(job.c.id == batch_id, VISIBLE_BATCH)).scalar()
    if key is None:
        raise NotFound(f"There is no batch {batch_id}.")
    return int(key)


def page(
    tx: Transaction,
    key: int,
    *,
    limit: int,
    after_index: int | None = None,
    status: TaskState | None = None,
) -> Sequence[TaskResult]:
    """List up to `limit` results of the job with indexes above `after_index`."""
    low, high = id_range(key)
    parameters: dict[str, Any] = {
        "low": low if after_index is None else prompt_id(key, after_index + 1),
        "high": high,
        "most": limit,
    }
    statement = _PAGE
    if status is not None:
        parameters["wanted_status"] = status
        statement = _PAGE_OF_STATUS if status is TaskState.SUCCEEDED else _PAGE_OF_NOT_SUCCEEDED
    return [as_result(row) for row in tx.execute(statement, parameters)]


_SINCE = (
    sa.select(result, prompt.c.text, prompt.c.custom_id, prompt.c.data)
    .join(prompt, prompt.c.id == result.c.id)
    .where(result.c.event_id.between(sa.bindparam("low"), sa.bindparam("high")))
    .order_by(result.c.event_id)
    .limit(sa.bindparam("most"))
)


def since(tx: Transaction, key: int, event: int, *, limit: int) -> Sequence[TaskResult]:
    """List up to `limit` results that were stored after the number `event`, in their order.

    Continuing from the last number seen misses no result, because numbers become visible in order.
    """
    _, high = id_range(key)
    low = prompt_id(key, event + 1)
    return [as_result(row) for row in tx.execute(_SINCE, {"low": low, "high": high, "most": limit})]


def as_result(row: sa.Row[Any]) -> TaskResult:
    """Build the result of a row with the columns of `result`, `text`, `custom_id` and `data`."""
    # As a dict, because reading an attribute of a row costs more than an item of a dict.
    names = row._fields  # pyright: ignore[reportPrivateUsage] - public, as those of a namedtuple
    values: dict[str, Any] = dict(zip(names, row, strict=True))
    reply = {name: values[name] for name in REPLIED}
    if reply["defect"] is not None:
        reply["defect"] = ErrorCode(reply["defect"])
    event = values["event_id"]
    return TaskResult(
        index=index_of(values["id"]),
        custom_id=values["custom_id"],
        data=values["data"],
        prompt=values["text"],
        model=values["model"],
        status=values["status"],
        error=values["error"],
        error_code=values["error_code"],
        attempts=values["attempts"],
        host=values["host"],
        started_at_ms=values["started_at_ms"],
        finished_at_ms=values["finished_at_ms"],
        event=None if event is None else index_of(event),
        metrics=CallMetrics(**{name: values[name] for name in METRICS}),
        **reply,
    )

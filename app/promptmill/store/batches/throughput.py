"""Throughput of running batches, from the numbers and times of their latest results.

Nothing is counted: results are numbered in order, so that the time of the one before the last `n`
is found by the index, and `n` results followed it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from promptmill.domain.lifecycle import JobState
from promptmill.domain.scheduling.forecast import Window, results_in_window
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import job_key_of, prompt_id, result

_FINISHED_AT = sa.select(result.c.event_id, result.c.finished_at_ms).where(
    result.c.event_id.in_(sa.bindparam("events", expanding=True))
)


def windows(tx: Transaction, rows: Sequence[sa.Row[Any]]) -> Mapping[int, Window]:
    """Latest results of running jobs, by the jobs' keys.

    A row has the job's columns, its `last_event` and the number `running_now` of running prompts.
    """
    found: dict[int, Window] = {}
    sizes: dict[int, int] = {}
    for row in rows:
        stored = row.last_event - (row.rate_since_event or 0)
        since_ms = row.rate_since_ms or row.started_at_ms
        if row.state != JobState.RUNNING or not stored or since_ms is None:
            continue
        # A default, replaced below: the result before may have been removed by a retry.
        found[row.key] = Window(results=stored, since_ms=since_ms)
        size = results_in_window(stored, row.running_now)
        if size < stored:
            sizes[prompt_id(row.key, row.last_event - size)] = size
    if sizes:
        for row in tx.execute(_FINISHED_AT, {"events": list(sizes)}):
            window = Window(results=sizes[row.event_id], since_ms=row.finished_at_ms)
            found[job_key_of(row.event_id)] = window
    return found

"""Demand for models: those that batches need now, and those to be unloaded soon afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from promptmill.domain.lifecycle import JobState
from promptmill.domain.scheduling.load_groups import ANY_GROUP, model_of
from promptmill.store.db.database import Transaction
from promptmill.store.db.sql import PENDING, RUNNING, is_live
from promptmill.store.db.tables.base import is_in
from promptmill.store.db.tables.batches import job, job_group, model_group, task

_NAME = sa.bindparam("name", type_=sa.Text())
_WANTING = (
    sa.select(job.c.key)
    .join(job_group, job_group.c.job_key == job.c.key)
    .join(model_group, model_group.c.key == job_group.c.load_key)
    .where(
        is_live(job),
        ~is_in(job.c.state, [JobState.PAUSED]),
        sa.or_(
            model_group.c.name.in_((_NAME, ANY_GROUP)),
            # A model with load options is a group of its own: its name, a space and the options.
            sa.func.substr(model_group.c.name, 1, sa.func.length(_NAME) + 1) == _NAME + " ",
        ),
        sa.or_(
            sa.exists().where(
                task.c.job_key == job.c.key,
                task.c.group_key == job_group.c.group_key,
                PENDING,
            ),
            sa.exists().where(
                task.c.job_key == job.c.key,
                task.c.group_key == job_group.c.group_key,
                RUNNING,
            ),
        ),
    )
    .limit(1)
)


def is_wanted(tx: Transaction, model: str) -> bool:
    """Whether a prompt for the model waits or runs; `model` is a normalised name.

    Prompts of paused batches do not count, because their wait has no known end.
    """
    return tx.execute(_WANTING, {"name": model}).first() is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class LastStay:
    """Batch that may have used a model last."""

    model: str
    parameters: Mapping[str, Any]
    ended_s_ago: float
    """Seconds since the batch ended; 0 for a batch that has not ended."""


def last_stays(tx: Transaction, *, within_ms: int) -> Sequence[LastStay]:
    """List the models of batches that are live, or ended within that time.

    Batches that ended first come first. Batches that never started are left out.
    """
    now = tx.now_ms()
    ended_at = sa.func.coalesce(job.c.finished_at_ms, now)
    statement = (
        sa.select(job.c.parameters, ended_at.label("ended_at_ms"), model_group.c.name)
        .join(job_group, job_group.c.job_key == job.c.key)
        .join(model_group, model_group.c.key == job_group.c.load_key)
        .where(
            job.c.started_at_ms.is_not(None),
            ended_at > now - within_ms,
            model_group.c.name != ANY_GROUP,
        )
    )
    rows = sorted(tx.execute(statement).all(), key=lambda row: row.ended_at_ms)
    return [
        LastStay(
            model=model_of(row.name),
            parameters=row.parameters,
            ended_s_ago=max((now - row.ended_at_ms) / 1000, 0.0),
        )
        for row in rows
    ]

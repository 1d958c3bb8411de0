"""Enqueueing prompts: each stored with a pending task, in its group.

enqueue          -> pending
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from promptmill.domain.batches import PromptDraft
from promptmill.domain.lifecycle import TaskState
from promptmill.store.db.compiled import slices
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import prompt, prompt_id, task
from promptmill.store.queue.prompt_groups import groups_of

_PROMPTS_PER_INSERT = 5_000


def enqueue(
    tx: Transaction,
    job_key: int,
    prompts: Sequence[PromptDraft],
    *,
    first_index: int = 0,
    grouped: bool = True,
) -> None:
    """Store prompts of a new job, and a pending task for each.

    They are numbered from `first_index`, so that a large job can be stored in several
    transactions before it comes alive. Without `grouped` all are of the one group that any host
    runs.
    """
    for first in range(0, len(prompts), _PROMPTS_PER_INSERT):
        chunk = prompts[first : first + _PROMPTS_PER_INSERT]
        tx.execute(
            sa.insert(prompt),
            [
                {
                    "id": prompt_id(job_key, index),
                    "text": draft.text,
                    "custom_id": draft.custom_id,
                    "overrides": draft.overrides,
                    "data": draft.data,
                }
                for index, draft in enumerate(chunk, start=first_index + first)
            ],
        )
    usual, others = groups_of(tx, job_key, prompts if grouped else ())
    tx.execute(
        _ADD_TASKS,
        {
            "job_key": job_key,
            "low": prompt_id(job_key, first_index),
            "high": prompt_id(job_key, first_index + len(prompts) - 1),
            "usual": usual,
        },
    )
    for group, places in others.items():
        for some in slices(places, 4_000):
            ids = [prompt_id(job_key, first_index + place) for place in some]
            tx.execute(_PUT_IN_GROUP, {"ids": ids, "group": group})


_ADD_TASKS = sa.insert(task).from_select(
    ["id", "job_key", "state", "attempt", "losses", "available_at_ms", "group_key"],
    sa.select(
        prompt.c.id,
        sa.bindparam("job_key", type_=sa.BigInteger),
        sa.literal(TaskState.PENDING, task.c.state.type),
        sa.literal(0),
        sa.literal(0),
        sa.literal(0),
        sa.bindparam("usual", type_=sa.BigInteger),
    ).where(prompt.c.id.between(sa.bindparam("low"), sa.bindparam("high"))),
    include_defaults=False,
)
_PUT_IN_GROUP = (
    sa.update(task)
    .where(task.c.id.in_(sa.bindparam("ids", expanding=True)))
    .values(group_key=sa.bindparam("group"))
)

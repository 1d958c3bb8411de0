"""What is kept with prompts of the dialect for the lines of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from promptmill.domain.openai import MARK
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import index_of, prompt, prompt_id

Marks = Mapping[int, Mapping[str, Any]]
"""By the indexes of prompts, what their lines have to be written with."""


def marks_of(tx: Transaction, job_key: int, indexes: Sequence[int]) -> Marks:
    """The marks of these prompts."""
    if not indexes:
        return {}
    ids = [prompt_id(job_key, index) for index in indexes]
    # Not all of the prompt's own fields, which may be as long as the request.
    mark = prompt.c.overrides[MARK].label("mark")
    rows = tx.execute(sa.select(prompt.c.id, mark).where(prompt.c.id.in_(ids)))
    return {index_of(row.id): row.mark or {} for row in rows}

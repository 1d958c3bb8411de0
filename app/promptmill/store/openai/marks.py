"""Marks of prompts of the dialect: data that the lines of their results need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from promptmill.domain.openai import MARK
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import index_of, prompt, prompt_id

Marks = Mapping[int, Mapping[str, Any]]
"""Marks by the indexes of prompts."""


def marks_of(tx: Transaction, job_key: int, indexes: Sequence[int]) -> Marks:
    """Read the marks of these prompts."""
    if not indexes:
        return {}
    ids = [prompt_id(job_key, index) for index in indexes]
    # Only the mark, because a prompt's overrides may be as long as its request.
    mark = prompt.c.overrides[MARK].label("mark")
    rows = tx.execute(sa.select(prompt.c.id, mark).where(prompt.c.id.in_(ids)))
    return {index_of(row.id): row.mark or {} for row in rows}

"""What is kept with prompts of the dialect for the lines of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from promptmill.domain.openai import FAULT, MARK
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import index_of, prompt, prompt_id

Faults = Mapping[int, Sequence[Any]]
"""By the indexes of prompts, what is wrong with their requests: message, param and code."""


def faults_of(tx: Transaction, job_key: int, indexes: Sequence[int]) -> Faults:
    """What is wrong with these prompts, as far as anything is."""
    if not indexes:
        return {}
    ids = [prompt_id(job_key, index) for index in indexes]
    rows = tx.execute(sa.select(prompt.c.id, prompt.c.overrides).where(prompt.c.id.in_(ids)))
    own: dict[int, dict[str, Any]] = {index_of(row.id): row.overrides or {} for row in rows}
    marks: dict[int, dict[str, Any]] = {index: one.get(MARK, {}) for index, one in own.items()}
    return {index: mark[FAULT] for index, mark in marks.items() if FAULT in mark}

"""A prompt's own object in the store, on each database."""

from __future__ import annotations

import sqlalchemy as sa

from promptmill.domain.batches import PromptDraft
from promptmill.store.db.tables.batches import prompt
from tests.store.farm import Farm


def test_the_object_of_a_prompt_is_stored_as_it_was_sent(farm: Farm) -> None:
    data = {"text": "é \u2028 ☕", "n": 1.5, "none": None, "list": [1]}

    farm.submit([PromptDraft("a", data=data), PromptDraft("b")])

    statement = sa.select(prompt.c.data).order_by(prompt.c.id)
    stored = farm.database.read_now(lambda tx: tx.execute(statement).scalars().all())
    assert list(stored) == [data, None]

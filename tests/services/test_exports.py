"""An export of a batch that is deleted meanwhile breaks off, and is never taken for whole."""

from __future__ import annotations

import pytest

from promptmill.domain.errors import NotFound
from promptmill.runtime import open_resources
from promptmill.services import batches
from promptmill.settings import Settings
from promptmill.store.batches import jobs
from promptmill.store.db.database import Database
from tests.store.farm import Farm

PROMPTS = 60
"""More than the first chunk of an export."""


def done(farm: Farm, prompts: int) -> str:
    """A batch that has ended, with a result of each prompt."""
    batch_id = farm.submit(prompts)
    while leases := farm.leases(wanted=prompts):
        farm.complete(*leases)
    farm.close()
    return batch_id


def deleted(database: Database, batch_id: str) -> None:
    """Delete the batch until no row is left, so that SQLite might give its number away."""
    database.write_now(jobs.BATCHES.mark_deleted, batch_id)
    while database.write_now(jobs.purge_some):
        pass


async def test_an_export_of_a_batch_that_another_has_replaced_meanwhile_breaks_off(
    database_url: str,
) -> None:
    settings = Settings(database_url=database_url, embedded_worker=False)
    async with open_resources(settings) as resources:
        database = resources.database
        farm = Farm(database)
        batch_id = done(farm, PROMPTS)
        chunks = await batches.stream_results(resources, batch_id)
        first = await anext(chunks)
        assert 0 < len(first) < PROMPTS

        deleted(database, batch_id)
        done(farm, PROMPTS)

        with pytest.raises(NotFound):
            await anext(chunks)

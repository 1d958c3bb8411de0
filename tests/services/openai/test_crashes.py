"""A process that dies between any two commits loses nothing that was accepted, and doubles nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.openai import OpenAIBatchDraft, Purpose, Stage, Status
from promptmill.services.openai import files as file_service
from promptmill.services.openai.batches import Origin, create, get
from promptmill.services.openai.files import FileWriter
from promptmill.services.openai.reading import Reading
from promptmill.services.openai.storing import accept
from promptmill.services.openai.writing import Writing
from promptmill.services.resources import Resources
from promptmill.services.wakeups import Signals
from promptmill.settings import Settings
from promptmill.store.batches import jobs, transitions
from promptmill.store.db.tables.batches import job, prompt, result, task
from promptmill.store.db.tables.openai import file, file_chunk
from promptmill.store.openai import batches, execution, files

LEASE_MS = 30_000
LINES = 12
"""Half of them cannot be honoured; each is so long that a chunk has three."""


class Killed(BaseException):
    """The process is gone."""


class DyingDatabase:
    """A database in a process that dies before its commit number `left + 1`."""

    def __init__(self, database, left: int) -> None:
        self._database = database
        self._left = left

    async def write(self, work, *args, **kwargs):
        if not self._left:
            raise Killed
        self._left -= 1
        return await self._database.write(work, *args, **kwargs)

    async def read(self, work, *args, **kwargs):
        return await self._database.read(work, *args, **kwargs)


def input_file() -> bytes:
    def one(number: int) -> bytes:
        body = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 350_000}]}
        body |= {"n": 2} if number % 2 else {}
        entry = {"custom_id": str(number), "method": "POST", "url": "/v1/chat/completions"}
        return json.dumps(entry | {"body": body}).encode()

    return b"\n".join(map(one, range(LINES)))


@pytest.fixture
def resources(database, database_url) -> Resources:
    return Resources(
        settings=Settings(database_url=database_url),
        database=database,
        hosts=(),
        signals=Signals(),
    )


async def upload(resources: Resources, content: bytes, database: Any = None) -> Any:
    writer = FileWriter(database or resources.database, purpose=Purpose.BATCH, filename="in.jsonl")
    for start in range(0, len(content), 300_000):
        await writer.write(content[start : start + 300_000])
    accepted = await accept(resources, writer, expires_in_s=None, key=None, is_retry=False)
    return accepted.file


async def new_batch(resources: Resources) -> str:
    stored = await upload(resources, input_file())
    draft = OpenAIBatchDraft(
        endpoint="/v1/chat/completions",
        input_file_id=stored.id,
        window="24h",
        expires_in_s=1e6,
        # With no host nobody knows which models there are.
        options={"auto_pull": True},
    )
    return (await create(resources, draft, Origin(body_hash="x"))).batch.id


async def read(resources: Resources, *, dies_after: int | None = None) -> bool:
    """Read the next input file; whether that came to its end."""
    database = resources.database
    lease = await database.write(execution.take_reading, owner="w", lease_ms=LEASE_MS)
    assert lease is not None
    used = database if dies_after is None else DyingDatabase(database, dies_after)
    try:
        await Reading(resources, used, lease, lease_ms=LEASE_MS).run()
    except Killed:
        return False
    return True


async def write(resources: Resources, *, dies_after: int | None = None) -> bool:
    """Write the files of the next batch; whether that came to its end."""
    database = resources.database
    lease = await database.write(execution.take_finishing, owner="w", lease_ms=LEASE_MS)
    assert lease is not None
    used = database if dies_after is None else DyingDatabase(database, dies_after)
    try:
        await Writing(used, lease, lease_ms=LEASE_MS, usual_ttl_s=None).run()
    except Killed:
        return False
    return True


async def count(resources: Resources, table: sa.Table, *conditions: Any) -> int:
    statement = sa.select(sa.func.count()).select_from(table).where(*conditions)
    return await resources.database.read(lambda tx: tx.execute(statement).scalar_one())


async def purge(resources: Resources) -> None:
    def some(tx) -> int:
        return files.purge_some(tx) + jobs.purge_some(tx)

    while await resources.database.write(some):
        pass


async def test_an_upload_that_dies_anywhere_leaves_nothing_behind(resources, clock) -> None:
    content = input_file()
    for dies_after in range(5):
        with pytest.raises(Killed):
            await upload(resources, content, DyingDatabase(resources.database, dies_after))
        assert not (
            await file_service.list_files(
                resources, limit=9, after=None, purpose=None, newest_first=True
            )
        ).files

    clock.forward(3601)
    await resources.database.write(files.discard_abandoned, silent_ms=3_600_000)
    await purge(resources)
    assert [await count(resources, table) for table in (file, file_chunk)] == [0, 0]


async def test_reading_that_dies_anywhere_is_begun_anew_and_stores_each_line_once(
    resources, clock
) -> None:
    batch_id = await new_batch(resources)
    dies_after = 0
    while not await read(resources, dies_after=dies_after):
        assert (await get(resources, batch_id)).status is Status.VALIDATING
        assert await count(resources, job, job.c.state == "queued") == 0
        clock.forward(LEASE_MS / 1000 + 1)
        dies_after += 1
    await purge(resources)

    batch = await get(resources, batch_id)
    assert dies_after >= 5
    assert (batch.stage, batch.counts.total, batch.counts.failed) == (Stage.RUNNING, LINES, 6)
    assert await count(resources, job) == 1
    assert [await count(resources, table) for table in (prompt, task)] == [LINES, LINES]
    assert await count(resources, result) == 6

    def ids(tx) -> list[str]:
        return list(tx.execute(sa.select(prompt.c.custom_id).order_by(prompt.c.id)).scalars())

    assert await resources.database.read(ids) == [str(number) for number in range(LINES)]


async def test_files_that_are_written_by_the_dying_are_never_seen_and_written_once_in_the_end(
    resources, clock
) -> None:
    batch_id = await new_batch(resources)
    assert await read(resources)
    await answer_all(resources, batch_id)
    dies_after = 0
    while not await write(resources, dies_after=dies_after):
        batch = await get(resources, batch_id)
        assert (batch.status, batch.output_file_id, batch.error_file_id) == (
            Status.FINALIZING,
            None,
            None,
        )
        clock.forward(LEASE_MS / 1000 + 1)
        dies_after += 1
    await purge(resources)

    batch = await get(resources, batch_id)
    assert dies_after >= 3
    assert batch.status is Status.COMPLETED
    assert await count(resources, file) == 3
    found = {
        name: [json.loads(one)["custom_id"] for one in (await content(resources, file_id))]
        for name, file_id in (("output", batch.output_file_id), ("error", batch.error_file_id))
    }
    assert found == {
        "output": [str(number) for number in range(0, LINES, 2)],
        "error": [str(number) for number in range(1, LINES, 2)],
    }


async def test_a_reader_that_was_asleep_beyond_its_lease_stores_nothing_more(
    resources, clock
) -> None:
    batch_id = await new_batch(resources)
    slow = await resources.database.write(execution.take_reading, owner="a", lease_ms=LEASE_MS)
    clock.forward(LEASE_MS / 1000 + 1)
    assert await read(resources)

    with pytest.raises(execution.LeaseLost):
        await Reading(resources, resources.database, slow, lease_ms=LEASE_MS).run()

    assert (await get(resources, batch_id)).counts.total == LINES
    assert await count(resources, prompt) == LINES


async def test_a_batch_that_is_cancelled_while_it_is_read_ends_with_no_job(
    resources, clock
) -> None:
    batch_id = await new_batch(resources)
    assert not await read(resources, dies_after=2)
    await resources.database.write(batches.note_cancel, batch_id)
    assert (await get(resources, batch_id)).status is Status.CANCELLING
    clock.forward(LEASE_MS / 1000 + 1)

    assert await read(resources)

    batch = await get(resources, batch_id)
    assert (batch.status, batch.counts.total) == (Status.CANCELLED, 0)
    await purge(resources)
    assert [await count(resources, table) for table in (job, prompt, task, result)] == [0, 0, 0, 0]


async def test_a_file_that_is_deleted_while_a_batch_is_read_from_it_is_read_to_its_end(
    resources, clock
) -> None:
    batch_id = await new_batch(resources)
    batch = await get(resources, batch_id)
    await file_service.delete(resources, batch.input_file_id)
    await purge(resources)

    assert await read(resources)

    assert (await get(resources, batch_id)).counts.total == LINES
    await purge(resources)
    assert await count(resources, file_chunk) == 0


async def test_prompts_that_run_again_take_the_files_of_the_end_back(resources, clock) -> None:
    batch_id = await new_batch(resources)
    await read(resources)
    await answer_all(resources, batch_id)
    await write(resources)
    first = await get(resources, batch_id)

    def run_again(tx) -> None:
        transitions.reopen(tx, batch_id, expires_in_s=None)
        batches.reopen(tx, batch_id)

    await resources.database.write(run_again)
    going = await get(resources, batch_id)
    assert (going.status, going.output_file_id) == (Status.IN_PROGRESS, None)
    assert await resources.database.read(files.find, first.output_file_id) is None
    await resources.database.write(transitions.close_ended)
    await write(resources)

    again = await get(resources, batch_id)
    assert again.status is Status.COMPLETED
    assert again.output_file_id not in {None, first.output_file_id}


async def test_files_of_an_end_that_was_taken_back_meanwhile_are_dropped(resources, clock) -> None:
    batch_id = await new_batch(resources)
    await read(resources)
    await answer_all(resources, batch_id)
    lease = await resources.database.write(execution.take_finishing, owner="w", lease_ms=LEASE_MS)

    def run_again(tx) -> None:
        transitions.reopen(tx, batch_id, expires_in_s=None)
        batches.reopen(tx, batch_id)

    await resources.database.write(run_again)

    with pytest.raises(execution.LeaseLost):
        await Writing(resources.database, lease, lease_ms=LEASE_MS, usual_ttl_s=None).run()
    assert (await get(resources, batch_id)).output_file_id is None


async def content(resources: Resources, file_id: str) -> list[bytes]:
    stored = await file_service.get(resources, file_id)
    blocks = [block async for block in file_service.content(resources.database, stored)]
    return b"".join(blocks).splitlines()


async def answer_all(resources: Resources, batch_id: str) -> None:
    """Let every prompt that waits have an answer, and the job end."""

    def answer(tx) -> None:
        waiting = list(
            tx.execute(sa.select(task.c.id, task.c.job_key).where(task.c.state == "pending"))
        )
        tx.execute(
            sa.insert(result),
            [
                {
                    "id": row.id,
                    "status": "succeeded",
                    "model": "tiny",
                    "response": "y" * 400_000,
                    "attempts": 1,
                    "finished_at_ms": tx.now_ms(),
                    "event_id": (row.job_key << 32) + 100 + place,
                }
                for place, row in enumerate(waiting)
            ],
        )
        tx.execute(sa.update(task).where(task.c.state == "pending").values(state="succeeded"))
        tx.connection.exec_driver_sql(f"UPDATE job_stats SET succeeded = {len(waiting)}")
        transitions.close_ended(tx)

    await resources.database.write(answer)

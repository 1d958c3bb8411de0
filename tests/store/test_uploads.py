"""Batches that arrive piece by piece, in both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft, FailureLimit, IdempotencyKey, PromptDraft
from promptmill.domain.errors import NotFound, Unavailable
from promptmill.domain.lifecycle import JobState
from promptmill.store.batches import jobs, results, uploads
from promptmill.store.db.tables.batches import job, job_stats, prompt, result, task
from tests.store.farm import UNPACED

DRAFT = BatchDraft(
    prompts=(),
    model="qwen3:8b",
    limits=UNPACED,
    expires_in_s=60,
    max_failures=FailureLimit("20%"),
)


def some(first: int, number: int) -> list[PromptDraft]:
    return [PromptDraft(f"Question {first + each}") for each in range(number)]


def begun(database, batch_id: str = "batch_hidden") -> int:
    return database.write_now(uploads.begin, DRAFT, some(0, 3), batch_id=batch_id)


def complete(database, key: int, batch_id: str, *, total: int, idempotency=None) -> None:
    database.write_now(
        uploads.complete, key, DRAFT, batch_id=batch_id, total=total, idempotency=idempotency
    )


def test_pieces_become_one_batch_whose_time_begins_with_the_last(farm, database, clock) -> None:
    key = begun(database)
    clock.forward(100)
    database.write_now(uploads.extend, key, some(3, 7), first_index=3)
    clock.forward(100)
    complete(
        database, key, "batch_whole", total=10, idempotency=IdempotencyKey(key="k", body_hash="h")
    )

    batch = farm.batch("batch_whole")
    assert (batch.state, batch.counts.total, batch.counts.pending) == (JobState.QUEUED, 10, 10)
    assert batch.created_at_ms == clock.now_ms
    assert batch.expires_at_ms == clock.now_ms + 60_000
    most_failed = database.read_now(
        lambda tx: tx.execute(sa.select(job.c.most_failed)).scalar_one()
    )
    assert most_failed == 2
    assert database.read_now(jobs.BATCHES.find_by_idempotency_key, "k") == ("batch_whole", "h")
    leases = farm.leases()
    farm.complete(*leases)
    leases += farm.leases()
    assert [one.call.prompt for one in leases] == [f"Question {n}" for n in range(10)]


def test_a_batch_that_arrives_is_neither_seen_nor_counted_nor_worked_off(farm, database) -> None:
    begun(database)

    with pytest.raises(NotFound):
        farm.batch("batch_hidden")
    with pytest.raises(NotFound):
        database.read_now(results.job_key, "batch_hidden")
    with pytest.raises(NotFound):
        database.write_now(jobs.BATCHES.mark_deleted, "batch_hidden")
    assert database.read_now(jobs.page, limit=10) == []
    assert database.read_now(jobs.prompts_without_outcome) == 0
    assert farm.leases() == []
    assert farm.next_due_in_ms() is None
    assert farm.close() == []


def test_what_is_discarded_takes_nothing_more_and_is_purged(farm, database) -> None:
    key = begun(database)
    database.write_now(uploads.discard, key)

    with pytest.raises(Unavailable, match="given up"):
        database.write_now(uploads.extend, key, some(3, 1), first_index=3)
    with pytest.raises(Unavailable, match="given up"):
        complete(database, key, "batch_whole", total=3)
    while database.write_now(jobs.purge_some):
        pass
    for table in (job, job_stats, prompt, task, result):
        assert not database.read_now(lambda tx, of=table: tx.execute(sa.select(of)).all())


def test_what_is_complete_cannot_be_discarded_any_more(farm, database) -> None:
    key = begun(database)
    complete(database, key, "batch_whole", total=3)

    database.write_now(uploads.discard, key)

    assert farm.batch("batch_whole").counts.pending == 3
    with pytest.raises(Unavailable, match="given up"):
        complete(database, key, "batch_again", total=3)


def test_only_uploads_that_were_silent_for_long_are_given_up(farm, database, clock) -> None:
    batch_id = farm.submit(1)
    begun(database, "batch_silent")
    lively = begun(database, "batch_lively")
    clock.forward(2_000)
    database.write_now(uploads.extend, lively, some(3, 1), first_index=3)
    clock.forward(1_700)

    assert database.write_now(uploads.discard_abandoned, silent_ms=3_600_000) == 1
    assert database.write_now(uploads.discard_abandoned, silent_ms=3_600_000) == 0
    complete(database, lively, "batch_whole", total=4)
    assert farm.batch(batch_id).counts.pending == 1
    assert farm.batch("batch_whole").counts.pending == 4

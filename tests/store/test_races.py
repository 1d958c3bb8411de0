"""What happens when two transactions want the same thing at the same moment, on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from app.domain.jobs import BatchDraft, IdempotencyKey, PromptDraft
from app.services.batches import Submission, _submit
from app.store import jobs
from app.store.database import Database, Transaction

pytestmark = pytest.mark.postgresql


@pytest.fixture
def shared(postgresql_url: str) -> Iterator[Database]:
    opened = Database(postgresql_url)
    yield opened
    opened.close_now()


def until_somebody_waits_for_a_lock(database: Database) -> None:
    waiting = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    deadline = time.monotonic() + 10
    while not database.read_now(lambda tx: tx.execute(waiting).scalar_one()):
        assert time.monotonic() < deadline, "nobody waits"


def both(database: Database, work: Any, *arguments: Any, **options: Any) -> tuple[Any, Any]:
    """Do the work twice, the second time while the first is not yet committed."""
    begun = threading.Event()

    def first(tx: Transaction) -> Any:
        done = work(tx, *arguments, **options)
        begun.set()
        until_somebody_waits_for_a_lock(database)
        return done

    with ThreadPoolExecutor(2) as threads:
        one = threads.submit(database.write_now, first)
        assert begun.wait(10)
        other = threads.submit(database.write_now, work, *arguments, **options)
        return one.result(20), other.result(20)


def test_the_same_idempotency_key_sent_twice_at_once_makes_one_batch(shared: Database) -> None:
    draft = BatchDraft(prompts=[PromptDraft("a")], model="m")
    key = IdempotencyKey(key="k", body_hash="0" * 64)

    one, other = both(shared, _submit, draft, key, most_queued=10)

    assert isinstance(one, Submission)
    assert (one.created, other.created) == (True, False)
    assert other.batch.id == one.batch.id
    assert len(shared.read_now(jobs.page, limit=10)) == 1


def test_two_workers_that_start_at_once_on_a_new_host_make_one_row_of_it(shared: Database) -> None:
    one, other = both(shared, jobs.register_host, "http://gpu:11434")
    assert one == other

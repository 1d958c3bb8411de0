"""The history of a batch, on both databases: what it tells, and how much of it is kept."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from promptmill.domain.lifecycle import JobState
from promptmill.domain.reading import HistoryEvent
from promptmill.store.batches import history, jobs, transitions
from promptmill.store.db.tables.history import job_history
from promptmill.store.queue import bulk
from tests.store.farm import Farm, failure


def events(farm: Farm, batch_id: str) -> list[tuple[str, str]]:
    told = farm.database.read_now(history.of_batch, batch_id)
    assert [one.at_ms for one in told] == sorted(one.at_ms for one in told)
    return [(one.event.value, one.state.value) for one in told]


def rows(farm: Farm) -> int:
    count = sa.select(sa.func.count()).select_from(job_history)
    return farm.database.read_now(lambda tx: tx.execute(count).scalar_one())


def work_off(farm: Farm, batch_id: str, outcome: Any = None) -> None:
    while leases := farm.leases():
        farm.complete(*leases, outcome=outcome) if outcome else farm.complete(*leases)
    farm.close()
    assert farm.batch(batch_id).finished_at_ms


def test_a_batch_that_nobody_touched_has_a_history_without_a_row(farm: Farm) -> None:
    batch_id = farm.submit(2)
    assert events(farm, batch_id) == [("created", "queued")]
    work_off(farm, batch_id)
    assert events(farm, batch_id) == [
        ("created", "queued"),
        ("started", "running"),
        ("ended", "completed"),
    ]
    assert rows(farm) == 0


def test_an_end_that_a_retry_undoes_stays_in_the_history(farm: Farm) -> None:
    batch_id = farm.submit(1, max_attempts=1)
    work_off(farm, batch_id, failure())

    def again(tx: Any) -> None:
        bulk.run_again(tx, transitions.reopen(tx, batch_id, expires_in_s=None))
        history.note(tx, batch_id, HistoryEvent.RETRIED, detail="1 prompt")

    farm.database.write_now(again)
    work_off(farm, batch_id)

    told = farm.database.read_now(history.of_batch, batch_id)
    assert [(one.event.value, one.state.value) for one in told][2:] == [
        ("ended", "failed"),
        ("retried", "running"),
        ("ended", "completed"),
    ]
    assert "None of the 1 prompts succeeded" in (told[2].detail or "")
    assert (told[3].detail, told[4].detail) == ("1 prompt", None)


def test_of_many_changes_the_newest_are_kept_and_a_deleted_batch_keeps_none(farm: Farm) -> None:
    batch_id = farm.submit(1)

    def note_many(tx: Any) -> None:
        for number in range(history.MOST_KEPT + 3):
            history.note(tx, batch_id, HistoryEvent.CHANGED, detail=str(number))

    farm.database.write_now(note_many)
    told = farm.database.read_now(history.of_batch, batch_id)
    details = [int(one.detail) for one in told if one.detail]
    assert details == list(range(3, history.MOST_KEPT + 3))
    assert {one.state for one in told} == {JobState.QUEUED}

    farm.database.write_now(transitions.request_cancel, batch_id)
    farm.sweep_cancelled()
    farm.close()
    farm.database.write_now(jobs.BATCHES.mark_deleted, batch_id)
    while farm.database.write_now(jobs.purge_some):
        pass
    assert rows(farm) == 0

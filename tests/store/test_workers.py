"""The register of workers, and when the next lease runs out."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from promptmill.domain.workers import Worker, WorkerIdentity, WorkerState
from promptmill.store.db.database import Database
from promptmill.store.hosts import workers
from tests.store.farm import LEASE_MS, Farm

DAY_S = 24 * 60 * 60


def identity(name: str = "w1") -> WorkerIdentity:
    return WorkerIdentity(id=name, host_name="gpu", pid=7, version="0.1.0", concurrency=256)


def listed(database: Database) -> dict[str, Worker]:
    found = database.read_now(workers.list_workers, lease_ms=LEASE_MS)
    return {worker.identity.id: worker for worker in found}


def states(database: Database) -> dict[str, str]:
    return {name: worker.state.value for name, worker in listed(database).items()}


def touch(database: Database, name: str = "w1", *, finished: int = 0, fenced: int = 0) -> None:
    database.write_now(
        workers.touch, identity(name), exchanged_ago_ms=2_000, finished=finished, fenced=fenced
    )


def test_a_worker_is_alive_while_it_is_seen_within_the_lease(
    database: Database, clock: Any
) -> None:
    database.write_now(workers.register, identity())
    assert states(database) == {"w1": "alive"}

    clock.forward(30)
    assert states(database) == {"w1": "alive"}
    clock.forward(0.001)
    assert states(database) == {"w1": "lost"}

    touch(database)
    assert states(database) == {"w1": "alive"}


def test_a_worker_that_said_goodbye_has_stopped_and_is_never_lost(
    database: Database, clock: Any
) -> None:
    database.write_now(workers.register, identity())
    clock.forward(5)
    database.write_now(workers.mark_stopped, "w1", finished=3, fenced=1)
    # A heartbeat that was under way when it stopped does not bring it back.
    touch(database, finished=2)

    clock.forward(3600)

    (worker,) = listed(database).values()
    assert worker.state is WorkerState.STOPPED
    assert worker.stopped_at_ms == worker.started_at_ms + 5_000


def test_a_worker_tells_who_it_is_and_what_it_has_done(database: Database, clock: Any) -> None:
    started = clock()
    database.write_now(workers.register, identity())
    clock.forward(10)
    touch(database, finished=41, fenced=2)

    assert listed(database) == {
        "w1": Worker(
            identity=identity(),
            state=WorkerState.ALIVE,
            in_flight=0,
            finished=41,
            fenced=2,
            started_at_ms=started,
            seen_at_ms=started + 10_000,
            exchanged_at_ms=started + 8_000,
            stopped_at_ms=None,
        )
    }


def test_each_worker_is_shown_with_the_prompts_that_it_runs(farm: Farm) -> None:
    for name in ("w1", "w2", "idle"):
        farm.database.write_now(workers.register, identity(name))
    farm.submit(5)
    mine = farm.leases(2, owner="w1")
    farm.leases(1, owner="w2")
    farm.complete(mine[0])

    in_flight = {name: one.in_flight for name, one in listed(farm.database).items()}

    assert in_flight == {"w1": 1, "w2": 1, "idle": 0}


def test_those_that_have_not_stopped_come_first_and_of_them_the_newest(
    database: Database, clock: Any
) -> None:
    for name in ("old", "gone", "new"):
        database.write_now(workers.register, identity(name))
        clock.forward(1)
    database.write_now(workers.mark_stopped, "gone", finished=0, fenced=0)

    assert list(listed(database)) == ["new", "old", "gone"]


def test_who_was_silent_for_a_day_is_not_shown_and_forgotten_when_the_next_one_starts(
    database: Database, clock: Any
) -> None:
    database.write_now(workers.register, identity("old"))
    clock.forward(DAY_S - 1)
    database.write_now(workers.register, identity("younger"))
    assert set(listed(database)) == {"old", "younger"}

    clock.forward(2)
    assert set(listed(database)) == {"younger"}
    assert rows(database) == 2
    database.write_now(workers.register, identity("new"))

    assert rows(database) == 2


def test_a_worker_that_was_forgotten_is_there_again_at_its_next_heartbeat(
    database: Database, clock: Any
) -> None:
    database.write_now(workers.register, identity("frozen"))
    clock.forward(DAY_S + 1)
    database.write_now(workers.register, identity("other"))

    touch(database, "frozen", finished=9)

    assert states(database) == {"frozen": "alive", "other": "alive"}
    assert listed(database)["frozen"].finished == 9


def test_the_next_end_of_a_lease_is_that_of_the_first_running_prompt(
    farm: Farm, clock: Any
) -> None:
    assert farm.database.read_now(workers.next_lease_end_ms) is None
    farm.submit(3)
    assert farm.database.read_now(workers.next_lease_end_ms) is None

    first = farm.leases(1)
    clock.forward(20)
    farm.leases(1)
    assert farm.database.read_now(workers.next_lease_end_ms) == 10_000
    clock.forward(11)
    assert farm.database.read_now(workers.next_lease_end_ms) == -1_000
    farm.complete(*first)

    assert farm.database.read_now(workers.next_lease_end_ms) == LEASE_MS - 11_000


def test_the_next_end_of_a_lease_is_found_by_its_index(farm: Farm) -> None:
    farm.submit(2_000)
    farm.leases(1)
    statement = str(workers._NEXT_LEASE_END)
    explain = "EXPLAIN QUERY PLAN" if farm.database.is_sqlite else "EXPLAIN"

    def plan(tx: Any) -> str:
        if not farm.database.is_sqlite:
            tx.execute(sa.text("ANALYZE task"))
        return "\n".join(str(row) for row in tx.execute(sa.text(f"{explain} {statement}")))

    assert "ix_task_lease" in farm.database.write_now(plan)


def rows(database: Database) -> int:
    return database.read_now(
        lambda tx: tx.execute(sa.text("SELECT count(*) FROM worker")).scalar_one()
    )

"""Online calls among the prompts of batches: slots are exact, and the next free one is theirs."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.domain.retry import Finish
from promptmill.store.batches import jobs, uploads
from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.tables.batches import host, job, job_stats, prompt, task
from promptmill.store.hosts.hosts import register_host
from promptmill.store.openai import online
from promptmill.store.openai.online import Ticket
from promptmill.store.queue import claims, completions
from promptmill.store.queue.leases import Completion, HostShare
from tests.store.farm import LEASE_MS, Farm, answer

URL = "http://ollama:11434"
_numbers = itertools.count()


def ask(
    database: Database, slots: int | None = 2, *, url: str = URL, machine: str | None = None
) -> Ticket:
    ticket = database.write_now(
        online.ask,
        url=url,
        machine=machine,
        slots=slots,
        model="m",
        job_id=f"batch_online{next(_numbers)}",
        owner="api",
        lease_ms=LEASE_MS,
    )
    assert ticket is not None
    return ticket


def start(database: Database, ticket: Ticket) -> bool:
    return database.write_now(online.start, ticket)


def test_the_next_slot_that_becomes_free_is_left_to_a_call_that_waits(farm: Farm) -> None:
    farm.submit(5)
    running = farm.leases(slots=2)
    assert len(running) == 2
    ticket = ask(farm.database)
    assert not start(farm.database, ticket)

    farm.complete(running[0])

    assert farm.leases(slots=2) == []
    assert start(farm.database, ticket)
    assert farm.leases(slots=2) == []
    farm.database.write_now(online.leave, ticket)
    assert len(farm.leases(slots=2)) == 1


def test_the_worker_that_frees_a_slot_does_not_fill_it_before_a_call_that_waits(
    farm: Farm,
) -> None:
    farm.submit(5)
    first, _ = farm.leases(slots=2)
    ask(farm.database)

    def exchange(tx: Transaction) -> int:
        done = Completion(
            lease=first,
            outcome=answer(first),
            decision=Finish(),
            host_url=URL,
            started_at_ms=0,
            finished_at_ms=1,
        )
        freed = completions.complete(tx, [done]).freed[farm.host_key]
        share = HostShare(key=farm.host_key, url=URL, slots=2)
        claimed = claims.claim(
            tx, wanted=9, owner="w1", lease_ms=LEASE_MS, share=share, freed=freed
        )
        return len(claimed)

    assert farm.database.write_now(exchange) == 0


def test_calls_that_wait_start_in_the_order_in_which_they_came(farm: Farm) -> None:
    first, second, third = (ask(farm.database) for _ in range(3))

    assert not start(farm.database, third)
    assert start(farm.database, second)
    assert start(farm.database, first)
    assert not start(farm.database, third)
    farm.database.write_now(online.leave, second)
    assert start(farm.database, third)


def test_a_host_without_slots_takes_every_call(farm: Farm) -> None:
    assert all(start(farm.database, ask(farm.database, None)) for _ in range(5))


@pytest.mark.parametrize("closed", [{"held_by": 1}, {"closed_at_ms": 1}])
def test_a_host_that_a_benchmark_has_or_that_is_out_of_service_takes_none(
    farm: Farm, closed: dict[str, int]
) -> None:
    ticket = ask(farm.database)
    farm.database.write_now(lambda tx: tx.execute(sa.update(host).values(closed)))

    assert farm.database.read_now(online.may_start, ticket) is None
    assert not start(farm.database, ticket)


def test_a_call_whose_process_died_frees_its_slot_and_is_removed(farm: Farm, clock) -> None:
    ticket = ask(farm.database)
    assert start(farm.database, ticket)
    assert farm.database.write_now(online.keep, ticket, lease_ms=LEASE_MS)
    clock.forward(LEASE_MS / 1000 + 1)
    farm.database.write_now(completions.rescue)

    assert not farm.database.write_now(online.keep, ticket, lease_ms=LEASE_MS)
    farm.submit(5)
    assert len(farm.leases(slots=2)) == 2

    clock.forward(3601)
    assert farm.database.write_now(uploads.discard_abandoned, silent_ms=3_600_000) == 1
    while farm.database.write_now(jobs.purge_some):
        pass
    own = {
        table.name: farm.database.read_now(
            lambda tx, table=table: tx.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
        )
        for table in (job, job_stats, prompt, task)
    }
    assert own == {"job": 1, "job_stats": 1, "prompt": 5, "task": 5}


@pytest.fixture
def shared(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close_now()


def test_slots_are_never_exceeded_over_workers_and_processes_with_online_calls(
    shared: Database,
) -> None:
    """Two workers and four callers at two slots, each looking what runs after it has begun."""
    slots, prompts = 2, 60
    draft = BatchDraft(
        prompts=[PromptDraft(str(n)) for n in range(prompts)],
        model="m",
        limits=Limits(max_concurrent=50, rate_limit_delay_s=0),
    )
    shared.write_now(jobs.insert, draft, batch_id="batch_1")
    host_key = shared.write_now(register_host, URL)
    share = HostShare(key=host_key, url=URL, slots=slots)
    begun = sa.select(sa.func.count()).where(task.c.state == "running", task.c.attempt > 0)

    def running() -> int:
        return shared.read_now(lambda tx: tx.execute(begun).scalar_one())

    def work(owner: str) -> int:
        done, most = 0, 0
        deadline = time.monotonic() + 60
        finished: list[Completion] = []
        while time.monotonic() < deadline:

            def exchange(tx: Transaction, finished=finished):
                recorded = completions.complete(tx, finished) if finished else None
                freed = recorded.freed.get(host_key, 0) if recorded else 0
                return claims.claim(
                    tx, wanted=9, owner=owner, lease_ms=LEASE_MS, share=share, freed=freed
                )

            leases = shared.write_now(exchange)
            done += len(finished)
            most = max(most, running())
            time.sleep(random.uniform(0, 0.005))
            finished = [
                Completion(
                    lease=lease,
                    outcome=answer(lease),
                    decision=Finish(),
                    host_url=URL,
                    started_at_ms=0,
                    finished_at_ms=1,
                )
                for lease in leases
            ]
            if (
                not finished
                and shared.read_now(
                    lambda tx: tx.execute(
                        sa.select(sa.func.count()).where(
                            task.c.job_key == 1, task.c.state.in_(["pending", "running"])
                        )
                    ).scalar_one()
                )
                == 0
            ):
                break
        return most

    def call(_: int) -> int:
        most = 0
        for _ in range(8):
            ticket = ask(shared, slots)
            while not start(shared, ticket):
                time.sleep(random.uniform(0, 0.005))
            most = max(most, running())
            time.sleep(random.uniform(0, 0.005))
            shared.write_now(online.leave, ticket)
        return most

    with ThreadPoolExecutor(6) as threads:
        workers = [threads.submit(work, f"w{n}") for n in range(2)]
        callers = [threads.submit(call, n) for n in range(4)]
        found = [each.result(90) for each in (*workers, *callers)]

    assert max(found) == slots
    assert shared.read_now(jobs.get, "batch_1").counts.succeeded == prompts


@pytest.mark.postgresql
def test_a_loopback_host_of_another_machine_has_slots_of_its_own(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    local = "http://127.0.0.1:11434"
    tickets = [ask(database, 1, url=local, machine=name) for name in ("one", "two", "one")]
    started = [start(database, ticket) for ticket in tickets]
    database.close_now()
    assert started == [True, True, False]

"""Groups: prompts wait for a host that has loaded what they need, and hosts switch by draining."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from promptmill.domain.batches import PromptDraft
from promptmill.domain.limits import Limits
from promptmill.store.batches import jobs, transitions
from promptmill.store.benchmarks import execution, registry
from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.tables.batches import job
from promptmill.store.hosts import model_switching
from promptmill.store.hosts.hosts import register_host
from promptmill.store.hosts.model_switching import HostView, SwitchNeed
from promptmill.store.queue import candidates, claims
from promptmill.store.queue.leases import HostShare, Lease
from tests.store.farm import Farm, answer
from tests.store.test_races import until_somebody_waits_for_a_lock

TURN_MS = 60_000
WIDE = Limits(max_concurrent=9, rate_limit_delay_s=0)


class Grouped(Farm):
    """Workers whose hosts run only what they have loaded."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.share = HostShare(
            key=self.host_key, url="http://ollama:11434", slots=None, grouped=True
        )
        other = database.write_now(register_host, "http://other:11434")
        self.other = HostShare(key=other, url="http://other:11434", slots=None, grouped=True)

    def claim(self, wanted: int = 100, share: HostShare | None = None) -> list[Lease]:
        return list(
            self.database.write_now(
                claims.claim,
                wanted=wanted,
                owner="w",
                lease_ms=30_000,
                share=share or self.share,
            )
        )

    def advance(self, share: HostShare | None = None, **seen) -> bool:
        view = HostView(key=(share or self.share).key, turn_ms=TURN_MS, **seen)
        return self.database.write_now(model_switching.advance, view)

    def runs(self, share: HostShare | None = None) -> list[str]:
        found = self.database.read_now(model_switching.names_by_host)
        return found.get((share or self.share).key, [])

    def claimed_models(self, **options) -> list[str]:
        return [lease.call.model for lease in self.claim(**options)]


@pytest.fixture
def grouped(database: Database) -> Grouped:
    return Grouped(database)


def mixed(*models: str) -> list[PromptDraft]:
    return [PromptDraft(f"{model}?", None, {"model": model}) for model in models]


def test_a_host_that_runs_nothing_takes_up_what_waits_and_nothing_starts_before(grouped) -> None:
    grouped.submit(3)

    assert grouped.claim() == []
    assert (
        grouped.database.read_now(model_switching.switch_need_of, grouped.host_key)
        is SwitchNeed.PLAIN
    )
    assert grouped.advance()

    assert grouped.runs() == ["qwen3:8b"]
    assert len(grouped.claim()) == 3
    assert not grouped.advance(), "nothing else waits"


def test_a_batch_for_the_same_group_starts_at_once(grouped) -> None:
    grouped.submit(1)
    grouped.advance()
    grouped.complete(*grouped.claim())

    grouped.submit(1, model="QWEN3:8B ")

    assert len(grouped.claim()) == 1
    assert (
        grouped.database.read_now(model_switching.switch_need_of, grouped.host_key)
        is SwitchNeed.NONE
    )


@pytest.mark.parametrize(
    ("parameters", "group"),
    [
        ({"options": {"temperature": 0, "seed": 1}}, "qwen3:8b"),
        ({"options": {"num_ctx": 4096}}, 'qwen3:8b {"num_ctx":4096}'),
        ({"shift": False}, 'qwen3:8b {"shift":false}'),
        ({"system": "Be brief."}, "qwen3:8b"),
    ],
)
def test_a_group_is_the_model_with_what_it_is_loaded_with(grouped, parameters, group) -> None:
    grouped.submit(1, parameters=parameters)
    grouped.advance()

    assert grouped.runs() == [group]


def test_the_prompts_of_a_mixed_batch_go_out_group_by_group(grouped) -> None:
    grouped.submit(prompts=mixed("a", "b", "a", "c", "b", "a"), limits=WIDE)
    order = []
    while (
        grouped.advance()
        or grouped.database.read_now(model_switching.switch_need_of, grouped.host_key)
        is not SwitchNeed.NONE
    ):
        while leases := grouped.claim():
            order += [lease.call.model for lease in leases]
            grouped.complete(*leases)

    assert order == ["a", "a", "a", "b", "b", "c"]


def test_a_host_drains_before_it_switches(grouped) -> None:
    grouped.submit(2, model="a")
    grouped.advance()
    running = grouped.claim()
    grouped.submit(2, model="b")

    assert grouped.advance(), "it is told to switch"
    assert (grouped.runs(), grouped.claim()) == ([], [])
    assert not grouped.advance(), "and still drains"
    grouped.complete(running[0])
    assert not grouped.advance()
    grouped.complete(running[1])

    assert grouped.advance()
    assert grouped.claimed_models() == ["b", "b"]


def test_a_host_goes_on_while_its_group_has_work_and_its_turn_is_not_over(grouped, clock) -> None:
    grouped.submit(100, model="a", limits=Limits(max_concurrent=1, rate_limit_delay_s=0))
    grouped.advance()
    lease = grouped.claim()
    grouped.submit(1, model="b")

    assert not grouped.advance()
    clock.forward(TURN_MS / 1000 - 1)
    assert not grouped.advance()
    clock.forward(1)
    assert grouped.advance()
    assert grouped.claim() == [], "the first group has to stop, although it has work"
    grouped.complete(*lease)
    grouped.advance()
    assert grouped.claimed_models() == ["b"]


def test_a_group_of_higher_priority_comes_sooner_but_not_at_once(grouped, clock) -> None:
    grouped.submit(100, model="a", limits=Limits(max_concurrent=1, rate_limit_delay_s=0))
    grouped.advance()
    grouped.submit(1, model="b", priority=5)

    assert not grouped.advance()
    clock.forward(TURN_MS / 4000)
    assert grouped.advance()


def test_among_waiting_groups_priority_goes_first_then_what_is_loaded_then_the_longest_wait(
    grouped, clock
) -> None:
    for model, priority in (("old", 0), ("loaded", 0), ("urgent", 9)):
        grouped.submit(1, model=model, priority=priority)
        clock.forward(1)
    order = []
    for _ in range(3):
        while not grouped.claim(wanted=0) and grouped.advance(loaded=frozenset({"loaded:latest"})):
            leases = grouped.claim()
            order += [lease.call.model for lease in leases]
            grouped.complete(*leases)
            if leases:
                break

    assert order == ["urgent", "loaded", "old"]


def test_a_model_that_is_loaded_already_runs_beside_the_other_without_draining(grouped) -> None:
    grouped.submit(2, model="a")
    grouped.advance()
    grouped.claim(wanted=1)
    grouped.submit(1, model="b")

    assert grouped.advance(loaded=frozenset({"a:latest", "b:latest"}))

    assert set(grouped.runs()) == {"a:latest", "b:latest"}
    assert sorted(grouped.claimed_models()) == ["a", "b"]


def test_with_load_options_it_has_to_drain_also_when_the_model_is_loaded(grouped) -> None:
    grouped.submit(1, model="a")
    grouped.advance()
    grouped.claim()
    grouped.submit(1, model="a", parameters={"options": {"num_ctx": 512}})

    assert grouped.advance(loaded=frozenset({"a:latest"}))

    assert grouped.runs() == []


def test_a_host_takes_up_nothing_that_it_cannot_run(grouped) -> None:
    grouped.submit(1, model="a")

    assert not grouped.advance(can_run=lambda model: model != "a:latest")
    assert grouped.advance(can_run=lambda model: model == "a:latest")


def test_hosts_take_up_different_groups_where_they_can(grouped) -> None:
    grouped.submit(2, model="a")
    grouped.submit(2, model="b")

    grouped.advance()
    grouped.advance(grouped.other)

    assert (grouped.runs(), grouped.runs(grouped.other)) == (["a:latest"], ["b:latest"])
    assert grouped.claimed_models(share=grouped.other) == ["b", "b"]


def test_a_second_host_takes_up_the_same_group_when_nothing_else_waits(grouped) -> None:
    grouped.submit(2, model="a")
    grouped.advance()

    assert grouped.advance(grouped.other)
    assert len(grouped.claim(wanted=1)) == len(grouped.claim(wanted=1, share=grouped.other)) == 1


def test_a_paused_batch_holds_no_host(grouped) -> None:
    first = grouped.submit(5, model="a", limits=Limits(max_concurrent=1, rate_limit_delay_s=0))
    grouped.advance()
    grouped.complete(*grouped.claim())
    grouped.submit(1, model="b")
    assert not grouped.advance()

    grouped.database.write_now(transitions.request_pause, first)

    assert grouped.advance()


def test_what_waits_for_its_next_attempt_holds_no_host(grouped, clock) -> None:
    from promptmill.domain.retry import TryAgain
    from tests.store.farm import failure

    grouped.submit(1, model="a")
    grouped.advance()
    grouped.complete(
        *grouped.claim(), outcome=failure(), decision=TryAgain(wait_s=100.0, charged=True)
    )
    grouped.submit(1, model="b")

    assert grouped.advance()
    grouped.advance()
    grouped.complete(*grouped.claim())
    clock.forward(101)
    assert grouped.advance()
    grouped.advance()
    assert grouped.claimed_models() == ["a"]


def test_a_benchmark_that_has_the_host_is_not_disturbed_by_a_switch(grouped) -> None:
    from promptmill.domain.benchmarks.records import BenchmarkDraft

    draft = BenchmarkDraft(models=("a",))
    grouped.database.write_now(registry.insert, draft, benchmark_id="bench_1")
    grouped.submit(1, model="b")
    lease = grouped.database.write_now(
        execution.take_up, owner="w", lease_ms=1000, host_key=grouped.host_key
    )
    assert not grouped.advance()

    grouped.database.write_now(execution.end, lease, has_success=True, error=None)

    assert grouped.advance()


def test_prompts_that_were_stored_while_grouping_was_off_run_as_a_group_of_their_own(
    grouped,
) -> None:
    grouped.submit(2)
    grouped.database.write_now(
        lambda tx: [
            tx.connection.exec_driver_sql(text)
            for text in ("UPDATE task SET group_key = 0", "UPDATE job_group SET group_key = 0")
        ]
    )

    assert grouped.advance()
    assert len(grouped.claim()) == 2


def test_without_grouping_every_prompt_goes_out_whatever_the_host_runs(grouped) -> None:
    grouped.submit(prompts=mixed("a", "b", "c"), limits=WIDE)

    assert len(grouped.leases()) == 3


def test_a_deleted_batch_leaves_no_groups_behind(grouped) -> None:
    batch = grouped.submit(1)
    grouped.advance()
    grouped.complete(*grouped.claim())
    grouped.close()
    grouped.database.write_now(jobs.BATCHES.mark_deleted, batch)
    while grouped.database.write_now(jobs.purge_some):
        pass

    left = grouped.database.read_now(
        lambda tx: tx.connection.exec_driver_sql("SELECT count(*) FROM job_group").scalar()
    )
    assert left == 0


@pytest.mark.postgresql
def test_a_switch_waits_for_the_claim_that_was_under_way_when_it_began(postgresql_url) -> None:
    shared = Database(postgresql_url)
    farm = Grouped(shared)
    farm.submit(3, model="a")
    farm.advance()
    farm.submit(1, model="b")
    begun, claimed = threading.Event(), threading.Event()

    def claim_slowly(tx: Transaction) -> Sequence[Lease]:
        leases = claims.claim(tx, wanted=3, owner="w", lease_ms=30_000, share=farm.share)
        claimed.set()
        assert begun.wait(10)
        until_somebody_waits_for_a_lock(shared)
        return leases

    with ThreadPoolExecutor(2) as threads:
        claiming = threads.submit(shared.write_now, claim_slowly)
        assert claimed.wait(10)
        shared.write_now(lambda tx: model_switching._begin_switch(tx, farm.host_key, 2))
        begun.set()
        assert not farm.advance(), "it sees what was claimed meanwhile, and waits for it"
        leases = claiming.result(20)
    assert len(leases) == 3
    for lease in leases:
        farm.complete(lease, outcome=answer(lease))
    assert farm.advance()
    assert farm.runs() == ["b:latest"]
    shared.close_now()


@pytest.mark.postgresql
def test_of_two_workers_that_wake_an_idle_host_one_takes_the_group_up(postgresql_url) -> None:
    shared = Database(postgresql_url)
    farm = Grouped(shared)
    farm.submit(3)
    begun = threading.Event()

    def take_up_and_claim(tx: Transaction) -> Sequence[Lease]:
        assert model_switching.advance(tx, HostView(key=farm.host_key))
        begun.set()
        until_somebody_waits_for_a_lock(shared)
        return claims.claim(tx, wanted=1, owner="w", lease_ms=30_000, share=farm.share)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.write_now, take_up_and_claim)
        assert begun.wait(10)
        changed = farm.advance()
        assert len(first.result(20)) == 1

    assert not changed
    assert farm.runs() == ["qwen3:8b"]
    assert len(farm.claim()) == 2, "the host does not drain"
    shared.close_now()


@pytest.mark.postgresql
def test_a_look_at_a_host_that_drains_waits_for_no_batch(postgresql_url) -> None:
    shared = Database(postgresql_url)
    farm = Grouped(shared)
    farm.submit(1, model="a")
    farm.advance()
    farm.claim()
    farm.submit(1, model="b")
    assert farm.advance()

    def while_a_batch_is_locked(tx: Transaction) -> bool:
        tx.execute(sa.select(job.c.key).with_for_update()).all()
        with ThreadPoolExecutor(1) as threads:
            return threads.submit(farm.advance).result(5)

    assert not shared.write_now(while_a_batch_is_locked)
    shared.close_now()


def test_a_second_look_at_a_host_that_has_taken_a_group_up_changes_nothing(grouped) -> None:
    grouped.submit(3)
    assert grouped.advance()
    grouped.claim(wanted=1)

    assert not grouped.advance()
    assert grouped.runs() == ["qwen3:8b"]
    assert len(grouped.claim()) == 2


def test_a_share_without_slots_stays_as_it_was(grouped) -> None:
    slots = replace(grouped.share, slots=1)
    grouped.submit(3)
    grouped.advance()

    assert len(grouped.claim(share=slots)) == 1
    assert grouped.claim(share=slots) == []


@pytest.mark.postgresql
def test_a_claim_that_chose_its_job_before_the_switch_began_gives_out_nothing(
    postgresql_url,
) -> None:
    shared = Database(postgresql_url)
    farm = Grouped(shared)
    farm.submit(3, model="a")
    farm.advance()

    def claim_while_the_host_begins_to_switch(tx: Transaction) -> Sequence[Lease]:
        candidate = candidates.Candidates(tx, candidates.NEVER_MS, farm.share).lock_next()
        assert candidate is not None
        with ThreadPoolExecutor(1) as threads:
            threads.submit(
                shared.write_now,
                lambda other: model_switching._begin_switch(other, farm.host_key, 2),
            ).result(20)
        terms = claims.Terms(owner="w", lease_ms=30_000, share=farm.share)
        return claims._take(tx, candidate, candidates.Moment.read(tx), 3, terms)

    assert shared.write_now(claim_while_the_host_begins_to_switch) == []
    shared.close_now()


def test_a_group_whose_model_has_left_the_memory_no_longer_runs_beside_the_other(grouped) -> None:
    grouped.submit(1, model="a")
    grouped.advance()
    assert not grouped.database.read_now(model_switching.runs_several, grouped.host_key)
    grouped.submit(1, model="b")
    grouped.advance(loaded=frozenset({"a:latest", "b:latest"}))
    assert grouped.database.read_now(model_switching.runs_several, grouped.host_key)

    grouped.database.write_now(
        model_switching.forget_unloaded, grouped.host_key, frozenset({"b:latest"})
    )
    assert grouped.runs() == ["b:latest"]
    grouped.database.write_now(model_switching.forget_unloaded, grouped.host_key, frozenset())
    assert grouped.runs() == ["b:latest"], "the last one stays: it will be loaded again"

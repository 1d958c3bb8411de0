"""Batches that wait for their models, and the pulls that they wait for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.benchmarks.records import BenchmarkDraft
from promptmill.domain.lifecycle import JobState
from promptmill.domain.outcomes import ErrorCode
from promptmill.domain.scheduling.downloads import MOST_ATTEMPTS, Progress, PullState, Sight
from promptmill.store.batches import jobs, transitions, uploads
from promptmill.store.benchmarks import execution, registry
from promptmill.store.db.database import Database
from promptmill.store.db.tables.batches import host
from promptmill.store.db.tables.downloads import job_model, job_pull, pull
from promptmill.store.downloads import planning, pulls
from promptmill.store.downloads.planning import Plan
from promptmill.store.downloads.pulls import PullLease
from promptmill.store.hosts import exclusivity, model_switching
from promptmill.store.hosts.hosts import register_host, set_enabled
from promptmill.store.hosts.model_switching import HostView, SwitchNeed
from promptmill.store.queue import bulk, candidates
from promptmill.store.queue.leases import HostShare
from tests.conftest import FakeClock
from tests.store.farm import UNPACED, Farm, failure

LEASE_MS = 3_000
MODEL = "qwen3:8b"
TWO = [PromptDraft("a"), PromptDraft("b", None, {"model": "B"})]


@pytest.fixture
def sight(farm: Farm) -> Sight:
    """The farm's host, which can be reached and has nothing."""
    return Sight(host_key=farm.host_key, models=frozenset(), is_open=True)


@pytest.fixture
def other(farm: Farm, sight: Sight) -> Sight:
    """Another such host."""
    return replace(sight, host_key=farm.database.write_now(register_host, "http://other"))


def plan(farm: Farm, *sights: Sight, owner: str = "w1", everywhere: bool = False) -> Plan:
    since_ms = farm.database.read_now(planning.looked_at_ms)
    return farm.database.write_now(
        planning.plan,
        sights,
        since_ms=since_ms or 0,
        everywhere=everywhere,
        owner=owner,
        lease_ms=LEASE_MS,
    )


def has(sight: Sight, *models: str) -> Sight:
    return replace(sight, models=frozenset(models))


def the_lease(farm: Farm, *sights: Sight) -> PullLease:
    (lease,) = plan(farm, *sights).leases
    return lease


def succeed(farm: Farm, lease: PullLease) -> bool:
    return farm.database.write_now(pulls.succeed, lease, None)


def fail(farm: Farm, lease: PullLease, **more: Any) -> bool:
    return farm.database.write_now(pulls.fail, lease, "it broke", **{"wait_s": 1.0, **more})


def states(farm: Farm, batch_id: str) -> list[PullState]:
    return [one.state for one in farm.batch(batch_id).pulls]


def rows(database: Database) -> list[int]:
    def count(tx: Any) -> list[int]:
        tables = (job_model, job_pull, pull)
        return [
            tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in tables
        ]

    return database.read_now(count)


# --- the waiting ----------------------------------------------------------------------------------


def test_nothing_of_a_batch_starts_until_its_models_are_there(farm: Farm, sight: Sight) -> None:
    batch_id = farm.submit(TWO, auto_pull=True)
    assert farm.leases() == []

    assert plan(farm, has(sight, MODEL)).released == 0
    assert farm.leases() == []
    assert plan(farm, has(sight, MODEL, "b:latest")).released == 1

    assert len(farm.leases()) == 2
    assert farm.batch(batch_id).auto_pull


def test_a_batch_that_waits_keeps_no_other_one_and_no_worker(farm: Farm, clock: FakeClock) -> None:
    farm.submit(5, auto_pull=True, priority=100)
    assert farm.next_due_in_ms() is None
    share = HostShare(key=farm.host_key, url="http://ollama:11434", slots=None)
    assert not farm.database.read_now(candidates.may_start_now, share)

    farm.submit(2)

    assert len(farm.leases()) == 2


def test_a_batch_that_waits_lets_no_host_switch(farm: Farm, sight: Sight) -> None:
    farm.submit(auto_pull=True)
    view = HostView(key=farm.host_key)
    assert farm.database.read_now(model_switching.switch_need_of, farm.host_key) is SwitchNeed.NONE
    assert not farm.database.write_now(model_switching.advance, view)

    plan(farm, has(sight, MODEL))

    assert farm.database.write_now(model_switching.advance, view)


def test_a_batch_whose_prompts_all_have_a_model_does_not_wait_for_its_own(
    farm: Farm, sight: Sight
) -> None:
    farm.submit(TWO[1:], auto_pull=True)

    assert plan(farm, has(sight, "b:latest")).released == 1


def test_an_upload_waits_for_the_models_of_all_its_pieces(farm: Farm, sight: Sight) -> None:
    draft = BatchDraft(prompts=(), model="A", limits=UNPACED, auto_pull=True)
    write = farm.database.write_now
    key = write(uploads.begin, draft, TWO[:1], batch_id="batch_hidden")
    write(uploads.extend, key, TWO, first_index=1)
    assert farm.database.read_now(planning.looked_at_ms) is None
    write(uploads.complete, key, draft, batch_id="batch_1", total=3, idempotency=None)

    assert plan(farm, has(sight, "a:latest")).released == 0
    assert plan(farm, has(sight, "a:latest", "b:latest")).released == 1
    assert len(farm.leases()) == 3


def test_without_auto_pull_nothing_is_noted(farm: Farm, sight: Sight) -> None:
    farm.submit(TWO)

    assert farm.database.read_now(planning.looked_at_ms) is None
    assert plan(farm, sight) == Plan(released=0, leases=[])
    assert rows(farm.database) == [0, 0, 0]


def test_a_batch_waits_while_no_host_can_be_reached_and_says_so(farm: Farm, sight: Sight) -> None:
    batch_id = farm.submit(auto_pull=True)

    away = plan(farm, replace(sight, is_open=False))

    assert away == Plan(released=0, leases=[])
    (nowhere,) = farm.batch(batch_id).pulls
    assert (nowhere.model, nowhere.host, nowhere.state) == (MODEL, None, PullState.WAITING)


def test_a_model_that_no_host_may_be_asked_for_is_not_waited_for(farm: Farm, sight: Sight) -> None:
    farm.submit(auto_pull=True)

    assert plan(farm, replace(sight, only=frozenset({"b:latest"}))).released == 1


@pytest.mark.parametrize("event", ["cancel", "expire"])
def test_a_batch_that_waits_ends_like_any_other(
    farm: Farm, sight: Sight, clock: FakeClock, event: str
) -> None:
    batch_id = farm.submit(auto_pull=True, expires_in_s=60)
    lease = the_lease(farm, sight)
    if event == "cancel":
        farm.database.write_now(transitions.request_cancel, batch_id)
        farm.sweep_cancelled()
    else:
        clock.forward(61)
        farm.sweep_expired()
    farm.close()

    assert farm.batch(batch_id).state is JobState(
        {"cancel": "cancelled", "expire": "expired"}[event]
    )
    plan(farm, sight)
    assert states(farm, batch_id) == [PullState.CANCELLED]
    assert not farm.database.write_now(pulls.report, lease, None, lease_ms=LEASE_MS)
    assert farm.database.read_now(planning.looked_at_ms) is None


def test_a_paused_batch_goes_on_waiting_and_starts_when_it_is_resumed(
    farm: Farm, sight: Sight
) -> None:
    batch_id = farm.submit(auto_pull=True)
    lease = the_lease(farm, sight)
    farm.database.write_now(transitions.request_pause, batch_id)

    succeed(farm, lease)
    assert plan(farm, has(sight, MODEL)).released == 1
    assert farm.leases() == []
    farm.database.write_now(transitions.request_resume, batch_id)

    assert len(farm.leases()) == 3


def test_a_retry_waits_again_and_tries_a_failed_pull_again(farm: Farm, sight: Sight) -> None:
    batch_id = farm.submit(auto_pull=True)
    fail(farm, the_lease(farm, sight), is_final=True)
    assert plan(farm, sight).released == 1
    farm.complete(*farm.leases(), outcome=failure(ErrorCode.MODEL_NOT_FOUND))
    farm.close()
    assert states(farm, batch_id) == [PullState.FAILED]

    key = farm.database.write_now(transitions.reopen, batch_id, expires_in_s=None)
    farm.database.write_now(bulk.run_again, key)

    assert farm.leases() == []
    succeed(farm, the_lease(farm, sight))
    assert plan(farm, has(sight, MODEL)).released == 1
    assert states(farm, batch_id) == [PullState.SUCCEEDED]
    assert len(farm.leases()) == 3


def test_a_retry_of_another_batch_waits_for_nothing(farm: Farm) -> None:
    batch_id = farm.submit()
    farm.complete(*farm.leases(), outcome=failure())
    farm.close()

    key = farm.database.write_now(transitions.reopen, batch_id, expires_in_s=None)
    farm.database.write_now(bulk.run_again, key)

    assert len(farm.leases()) == 3


def test_a_deleted_batch_leaves_nothing_behind_and_a_pull_that_others_have_stays(
    farm: Farm, sight: Sight
) -> None:
    ids = [farm.submit(1, auto_pull=True) for _ in range(2)]
    succeed(farm, the_lease(farm, sight))
    plan(farm, has(sight, MODEL))
    farm.complete(*farm.leases())
    farm.close()

    left = []
    for batch_id in ids:
        farm.database.write_now(jobs.BATCHES.mark_deleted, batch_id)
        while farm.database.write_now(jobs.purge_some):
            pass
        left.append(rows(farm.database))

    assert left == [[1, 1, 1], [0, 0, 0]]


# --- the pulls ------------------------------------------------------------------------------------


def test_a_model_is_pulled_once_for_all_batches_and_workers(farm: Farm, sight: Sight) -> None:
    first = farm.submit(auto_pull=True)
    lease = the_lease(farm, sight)
    second = farm.submit(auto_pull=True)

    assert plan(farm, sight, owner="w2").leases == []
    progress = Progress(detail="pulling ab", completed_bytes=4, total_bytes=9)
    assert farm.database.write_now(pulls.report, lease, progress, lease_ms=LEASE_MS)

    for batch_id in (first, second):
        (one,) = farm.batch(batch_id).pulls
        assert (one.host, one.state) == ("http://ollama:11434", PullState.PULLING)
        assert (one.detail, one.completed_bytes, one.total_bytes) == ("pulling ab", 4, 9)
    assert [len(one.pulls) for one in farm.database.read_now(jobs.page, limit=10)] == [1, 1]
    assert succeed(farm, lease)
    assert plan(farm, has(sight, MODEL)).released == 2


def test_what_was_pulled_since_a_host_was_looked_at_is_not_pulled_again(
    farm: Farm, sight: Sight, other: Sight, clock: FakeClock
) -> None:
    farm.submit(auto_pull=True)
    lease = the_lease(farm, sight, other)
    since_ms = clock.now_ms
    clock.forward(1)
    succeed(farm, lease)
    farm.submit(auto_pull=True)

    later = farm.database.write_now(
        planning.plan,
        [sight, other],
        since_ms=since_ms,
        everywhere=False,
        owner="w2",
        lease_ms=LEASE_MS,
    )

    assert later == Plan(released=2, leases=[])


def test_a_pull_goes_to_the_host_with_the_fewest_and_else_to_the_first(
    farm: Farm, sight: Sight, other: Sight
) -> None:
    farm.submit([*TWO, PromptDraft("c", None, {"model": "c"})], auto_pull=True)

    leases = plan(farm, sight, other).leases

    assert [(lease.name, lease.host_key) for lease in leases] == [
        ("B", sight.host_key),
        ("c", other.host_key),
        (MODEL, sight.host_key),
    ]


def test_a_pull_that_failed_waits_and_after_its_last_attempt_another_host_is_tried(
    farm: Farm, sight: Sight, other: Sight, clock: FakeClock
) -> None:
    batch_id = farm.submit(auto_pull=True)
    for _ in range(MOST_ATTEMPTS - 1):
        assert fail(farm, the_lease(farm, sight, other))
        assert plan(farm, sight, other).leases == []
        clock.forward(1)
    # What is the host's failure costs nothing.
    assert fail(farm, the_lease(farm, sight, other), is_charged=False, wait_s=0)
    assert farm.batch(batch_id).pulls[0].error == "it broke"
    assert fail(farm, the_lease(farm, sight, other))

    assert the_lease(farm, sight, other).host_key == other.host_key
    assert states(farm, batch_id) == [PullState.FAILED, PullState.PULLING]


def test_when_all_hosts_have_failed_the_batch_waits_no_more(
    farm: Farm, sight: Sight, other: Sight
) -> None:
    batch_id = farm.submit(auto_pull=True)
    for _ in range(2):
        fail(farm, the_lease(farm, sight, other), is_final=True)
        assert farm.leases() == []

    assert plan(farm, sight, other).released == 1
    assert states(farm, batch_id) == [PullState.FAILED, PullState.FAILED]
    assert len(farm.leases()) == 3


def test_a_pull_at_a_host_that_went_away_waits_and_another_host_pulls(
    farm: Farm, sight: Sight, other: Sight
) -> None:
    batch_id = farm.submit(auto_pull=True)
    fail(farm, the_lease(farm, sight, other), is_charged=False, wait_s=0)
    gone = replace(sight, is_open=False)

    lease = the_lease(farm, gone, other)
    assert lease.host_key == other.host_key
    succeed(farm, lease)

    assert plan(farm, gone, has(other, MODEL)).released == 1
    plan(farm, gone, has(other, MODEL))
    assert states(farm, batch_id) == [PullState.CANCELLED, PullState.SUCCEEDED]


def test_without_grouping_all_hosts_that_can_be_reached_pull(
    farm: Farm, sight: Sight, other: Sight
) -> None:
    farm.submit(auto_pull=True)
    first, second = plan(farm, sight, other, everywhere=True).leases
    succeed(farm, first)
    one = has(sight, MODEL)
    assert plan(farm, one, other, everywhere=True).released == 0

    succeed(farm, second)

    assert {first.host_key, second.host_key} == {sight.host_key, other.host_key}
    assert plan(farm, one, has(other, MODEL), everywhere=True).released == 1


# --- leases ---------------------------------------------------------------------------------------


def test_a_pull_whose_worker_is_gone_is_taken_over_and_the_old_one_is_fenced_off(
    farm: Farm, sight: Sight, clock: FakeClock
) -> None:
    batch_id = farm.submit(auto_pull=True)
    old = the_lease(farm, sight)
    clock.forward(LEASE_MS / 1000)
    assert plan(farm, sight).leases == []
    clock.forward(0.001)

    new = the_lease(farm, sight)

    late = Progress(detail="late", completed_bytes=1, total_bytes=1)
    assert not farm.database.write_now(pulls.report, old, late, lease_ms=LEASE_MS)
    assert not succeed(farm, old)
    assert not fail(farm, old, is_final=True)
    farm.database.write_now(pulls.give_back, old)
    (one,) = farm.batch(batch_id).pulls
    assert (one.state, one.detail, one.error) == (PullState.PULLING, None, None)
    assert succeed(farm, new)


def test_a_report_prolongs_the_lease(farm: Farm, sight: Sight, clock: FakeClock) -> None:
    farm.submit(auto_pull=True)
    lease = the_lease(farm, sight)
    for _ in range(3):
        clock.forward(LEASE_MS / 1000)
        assert farm.database.write_now(pulls.report, lease, None, lease_ms=LEASE_MS)

    assert plan(farm, sight).leases == []


def test_a_pull_that_was_given_back_is_taken_up_at_once(farm: Farm, sight: Sight) -> None:
    farm.submit(auto_pull=True)
    farm.database.write_now(pulls.give_back, the_lease(farm, sight))

    again = the_lease(farm, sight)
    farm.database.write_now(pulls.take_all_back)

    assert the_lease(farm, sight).token != again.token


def test_a_worker_takes_up_no_pull_at_a_host_that_it_cannot_reach(farm: Farm, sight: Sight) -> None:
    farm.submit(auto_pull=True)
    farm.database.write_now(pulls.give_back, the_lease(farm, sight))

    assert plan(farm, replace(sight, is_open=False)).leases == []
    assert len(plan(farm, sight).leases) == 1


# --- beside a benchmark ---------------------------------------------------------------------------


def take_host(farm: Farm) -> None:
    farm.database.write_now(
        registry.insert, BenchmarkDraft(models=("m",)), benchmark_id="bench_0001"
    )
    lease = farm.database.write_now(
        execution.take_up, owner="b", lease_ms=LEASE_MS, host_key=farm.host_key
    )
    assert lease is not None


def test_no_pull_begins_at_a_host_that_a_benchmark_has_to_itself(farm: Farm, sight: Sight) -> None:
    batch_id = farm.submit(auto_pull=True)
    take_host(farm)

    assert plan(farm, sight).leases == []
    assert states(farm, batch_id) == [PullState.WAITING]

    farm.database.write_now(lambda tx: tx.execute(sa.update(host).values(held_by=None)))
    assert len(plan(farm, sight).leases) == 1


def test_no_pull_begins_at_a_host_that_is_out_of_service(farm: Farm, sight: Sight) -> None:
    farm.submit(auto_pull=True)
    farm.database.write_now(set_enabled, farm.host_key, enabled=False)
    assert plan(farm, sight).leases == []

    farm.database.write_now(set_enabled, farm.host_key, enabled=True)
    assert len(plan(farm, sight).leases) == 1


def test_a_benchmark_waits_for_the_pull_at_its_host_while_somebody_makes_it(
    farm: Farm, sight: Sight, clock: FakeClock
) -> None:
    farm.submit(auto_pull=True)
    lease = the_lease(farm, sight)
    take_host(farm)
    assert not farm.database.read_now(exclusivity.is_quiet, farm.host_key)

    clock.forward(LEASE_MS / 1000 + 1)
    assert farm.database.read_now(exclusivity.is_quiet, farm.host_key), "its worker has died"
    farm.database.write_now(pulls.report, lease, None, lease_ms=LEASE_MS)
    assert not farm.database.read_now(exclusivity.is_quiet, farm.host_key)
    succeed(farm, lease)
    assert farm.database.read_now(exclusivity.is_quiet, farm.host_key)

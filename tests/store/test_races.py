"""What happens when two transactions want the same thing at the same moment, on PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.access.keys import ANYBODY
from promptmill.domain.batches import BatchDraft, FailureLimit, IdempotencyKey, PromptDraft
from promptmill.domain.benchmarks.records import BenchmarkDraft
from promptmill.domain.errors import Conflict
from promptmill.domain.lifecycle import JobState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import Outcome, Succeeded
from promptmill.domain.retry import Decision, Finish, TryAgain
from promptmill.services.batches import Submission, _submit
from promptmill.settings import Settings
from promptmill.store.batches import jobs, transitions
from promptmill.store.benchmarks import execution, registry
from promptmill.store.db.database import Database, Transaction
from promptmill.store.db.tables.batches import job, job_stats
from promptmill.store.hosts import exclusivity
from promptmill.store.hosts.hosts import register_host
from promptmill.store.queue import bulk, candidates, claims, completions, prompt_groups
from promptmill.store.queue.leases import Completion, HostShare, Lease
from tests.conftest import FakeClock
from tests.store.farm import failure

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

    settings = Settings(database_url="postgresql:///unused")

    one, other = both(shared, _submit, draft, key, ANYBODY, settings)

    assert isinstance(one, Submission)
    assert (one.created, other.created) == (True, False)
    assert other.batch.id == one.batch.id
    assert len(shared.read_now(jobs.page, limit=10)) == 1


def test_two_workers_that_start_at_once_on_a_new_host_make_one_row_of_it(shared: Database) -> None:
    one, other = both(shared, register_host, "http://gpu:11434")
    assert one == other


def test_two_first_batches_with_the_same_models_in_another_order_do_not_deadlock(
    shared: Database,
) -> None:
    tries: list[int] = []

    def store(tx: Transaction, number: int) -> None:
        tries.append(number)
        if number:
            # Of two that wait for each other, the one whose time is up first is ended.
            tx.execute(sa.text("SET LOCAL deadlock_timeout = '60s'"))
        models = ("b", "a") if number else ("a", "b")
        prompts = [PromptDraft("x", None, {"model": model}) for model in models]
        jobs.insert(tx, BatchDraft(prompts=prompts, model="m"), batch_id=f"batch_{number:04}")

    def first(tx: Transaction) -> None:
        prompt_groups.key_of(tx, "a:latest")
        begun.set()
        until_somebody_waits_for_a_lock(shared)
        store(tx, 0)

    begun = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        one = threads.submit(shared.write_now, first)
        assert begun.wait(10)
        shared.write_now(store, 1)
        one.result(20)

    assert tries.count(0) == 1, "the second waits for the first, which waits for nobody"


# --- claims ------------------------------------------------------------------------------------

HOST = "http://gpu:11434"


class Claimer:
    """A worker that claims by hand."""

    def __init__(self, database: Database, *, slots: int | None = None, url: str = HOST) -> None:
        self.database = database
        key = database.write_now(register_host, url)
        self.share = HostShare(key=key, url=url, slots=slots)

    def submit(self, prompts: int, *, limits: Limits, number: int = 1) -> None:
        texts = [PromptDraft(f"{number}.{index}") for index in range(prompts)]
        draft = BatchDraft(prompts=texts, model="m", limits=limits)
        self.database.write_now(jobs.insert, draft, batch_id=f"batch_{number:04}")

    def claim(self, tx: Transaction, wanted: int, *, owner: str = "w") -> Sequence[Lease]:
        return claims.claim(tx, wanted=wanted, owner=owner, lease_ms=60_000, share=self.share)


JOINS_THAT_READ_BOTH_SIDES_ONCE = (
    "enable_hashjoin",
    "enable_mergejoin",
    "enable_material",
    "enable_hashagg",
    "enable_sort",
)


def test_a_claim_takes_no_more_than_it_may_whatever_the_plan(shared: Database) -> None:
    claimer = Claimer(shared)
    claimer.submit(20, limits=Limits(max_concurrent=3, rate_limit_delay_s=0))

    def claim(tx: Transaction) -> Sequence[Lease]:
        # As statistics may tell the planner to: then an inner side is read again for each row.
        for name in JOINS_THAT_READ_BOTH_SIDES_ONCE:
            tx.execute(sa.text(f"SET LOCAL {name} = off"))
        return claimer.claim(tx, 3)

    leases = shared.write_now(claim)

    assert len(leases) == 3
    running = sa.text("SELECT count(*) FROM task WHERE state = 'running'")
    assert shared.read_now(lambda tx: tx.execute(running).scalar_one()) == 3


HELD_UP = (
    "CREATE ROLE held_up",
    "GRANT ALL ON ALL TABLES IN SCHEMA public TO held_up",
    "ALTER TABLE task ENABLE ROW LEVEL SECURITY",
    """CREATE FUNCTION wait_for_leave() RETURNS bool LANGUAGE sql VOLATILE
       AS 'SELECT pg_advisory_xact_lock_shared(1) IS NOT NULL'""",
    "CREATE POLICY held_up ON task USING (wait_for_leave())",
    "ALTER TABLE job_stats ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY held_up ON job_stats USING (wait_for_leave())",
)


@pytest.fixture
def same_moment(postgresql_url: str, clock: FakeClock) -> Iterator[Database]:
    """Where everything happens in the same millisecond, as it may."""
    opened = Database(postgresql_url, clock=clock)
    yield opened
    opened.close_now()


@pytest.fixture
def held_up(shared: Database) -> Iterator[str]:
    """A role whose statements, once begun, wait at the first task or counters they look at."""

    def run(tx: Transaction, statements: Sequence[str]) -> None:
        for statement in statements:
            tx.execute(sa.text(statement))

    shared.write_now(run, HELD_UP)
    yield "held_up"
    shared.write_now(run, ("DROP OWNED BY held_up", "DROP ROLE held_up"))


def test_a_claim_counts_what_others_committed_while_it_looked_for_a_job(
    same_moment: Database, held_up: str
) -> None:
    claimer = Claimer(same_moment)
    claimer.submit(5, limits=Limits(max_concurrent=2, rate_limit_delay_s=0))

    def look_slowly(tx: Transaction) -> Sequence[Lease]:
        tx.execute(sa.text(f"SET LOCAL ROLE {held_up}"))
        return claimer.claim(tx, 2)

    def claim_meanwhile(tx: Transaction) -> tuple[Sequence[Lease], Future[Sequence[Lease]]]:
        tx.execute(sa.text("SELECT pg_advisory_xact_lock(1)"))
        slow = threads.submit(same_moment.write_now, look_slowly)
        until_somebody_waits_for_a_lock(same_moment)
        return claimer.claim(tx, 1), slow

    with ThreadPoolExecutor(1) as threads:
        first, slow = same_moment.write_now(claim_meanwhile)
        second = slow.result(20)

    assert (len(first), len(second)) == (1, 1)


def two_batches(claimer: Claimer) -> None:
    for number in (1, 2):
        claimer.submit(5, limits=Limits(max_concurrent=5, rate_limit_delay_s=0), number=number)


def without_waiting(database: Database, work: Any, *arguments: Any, **options: Any) -> Any:
    """What another transaction does while this one is not yet committed."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(database.write_now, work, *arguments, **options).result(5)


def test_claims_of_two_jobs_at_once_never_exceed_the_slots_of_their_host(shared: Database) -> None:
    claimer = Claimer(shared, slots=3)
    two_batches(claimer)

    def first(tx: Transaction) -> tuple[Sequence[Lease], Sequence[Lease]]:
        return claimer.claim(tx, 2), without_waiting(shared, claimer.claim, 2)

    one, other = shared.write_now(first)

    assert (len(one), len(other)) == (2, 0), "the host's row is not waited for"
    assert len(shared.write_now(claimer.claim, 2)) == 1


def test_workers_that_claim_at_two_hosts_in_either_order_do_not_wait_for_each_other(
    shared: Database,
) -> None:
    one, other = Claimer(shared, slots=3), Claimer(shared, slots=3, url="http://other:11434")
    two_batches(one)

    def crosswise(tx: Transaction) -> tuple[Sequence[Lease], Sequence[Lease]]:
        return other.claim(tx, 1, owner="b"), one.claim(tx, 1, owner="b")

    def claim_at_both(tx: Transaction) -> list[Sequence[Lease]]:
        at_one = one.claim(tx, 1)
        return [at_one, *without_waiting(shared, crosswise), other.claim(tx, 1)]

    counts = [len(leases) for leases in shared.write_now(claim_at_both)]

    assert counts == [1, 1, 0, 1]


def test_a_worker_fills_the_slots_that_it_has_freed_while_another_claims_at_the_host(
    shared: Database,
) -> None:
    claimer = Claimer(shared, slots=3)
    two_batches(claimer)
    own = shared.write_now(claimer.claim, 2, owner="a")

    def complete_and_claim(tx: Transaction) -> Sequence[Lease]:
        recorded = completions.complete(
            tx, [completion(lease, Succeeded(response="ok"), Finish()) for lease in own]
        )
        assert recorded.freed == {claimer.share.key: 2}
        return claims.claim(
            tx,
            wanted=3,
            owner="a",
            lease_ms=60_000,
            share=claimer.share,
            room=claims.room_at(tx, claimer.share, wanted=3, freed=2),
        )

    def claim_meanwhile(tx: Transaction) -> tuple[Sequence[Lease], Sequence[Lease]]:
        return claimer.claim(tx, 3, owner="b"), without_waiting(shared, complete_and_claim)

    other, again = shared.write_now(claim_meanwhile)

    assert (len(other), len(again)) == (1, 2)
    assert shared.read_now(exclusivity.running_at, claimer.share.key) == 3


def test_a_claim_tells_free_slots_that_it_passed_over_from_a_full_host(shared: Database) -> None:
    claimer = Claimer(shared, slots=3)
    two_batches(claimer)

    def room(tx: Transaction) -> claims.Room:
        return claims.room_at(tx, claimer.share, wanted=3)

    def claim_meanwhile(tx: Transaction) -> claims.Room:
        assert len(claimer.claim(tx, 1, owner="b")) == 1
        return without_waiting(shared, room)

    assert shared.write_now(claim_meanwhile) == claims.Room(0, passed_over=True)
    assert shared.write_now(room) == claims.Room(2)
    shared.write_now(claimer.claim, 2)
    assert shared.write_now(room) == claims.Room(0)


def test_of_slots_that_became_fewer_none_is_filled_again(shared: Database) -> None:
    claimer = Claimer(shared, slots=4)
    two_batches(claimer)
    own = shared.write_now(claimer.claim, 4)
    claimer.share = HostShare(key=claimer.share.key, url=HOST, slots=3)

    def complete_and_claim(tx: Transaction) -> Sequence[Lease]:
        completions.complete(
            tx, [completion(lease, Succeeded(response="ok"), Finish()) for lease in own[:2]]
        )
        room = claims.room_at(tx, claimer.share, wanted=2, freed=2)
        share = claimer.share
        return claims.claim(tx, wanted=2, owner="w", lease_ms=60_000, share=share, room=room)

    assert len(shared.write_now(complete_and_claim)) == 1


# --- completions -------------------------------------------------------------------------------


def test_a_completion_that_takes_a_permit_back_holds_up_nobody_who_stops_the_job(
    shared: Database,
) -> None:
    worker = Claimer(shared)
    worker.submit(2, limits=Limits(max_concurrent=2, rate_limit_delay_s=0.001))
    leases: list[Lease] = []
    while len(leases) < 2:
        leases += shared.write_now(worker.claim, 1)
    done, late = leases
    counted = threading.Event()

    def stop(tx: Transaction) -> None:
        """As a stop rule strikes: the counters first, then the job."""
        tx.execute(sa.update(job_stats).values(failed=job_stats.c.failed + 1))
        counted.set()
        until_somebody_waits_for_a_lock(shared)
        tx.execute(sa.update(job).values(stop_reason="too many failed"))

    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(shared.write_now, stop)
        assert counted.wait(10)
        recorded = shared.write_now(
            completions.complete,
            [
                completion(late, failure(), TryAgain(wait_s=0, charged=False, unused=True)),
                completion(done, Succeeded(response="Because."), Finish()),
            ],
        )
        stopping.result(20)

    assert (recorded.finished, recorded.fenced) == (1, 0)


def completion(lease: Lease, outcome: Outcome, decision: Decision) -> Completion:
    return Completion(
        lease=lease,
        outcome=outcome,
        decision=decision,
        host_url=HOST,
        started_at_ms=lease.claimed_at_ms,
        finished_at_ms=lease.claimed_at_ms,
    )


# --- batches as a whole ------------------------------------------------------------------------


def run_again(tx: Transaction, batch_id: str) -> None:
    key = transitions.reopen(tx, batch_id, expires_in_s=None)
    bulk.run_again(tx, key)


def fail_all(shared: Database, *, prompts: int, max_failures: str | None = None) -> str:
    """A batch whose prompts have all failed, and which nobody has ended yet; its id."""
    worker = Claimer(shared)
    limits = Limits(max_concurrent=prompts, rate_limit_delay_s=0)
    draft = BatchDraft(
        prompts=[PromptDraft(str(number)) for number in range(prompts)],
        model="m",
        limits=limits,
        max_failures=None if max_failures is None else FailureLimit(max_failures),
    )
    shared.write_now(jobs.insert, draft, batch_id="batch_0001")
    leases = shared.write_now(worker.claim, prompts)
    shared.write_now(
        completions.complete, [completion(each, failure(), Finish()) for each in leases]
    )
    return "batch_0001"


def while_uncommitted(
    database: Database, first: Callable[[Transaction], Any], second: Callable[[], Any]
) -> Future[Any]:
    """Commit the first when the second, begun meanwhile, waits for it; the second's outcome."""

    def hold(tx: Transaction) -> Future[Any]:
        first(tx)
        waiting = threads.submit(second)
        until_somebody_waits_for_a_lock(database)
        return waiting

    with ThreadPoolExecutor(1) as threads:
        return database.write_now(hold)


def test_a_batch_that_is_run_again_at_that_moment_is_not_deleted(shared: Database) -> None:
    batch_id = fail_all(shared, prompts=2)
    shared.write_now(transitions.close_ended)

    deleting = while_uncommitted(
        shared,
        lambda tx: run_again(tx, batch_id),
        lambda: shared.write_now(jobs.BATCHES.mark_deleted, batch_id),
    )

    with pytest.raises(Conflict, match="running"):
        deleting.result(20)
    assert shared.read_now(jobs.get, batch_id).counts.pending == 2


def test_a_batch_that_was_ended_and_run_again_meanwhile_is_not_ended_by_an_old_look(
    shared: Database, held_up: str
) -> None:
    batch_id = fail_all(shared, prompts=3)

    def end_slowly(tx: Transaction) -> Sequence[str]:
        tx.execute(sa.text(f"SET LOCAL ROLE {held_up}"))
        return transitions.close_ended(tx)

    def run_again_meanwhile(tx: Transaction) -> Future[Sequence[str]]:
        tx.execute(sa.text("SELECT pg_advisory_xact_lock(1)"))
        slow = threads.submit(shared.write_now, end_slowly)
        until_somebody_waits_for_a_lock(shared)
        assert shared.write_now(transitions.close_ended) == [batch_id]
        shared.write_now(run_again, batch_id)
        return slow

    with ThreadPoolExecutor(1) as threads:
        assert shared.write_now(run_again_meanwhile).result(20) == []

    batch = shared.read_now(jobs.get, batch_id)
    assert (batch.state, batch.counts.pending) == (JobState.RUNNING, 3)


def test_a_cancel_at_the_moment_when_the_stop_rule_ends_a_batch_is_refused_and_changes_nothing(
    shared: Database,
) -> None:
    batch_id = fail_all(shared, prompts=2, max_failures="1")

    cancelling = while_uncommitted(
        shared,
        transitions.close_ended,
        lambda: shared.write_now(transitions.request_cancel, batch_id),
    )

    with pytest.raises(Conflict, match="already ended"):
        cancelling.result(20)
    reason = sa.select(job.c.stop_reason)
    assert "failed" in str(shared.read_now(lambda tx: tx.execute(reason).scalar_one()))


def test_a_sweep_that_waited_for_a_retry_ends_nothing_of_it(shared: Database) -> None:
    submitter = Claimer(shared)
    submitter.submit(3, limits=Limits())
    batch_id = "batch_0001"
    key = shared.read_now(jobs.get, batch_id).key
    shared.write_now(transitions.request_cancel, batch_id)
    shared.write_now(bulk.cancel_pending, key)
    shared.write_now(transitions.close_ended)

    sweeping = while_uncommitted(
        shared,
        lambda tx: run_again(tx, batch_id),
        lambda: shared.write_now(bulk.cancel_pending, key),
    )

    assert sweeping.result(20) == 0
    assert shared.read_now(jobs.get, batch_id).counts.pending == 3


# --- a benchmark takes the host ----------------------------------------------------------------


def test_a_benchmark_waits_for_the_claim_that_was_under_way_when_it_took_the_host(
    shared: Database,
) -> None:
    worker = Claimer(shared)
    worker.submit(3, limits=Limits(max_concurrent=3, rate_limit_delay_s=0))
    draft = BenchmarkDraft(models=("m",))
    shared.write_now(registry.insert, draft, benchmark_id="bench_0001")
    claimed, taken = threading.Event(), threading.Event()

    def claim_slowly(tx: Transaction) -> Sequence[Lease]:
        leases = claims.claim(tx, wanted=3, owner="w", lease_ms=30_000, share=worker.share)
        claimed.set()
        assert taken.wait(10)
        until_somebody_waits_for_a_lock(shared)
        return leases

    with ThreadPoolExecutor(2) as threads:
        claiming = threads.submit(shared.write_now, claim_slowly)
        assert claimed.wait(10)
        lease = shared.write_now(
            execution.take_up, owner="b", lease_ms=30_000, host_key=worker.share.key
        )
        assert lease is not None
        taken.set()
        shared.write_now(exclusivity.wait_for_claims)
        running = shared.read_now(exclusivity.running_at, worker.share.key)
        assert len(claiming.result(20)) == 3

    assert running == 3, "what was claimed meanwhile is seen and waited for"


def test_a_claim_that_chose_its_job_before_the_host_was_taken_gives_out_nothing_after(
    shared: Database,
) -> None:
    worker = Claimer(shared)
    worker.submit(3, limits=Limits(max_concurrent=3, rate_limit_delay_s=0))
    draft = BenchmarkDraft(models=("m",))
    shared.write_now(registry.insert, draft, benchmark_id="bench_0001")

    def claim_while_the_host_is_taken(tx: Transaction) -> Sequence[Lease]:
        candidate = candidates.Candidates(tx, candidates.NEVER_MS, worker.share).lock_next()
        assert candidate is not None
        with ThreadPoolExecutor(1) as threads:
            taking = threads.submit(
                shared.write_now,
                execution.take_up,
                owner="b",
                lease_ms=30_000,
                host_key=worker.share.key,
            )
            assert taking.result(20) is not None
        terms = claims.Terms(owner="w", lease_ms=30_000, share=worker.share)
        return claims._take(tx, candidate, candidates.Moment.read(tx), 3, terms)

    assert shared.write_now(claim_while_the_host_is_taken) == []


# --- deleting ----------------------------------------------------------------------------------


def test_a_batch_is_not_deleted_while_a_retry_of_it_commits(shared: Database) -> None:
    draft = BatchDraft(prompts=[PromptDraft("a")], model="m", limits=Limits(rate_limit_delay_s=0))
    shared.write_now(jobs.insert, draft, batch_id="batch_0001")
    batch = shared.read_now(jobs.get, "batch_0001")
    shared.write_now(transitions.request_cancel, batch.id)
    shared.write_now(bulk.cancel_pending, batch.key)
    shared.write_now(transitions.close_ended)
    begun = threading.Event()

    def retry(tx: Transaction) -> None:
        key = transitions.reopen(tx, batch.id, expires_in_s=None)
        bulk.run_again(tx, key)
        begun.set()
        until_somebody_waits_for_a_lock(shared)

    with ThreadPoolExecutor(2) as threads:
        retried = threads.submit(shared.write_now, retry)
        assert begun.wait(10)
        deleted = threads.submit(shared.write_now, jobs.BATCHES.mark_deleted, batch.id)
        retried.result(20)
        with pytest.raises(Conflict):
            deleted.result(20)
    assert shared.read_now(jobs.get, batch.id).counts.pending == 1

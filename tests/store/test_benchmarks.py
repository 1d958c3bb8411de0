"""Benchmarks in the database: one lease each, every run once, and the host to itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptmill.domain.batches import IdempotencyKey
from promptmill.domain.benchmarks.records import (
    BenchmarkDraft,
    BenchmarkRun,
    ChunkIntervals,
    Environment,
    Flag,
    ModelEnvironment,
    Order,
    Phase,
    PrefixCache,
    ServiceLevel,
)
from promptmill.domain.errors import Conflict, NotFound
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.outcomes import CallMetrics, ErrorCode
from promptmill.store.benchmarks import execution, registry
from promptmill.store.benchmarks.execution import BenchmarkLease
from promptmill.store.db.database import Database
from promptmill.store.hosts import exclusivity
from promptmill.store.hosts.hosts import register_host, set_enabled
from promptmill.store.queue import candidates
from promptmill.store.queue.leases import HostShare
from tests.store.farm import Farm

LEASE_MS = 30_000
FIRST = "bench_00000000000000000000000001"
SECOND = "bench_00000000000000000000000002"
FULL = BenchmarkDraft(
    models=("tiny", "small"),
    prompts=("One?", "Two?"),
    num_runs=2,
    warmup_runs=1,
    concurrency=(1, 4),
    options={"num_predict": 16, "stop": ["\n"]},
    think="high",
    prefix_cache=PrefixCache.ALLOW,
    measure_cold_load=True,
    order=Order.INTERLEAVED,
    cooldown_s=1.5,
    timeout_s=20.0,
    keep_alive="5m",
    slo=ServiceLevel(ttft_s=0.5),
    baseline_id=SECOND,
    label="before",
    host_info="a quiet machine",
    metadata={"a": "b"},
)
SMALL = BenchmarkDraft(models=("tiny",), num_runs=3, warmup_runs=0)


class Bench:
    """Benchmarks as workers use them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.host_key = database.write_now(register_host, "http://ollama:11434")
        self.other_host = database.write_now(register_host, "http://other:11434")

    def submit(self, benchmark_id: str = FIRST, draft: BenchmarkDraft = SMALL) -> str:
        self.database.write_now(registry.insert, draft, benchmark_id=benchmark_id)
        return benchmark_id

    def take_up(self, *, owner: str = "w1", host: int | None = None) -> BenchmarkLease | None:
        return self.database.write_now(
            execution.take_up,
            owner=owner,
            lease_ms=LEASE_MS,
            host_key=host or self.host_key,
        )

    def taken_up(self, **options) -> BenchmarkLease:
        lease = self.take_up(**options)
        assert lease is not None
        return lease

    def get(self, benchmark_id: str = FIRST):
        return self.database.read_now(registry.get, benchmark_id)

    def record(self, lease: BenchmarkLease, *runs: BenchmarkRun) -> bool:
        return self.database.write_now(execution.record, lease, runs)

    def end(self, lease: BenchmarkLease, *, has_success: bool = True, error: str | None = None):
        return self.database.write_now(execution.end, lease, has_success=has_success, error=error)

    def runs(self, lease: BenchmarkLease) -> list[BenchmarkRun]:
        found = self.database.read_now(execution.page, lease.benchmark.key, limit=100)
        return [run for _, run in found]


@pytest.fixture
def bench(database) -> Bench:
    return Bench(database)


def run(step: int = 0, **fields) -> BenchmarkRun:
    given = {
        "step": step,
        "session": 1,
        "block": 0,
        "phase": Phase.MEASURED,
        "model": "tiny",
        "prompt_index": 0,
        "concurrency": 1,
        "run_index": step,
        "status": TaskState.SUCCEEDED,
        "scheduled_at_ms": 1_000,
        "started_at_ms": 1_001,
        "scheduled_s": 0.25,
        "ended_s": 0.75,
    }
    return BenchmarkRun(**{**given, **fields})


def test_a_benchmark_is_read_as_it_was_asked_for(bench) -> None:
    bench.submit(draft=FULL)

    found = bench.get()

    assert found.draft == FULL
    assert found.state is JobState.QUEUED
    assert found.counts.total == found.counts.pending == 2 * (1 + 2 + 2 * 2 * 5)
    assert (found.started_at_ms, found.finished_at_ms, found.sessions) == (None, None, 0)


def test_a_run_is_read_as_it_was_recorded(bench) -> None:
    bench.submit()
    lease = bench.taken_up()
    whole = run(
        done_reason="length",
        latency_s=0.5,
        client_queue_s=0.001,
        ttft_s=0.1,
        ttfo_s=0.2,
        icl=ChunkIntervals(chunks=3, p50_s=0.01, p95_s=None, max_s=0.02),
        metrics=CallMetrics(
            total_duration=5,
            load_duration=4,
            prompt_eval_count=3,
            prompt_eval_duration=2,
            eval_count=16,
            eval_duration=1,
        ),
        cached_prompt_tokens=0,
        response="Äh, ja.",
        response_chars=7,
        response_sha256="a" * 64,
        flags=(Flag.SHORT_OUTPUT, Flag.TOO_FEW_TOKENS),
    )
    failed = run(
        1,
        status=TaskState.FAILED,
        error_code=ErrorCode.INCOMPLETE,
        error="cut",
        flags=(Flag.NO_DONE,),
    )

    assert bench.record(lease, whole, failed)

    assert bench.runs(lease) == [whole, failed]
    figures = bench.database.read_now(execution.figures, lease.benchmark.key)
    assert list(figures) == [replace(whole, response=None), failed]
    samples = bench.database.read_now(execution.sample_responses, lease.benchmark.key)
    assert samples == {"tiny": "Äh, ja."}
    counts = bench.get().counts
    assert (counts.succeeded, counts.failed, counts.pending) == (1, 1, 1)


def test_pages_of_runs_go_on_where_the_one_before_ended(bench) -> None:
    bench.submit()
    lease = bench.taken_up()
    bench.record(lease, *(run(step) for step in range(3)))

    first = bench.database.read_now(execution.page, lease.benchmark.key, limit=2)
    rest = bench.database.read_now(execution.page, lease.benchmark.key, limit=2, after=first[-1][0])

    assert [one.step for _, one in [*first, *rest]] == [0, 1, 2]


def test_the_oldest_waiting_benchmark_is_taken_up_and_only_once(bench) -> None:
    bench.submit(SECOND)
    bench.submit(FIRST)

    assert bench.taken_up().benchmark.id == SECOND
    assert bench.take_up(owner="w2") is None, "the host is held"
    assert bench.get(SECOND).state is JobState.RUNNING
    assert bench.get(FIRST).state is JobState.QUEUED


def test_the_next_benchmark_begins_when_the_host_is_free_again(bench) -> None:
    bench.submit(FIRST)
    bench.submit(SECOND)
    lease = bench.taken_up()

    assert bench.end(lease) == FIRST

    assert bench.taken_up().benchmark.id == SECOND
    assert bench.get(FIRST).state is JobState.COMPLETED


def test_another_host_measures_another_benchmark_at_the_same_time(bench) -> None:
    bench.submit(FIRST)
    bench.submit(SECOND)

    assert bench.taken_up().benchmark.id == FIRST
    assert bench.taken_up(owner="w2", host=bench.other_host).benchmark.id == SECOND


def test_a_lease_that_ran_out_is_taken_over_with_what_is_done(bench, clock) -> None:
    bench.submit()
    first = bench.taken_up()
    bench.record(first, run(0), run(1, status=TaskState.FAILED))
    clock.forward(LEASE_MS / 1000 + 1)

    second = bench.taken_up(owner="w2")

    assert (second.session, second.done, second.has_success) == (2, frozenset({0, 1}), True)
    assert second.token != first.token
    assert bench.get().sessions == 2


def test_a_benchmark_goes_on_only_at_the_host_where_it_began(bench, clock) -> None:
    bench.submit()
    bench.taken_up()
    clock.forward(LEASE_MS / 1000 + 1)

    assert bench.take_up(host=bench.other_host) is None
    assert bench.taken_up().session == 2


def test_a_worker_that_lost_its_lease_changes_nothing_any_more(bench, clock) -> None:
    bench.submit()
    late = bench.taken_up()
    clock.forward(LEASE_MS / 1000 + 1)
    bench.taken_up(owner="w2")

    assert not bench.record(late, run())
    assert bench.end(late) is None
    assert bench.database.write_now(execution.renew, late, lease_ms=LEASE_MS) is None
    assert not bench.database.write_now(execution.note, late, environment=Environment())
    bench.database.write_now(execution.give_back, late)
    assert bench.take_up(owner="w3") is None, "the second worker still holds it"
    assert bench.get().counts.succeeded == 0
    assert bench.get().state is JobState.RUNNING


def test_a_renewed_lease_does_not_run_out(bench, clock) -> None:
    bench.submit()
    lease = bench.taken_up()
    for _ in range(3):
        clock.forward(LEASE_MS / 1000 - 1)
        state = bench.database.write_now(execution.renew, lease, lease_ms=LEASE_MS)
        assert state is JobState.RUNNING

    assert bench.take_up(owner="w2") is None


def test_a_warm_up_that_is_made_again_is_stored_and_not_counted_again(bench, clock) -> None:
    bench.submit(draft=replace(SMALL, warmup_runs=1))
    bench.record(bench.taken_up(), run(0, phase=Phase.WARMUP))
    clock.forward(LEASE_MS / 1000 + 1)
    second = bench.taken_up()

    bench.record(second, run(0, phase=Phase.WARMUP, session=2), run(1, session=2))

    assert bench.get().counts.succeeded == 2
    assert [(one.step, one.session) for one in bench.runs(second)] == [(0, 1), (0, 2), (1, 2)]


def test_a_measured_run_cannot_be_stored_twice(bench) -> None:
    bench.submit()
    lease = bench.taken_up()
    bench.record(lease, run(0))

    with pytest.raises(Exception, match=r"(?i)unique"):
        bench.record(replace(lease, session=2), run(0, session=2))

    assert len(bench.runs(lease)) == 1


def test_runs_whose_commit_was_not_answered_are_stored_once_when_they_come_again(bench) -> None:
    bench.submit(draft=replace(SMALL, warmup_runs=1))
    lease = bench.taken_up()
    bench.record(lease, run(0, phase=Phase.WARMUP), run(1))

    assert bench.record(lease, run(0, phase=Phase.WARMUP), run(1))
    assert bench.record(lease, run(0, phase=Phase.WARMUP), run(1), run(2))

    assert [one.step for one in bench.runs(lease)] == [0, 1, 2]
    assert bench.get().counts.succeeded == 3


def test_what_was_learnt_and_skipped_is_kept(bench) -> None:
    bench.submit()
    lease = bench.taken_up()
    model = ModelEnvironment(
        model_digest="abc",
        size=4,
        size_vram=3,
        capabilities=("completion",),
        loaded_before=(),
        error="not found",
        error_code=ErrorCode.MODEL_NOT_FOUND,
    )
    environment = Environment(host="http://ollama:11434", models={"tiny": model})

    assert bench.database.write_now(execution.note, lease, environment=environment, skipped=2)

    found = bench.get()
    assert found.environment == environment
    assert found.environment.models["tiny"].gpu_offload_share == 0.75
    assert (found.counts.skipped, found.counts.pending) == (2, 1)


def test_a_benchmark_without_a_success_has_failed_and_says_why(bench) -> None:
    bench.submit()
    lease = bench.taken_up()

    bench.end(lease, has_success=False, error="model 'tiny' not found")

    found = bench.get()
    assert (found.state, found.error) == (JobState.FAILED, "model 'tiny' not found")
    assert found.finished_at_ms is not None


# --- cancel ----------------------------------------------------------------------------------


def test_a_waiting_benchmark_is_cancelled_at_once(bench) -> None:
    bench.submit()

    bench.database.write_now(registry.request_cancel, FIRST)

    found = bench.get()
    assert (found.state, found.counts.cancelled) == (JobState.CANCELLED, 3)
    assert bench.take_up() is None


def test_the_worker_of_a_cancelled_benchmark_ends_it_and_keeps_its_runs(bench) -> None:
    bench.submit()
    lease = bench.taken_up()
    bench.record(lease, run(0))

    bench.database.write_now(registry.request_cancel, FIRST)
    bench.database.write_now(registry.request_cancel, FIRST)

    assert bench.get().state is JobState.CANCELLING
    state = bench.database.write_now(execution.renew, lease, lease_ms=LEASE_MS)
    assert state is JobState.CANCELLING
    bench.end(lease)
    found = bench.get()
    assert found.state is JobState.CANCELLED
    assert (found.counts.succeeded, found.counts.cancelled) == (1, 2)
    bench.submit(SECOND)
    assert bench.taken_up().benchmark.id == SECOND, "the host is free"


def test_a_cancelled_benchmark_whose_worker_died_is_ended_by_whoever_looks(bench, clock) -> None:
    bench.submit()
    bench.taken_up()
    bench.database.write_now(registry.request_cancel, FIRST)
    assert bench.database.write_now(registry.end_cancelled) == []
    clock.forward(LEASE_MS / 1000 + 1)

    assert bench.database.write_now(registry.end_cancelled) == [FIRST]

    assert bench.get().state is JobState.CANCELLED
    assert not bench.database.read_now(registry.any_alive)


def test_an_ended_benchmark_cannot_be_cancelled(bench) -> None:
    bench.submit()
    bench.end(bench.taken_up())

    with pytest.raises(Conflict, match="already ended"):
        bench.database.write_now(registry.request_cancel, FIRST)
    with pytest.raises(NotFound):
        bench.database.write_now(registry.request_cancel, SECOND)


# --- delete, list ----------------------------------------------------------------------------


def test_a_deleted_benchmark_is_gone_at_once_and_its_rows_piece_by_piece(bench) -> None:
    bench.submit()
    with pytest.raises(Conflict, match="cancel it first"):
        bench.database.write_now(registry.BENCHMARKS.mark_deleted, FIRST)
    lease = bench.taken_up()
    bench.record(lease, *(run(step) for step in range(3)))
    bench.end(lease)

    bench.database.write_now(registry.BENCHMARKS.mark_deleted, FIRST)

    with pytest.raises(NotFound):
        bench.get()
    removed = [bench.database.write_now(registry.purge_some, limit=2) for _ in range(4)]
    assert removed == [2, 1, 1, 0]
    assert bench.runs(lease) == []


def test_benchmarks_are_listed_newest_first_and_filtered(bench) -> None:
    bench.submit(FIRST, replace(SMALL, metadata={"a": "1"}))
    bench.submit(SECOND, replace(SMALL, metadata={"a": "2"}))

    def ids(**options):
        found = bench.database.read_now(registry.page, **{"limit": 10, **options})
        return [one.id for one in found]

    assert ids() == [SECOND, FIRST]
    assert ids(limit=1) == [SECOND]
    assert ids(before=SECOND) == [FIRST]
    assert ids(metadata={"a": "1"}) == [FIRST]
    assert ids(state=JobState.RUNNING) == []


def test_a_key_finds_the_benchmark_that_was_made_under_it(bench) -> None:
    key = IdempotencyKey(key="k", body_hash="h")
    bench.database.write_now(registry.insert, SMALL, benchmark_id=FIRST, idempotency=key)

    assert bench.database.read_now(registry.BENCHMARKS.find_by_idempotency_key, "k") == (FIRST, "h")
    assert bench.database.read_now(registry.BENCHMARKS.find_by_idempotency_key, "x") is None


# --- the host to itself ----------------------------------------------------------------------


def test_no_prompt_starts_at_a_host_that_a_benchmark_holds(bench, farm: Farm) -> None:
    batch = farm.submit(prompts=3)
    bench.submit()
    lease = bench.taken_up()

    assert farm.leases() == []
    share = HostShare(key=farm.host_key, url="http://ollama:11434", slots=None)
    assert not bench.database.read_now(candidates.may_start_now, share), (
        "it would be asked for ever"
    )

    bench.end(lease)

    assert len(farm.leases()) == 3
    assert farm.states(batch) == {"running": 3}


def test_at_a_host_out_of_service_neither_a_prompt_nor_a_benchmark_begins(
    bench, farm: Farm
) -> None:
    farm.submit(prompts=3)
    bench.submit()
    share = HostShare(key=farm.host_key, url="http://ollama:11434", slots=None)
    assert farm.database.write_now(set_enabled, farm.host_key, enabled=False)
    assert not farm.database.write_now(set_enabled, farm.host_key, enabled=False)

    assert farm.leases() == []
    assert not bench.database.read_now(candidates.may_start_now, share)
    assert bench.take_up() is None

    farm.database.write_now(set_enabled, farm.host_key, enabled=True)
    assert len(farm.leases()) == 3
    assert bench.take_up() is not None


def test_a_benchmark_goes_on_at_a_host_that_is_taken_out_of_service(bench, farm: Farm) -> None:
    bench.submit()
    lease = bench.taken_up()
    farm.database.write_now(set_enabled, farm.host_key, enabled=False)
    bench.database.write_now(execution.give_back, lease)

    assert bench.take_up() is not None


def test_prompts_start_at_other_hosts_meanwhile(bench, farm: Farm) -> None:
    farm.submit(prompts=1)
    bench.submit()
    bench.taken_up(host=bench.other_host)

    assert len(farm.leases()) == 1


def test_prompts_that_ran_before_are_seen_until_they_end(bench, farm: Farm) -> None:
    farm.submit(prompts=2)
    leases = farm.leases()
    bench.submit()
    bench.taken_up()

    assert bench.database.read_now(exclusivity.running_at, bench.host_key) == 2
    farm.complete(*leases)
    assert bench.database.read_now(exclusivity.running_at, bench.host_key) == 0


def test_a_benchmark_that_is_given_back_keeps_its_host(bench, farm: Farm) -> None:
    farm.submit(prompts=1)
    bench.submit()
    bench.database.write_now(execution.give_back, bench.taken_up())

    assert farm.leases() == []
    assert bench.taken_up(owner="w2").session == 2


def test_at_the_start_of_the_only_worker_every_benchmark_is_free(bench) -> None:
    bench.submit()
    bench.taken_up()

    assert bench.database.write_now(execution.take_all_back) == 1

    assert bench.taken_up(owner="w2").session == 2

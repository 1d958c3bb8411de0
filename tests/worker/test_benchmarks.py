"""Measuring benchmarks: a worker on a real database, and a simulated host that knows the truth."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import sqlalchemy as sa

from promptmill.domain.batches import BatchDraft, PromptDraft
from promptmill.domain.benchmarks.plan import total_steps
from promptmill.domain.benchmarks.records import (
    Benchmark,
    BenchmarkDraft,
    BenchmarkRun,
    Flag,
    Phase,
    PrefixCache,
    ServiceLevel,
)
from promptmill.domain.errors import Conflict, Invalid
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import ErrorCode
from promptmill.runtime import open_resources
from promptmill.services import batches, benchmarks
from promptmill.services.benchmarks import Measured
from promptmill.services.resources import Resources
from promptmill.settings import Settings
from promptmill.simulator import (
    FaultRule,
    ModelSpec,
    Simulator,
    SimulatorSettings,
    Speed,
    create_simulator,
    running,
)
from promptmill.simulator.engine.catalog import Catalog
from promptmill.store.benchmarks import execution
from promptmill.store.db.database import Transaction
from promptmill.store.db.tables.batches import prompt_id
from promptmill.store.db.tables.benchmarks import benchmark, benchmark_run
from promptmill.worker.benchmarks.benchmarker import Benchmarker
from promptmill.worker.runner import working

pytestmark = pytest.mark.proof  # compares times that it measures, so nothing may run beside it

SPEED = Speed(load_s=0.15, prefill_tokens_per_s=20_000, decode_tokens_per_s=2_000)
OPTIONS = {"num_predict": 40, "temperature": 0, "seed": 42}
PATIENCE_S = 30
LEASE_S = 2


@dataclass
class Laboratory:
    """The use cases of one process beside the host that it measures."""

    resources: Resources
    host: Simulator

    async def submit(self, *models: str, **fields: Any) -> str:
        draft = BenchmarkDraft(
            **{"models": models or ("tiny",), "options": OPTIONS, "warmup_runs": 0, **fields}
        )
        return (await benchmarks.submit(self.resources, draft)).benchmark.id

    async def ended(self, benchmark_id: str) -> Measured:
        found = await benchmarks.wait_until_ended(
            self.resources, benchmark_id, timeout_s=PATIENCE_S
        )
        assert found.finished_at_ms is not None, f"still {found.state}: {found.counts}"
        return await benchmarks.measured(self.resources, benchmark_id)

    async def measured(self, *models: str, **fields: Any) -> Measured:
        return await self.ended(await self.submit(*models, **fields))

    async def get(self, benchmark_id: str) -> Benchmark:
        return await benchmarks.get(self.resources, benchmark_id)

    async def batch(self, prompts: int, **fields: Any) -> str:
        draft = BatchDraft(
            prompts=[PromptDraft(f"Question {n}") for n in range(prompts)],
            model="small",
            limits=Limits(max_concurrent=2, rate_limit_delay_s=0),
            **fields,
        )
        return (await batches.submit(self.resources, draft)).batch.id

    @property
    def asked(self) -> list[str]:
        """The prompts of all calls, in their order."""
        return [call.prompt for call in self.host.calls if call.prompt]

    async def until_called(self, model: str, times: int = 1) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.host.until(lambda tally: tally.models[f"{model}:latest"].calls >= times)


@pytest.fixture
def laboratory(database_url: str) -> Callable[..., Any]:
    """`async with laboratory(num_parallel=4) as lab`: a host, a database, and a worker on both."""

    @contextlib.asynccontextmanager
    async def opened(
        *, speed: Speed = SPEED, worker: bool = True, faults: tuple[str, ...] = (), **host: Any
    ) -> AsyncIterator[Laboratory]:
        settings = SimulatorSettings(
            models=tuple(ModelSpec(name=name, speed=speed) for name in ("tiny", "small")),
            faults=tuple(map(FaultRule.parse, faults)),
            write_interval_s=0,
            **{"answer_tokens": (400, 400), "num_parallel": 4, **host},
        )
        simulator = create_simulator(settings)
        async with running(simulator) as url:
            service = Settings(
                ollama_host=url,
                database_url=database_url,
                lease_s=LEASE_S,
                heartbeat_s=0.3,
                poll_s=0.1,
                drain_s=2,
            )
            async with open_resources(service) as resources:
                async with contextlib.AsyncExitStack() as stack:
                    if worker:
                        await stack.enter_async_context(working(resources))
                    yield Laboratory(resources, simulator)

    return opened


def measured_runs(found: Measured, model: str = "tiny") -> list[BenchmarkRun]:
    return [run for run in found.runs if run.model == model and run.phase is Phase.MEASURED]


async def test_every_run_is_made_once_and_its_figures_are_the_runs(laboratory) -> None:
    async with laboratory() as lab:
        found = await lab.measured("tiny", "small", num_runs=3, warmup_runs=1, prompts=("A", "B"))

    assert found.benchmark.state is JobState.COMPLETED
    assert found.benchmark.counts.succeeded == 2 * 2 * (1 + 3) == len(lab.asked)
    runs = measured_runs(found)
    assert [(run.prompt_index, run.run_index) for run in runs] == [
        (prompt, run) for prompt in (0, 1) for run in (0, 1, 2)
    ]
    tiny = found.results["tiny"]
    assert tiny.latency == pytest.approx(sum(run.latency_s for run in runs) / 6)
    tokens = sum(run.metrics.eval_count for run in runs)
    seconds = sum(run.metrics.eval_duration for run in runs) / 1e9
    assert tiny.tokens_per_sec == pytest.approx(tokens / seconds)
    assert tokens == 6 * 40
    assert tiny.response
    assert [level.n_ok for level in tiny.levels] == [3, 3]
    assert list(found.results) == ["tiny", "small"]


async def test_models_are_measured_one_after_the_other_and_never_alternate(laboratory) -> None:
    async with laboratory(max_loaded=1) as lab:
        await lab.measured("tiny", "small", num_runs=4, concurrency=(1, 2))

        called = [call.model for call in lab.host.calls if call.prompt]
        assert called == ["tiny:latest"] * 12 + ["small:latest"] * 12
        assert lab.host.stats()["models"]["tiny:latest"]["loads"] == 1


async def test_a_level_keeps_as_many_in_flight_as_it_says(laboratory) -> None:
    async with laboratory() as lab:
        found = await lab.measured("tiny", num_runs=3, concurrency=(1, 3))

        assert lab.host.stats()["peak_in_flight"] == 3
    one, three = found.results["tiny"].levels
    assert (one.concurrency, one.n_attempted) == (1, 3)
    assert (three.concurrency, three.n_attempted) == (3, 9)
    assert three.output_throughput_tok_s > 1.3 * one.output_throughput_tok_s
    assert three.effective_parallelism > 1.3
    assert Flag.SERVER_SERIALISED not in three.flags


async def test_the_warm_up_sends_exactly_what_is_measured(laboratory) -> None:
    options = {**OPTIONS, "num_ctx": 2048}
    async with laboratory() as lab:
        found = await lab.measured(
            "tiny", num_runs=2, warmup_runs=2, options=options, keep_alive="3m", think=None
        )

        generated = [call for call in lab.host.calls if call.prompt]
        assert {(call.num_ctx, call.keep_alive_s) for call in generated} == {(2048, 180.0)}
        assert lab.host.stats()["models"]["tiny:latest"]["loads"] == 1
    assert [run.phase for run in found.runs] == [Phase.WARMUP] * 2 + [Phase.MEASURED] * 2
    assert all(Flag.MODEL_RELOADED not in run.flags for run in measured_runs(found))


async def test_no_two_runs_begin_alike_unless_the_cache_is_allowed(laboratory) -> None:
    async with laboratory() as lab:
        await lab.measured("tiny", num_runs=5, warmup_runs=1, prompts=("The same question?",))
        avoided = lab.asked
        lab.host.calls.reset()
        await lab.measured(
            "tiny", num_runs=3, prompts=("The same question?",), prefix_cache=PrefixCache.ALLOW
        )
        allowed = lab.asked

    assert len({text[:12] for text in avoided}) == len(avoided) == 6
    assert all("The same question?" in text for text in avoided)
    assert len({len(text) for text in avoided}) == 1, "always as long"
    assert len(set(allowed)) == 1


async def test_a_cold_load_is_measured_apart_and_once_for_each_model(laboratory) -> None:
    async with laboratory() as lab:
        await lab.measured("tiny", num_runs=1)
        found = await lab.measured("tiny", num_runs=2, measure_cold_load=True)

        assert lab.host.stats()["models"]["tiny:latest"]["loads"] == 2
    tiny = found.results["tiny"]
    assert 0.15 <= tiny.cold_load.load_s < 1
    assert tiny.cold_load.ttft_s > 0.15
    assert tiny.latency < 0.15, "the load is kept out of the latency"
    assert [run.phase for run in found.runs] == [Phase.COLD_LOAD, Phase.MEASURED, Phase.MEASURED]


async def test_without_a_warm_up_the_run_that_loads_is_flagged_and_kept_out(laboratory) -> None:
    async with laboratory() as lab:
        found = await lab.measured("tiny", num_runs=3)

    assert [Flag.MODEL_RELOADED in run.flags for run in measured_runs(found)] == [
        True,
        False,
        False,
    ]
    level = found.results["tiny"].levels[0]
    assert level.latency_s.n == 2
    assert level.latency_s.max < 0.15
    assert Flag.MODEL_RELOADED in level.flags


async def test_a_missing_model_has_its_error_and_the_others_finish(laboratory) -> None:
    async with laboratory() as lab:
        found = await lab.measured(
            "nobody", "tiny", num_runs=3, warmup_runs=1, measure_cold_load=True
        )

        assert [call.model for call in lab.host.calls if call.status == 404]
    missing = found.results["nobody"]
    assert missing.error_code is ErrorCode.MODEL_NOT_FOUND
    assert "nobody" in missing.error
    assert (missing.latency, missing.tokens_per_sec, missing.n_ok) == (None, None, 0)
    assert found.results["tiny"].n_ok == 3
    counts = found.benchmark.counts
    assert (counts.succeeded, counts.failed, counts.skipped, counts.pending) == (5, 1, 4, 0)
    assert found.benchmark.state is JobState.COMPLETED


async def test_a_benchmark_of_missing_models_has_failed(laboratory) -> None:
    async with laboratory() as lab:
        found = await lab.measured("nobody", num_runs=3)

    assert found.benchmark.state is JobState.FAILED
    assert "nobody" in found.benchmark.error


async def test_a_failure_is_a_data_point_and_never_tried_again(laboratory) -> None:
    async with laboratory() as lab:
        found = await lab.measured(
            "tiny", num_runs=2, prompts=("Fine.", "Cut. [[fault:no_done after=20]]")
        )

        assert len(lab.asked) == 4
    fine, cut = found.results["tiny"].levels
    assert (cut.n_attempted, cut.n_ok, cut.n_failed) == (2, 0, 2)
    assert dict(cut.errors) == {ErrorCode.INCOMPLETE: 2}
    assert Flag.NO_DONE in cut.flags
    assert cut.latency_s.n == cut.decode_tokens_per_sec.n == 0
    assert cut.output_throughput_tok_s == 0
    assert (fine.n_ok, fine.n_failed) == (2, 0)


async def test_goodput_counts_only_what_was_good_enough_of_all_that_was_attempted(
    laboratory,
) -> None:
    async with laboratory() as lab:
        found = await lab.measured(
            "tiny",
            num_runs=2,
            warmup_runs=1,
            prompts=("Quick.", "Slow. [[fault:slow_start s=0.6]]", "Gone. [[fault:500]]"),
            slo=ServiceLevel(ttft_s=0.3),
        )

    quick, slow, gone = found.results["tiny"].levels
    assert [level.good_request_fraction for level in (quick, slow, gone)] == [1.0, 0.0, 0.0]
    assert quick.goodput_req_s == quick.request_throughput_req_s > 0
    assert slow.goodput_req_s == 0 < slow.request_throughput_req_s


async def test_what_it_was_measured_on_is_kept(laboratory) -> None:
    async with laboratory() as lab:
        found = await lab.measured("tiny", num_runs=1, host_info="a quiet machine")

    environment = found.benchmark.environment
    assert environment.ollama_version == "0.24.0"
    assert environment.host == lab.resources.host.url
    assert environment.service_version
    tiny = environment.models["tiny"]
    assert tiny.model_digest
    assert (tiny.family, tiny.quantization_level) == ("llama", "Q4_K_M")
    assert (tiny.context_length, tiny.size_vram, tiny.gpu_offload_share) == (4096, 0, 0.0)
    assert tiny.capabilities == ("completion",)
    assert (tiny.loaded_before, tiny.loaded_after) == ((), ("tiny:latest",))
    assert not tiny.changed


# --- faults on purpose: the right flag, and clean rates -------------------------------------------


async def test_one_token_answers_are_flagged_and_make_no_rate(laboratory) -> None:
    async with laboratory(faults=("one_token",)) as lab:
        found = await lab.measured("tiny", num_runs=3)

    level = found.results["tiny"].levels[0]
    assert level.n_ok == 3
    assert {Flag.TOO_FEW_TOKENS, Flag.SHORT_OUTPUT} <= set(level.flags)
    assert level.decode_tokens_per_sec.n == level.e2e_tokens_per_sec.n == level.tpot_s.n == 0
    assert level.output_tokens.mean == 1
    assert found.results["tiny"].tokens_per_sec is None


async def test_every_run_that_reloads_is_flagged_and_no_other(laboratory) -> None:
    async with laboratory(faults=("reload rate=0.4",)) as lab:
        found = await lab.measured("tiny", num_runs=12, warmup_runs=1)

        struck = [call.fault == "reload" for call in lab.host.calls if call.prompt][1:]
    runs = measured_runs(found)
    assert [Flag.MODEL_RELOADED in run.flags for run in runs] == struck
    assert 0 < sum(struck) < 12
    level = found.results["tiny"].levels[0]
    assert level.n_ok == 12
    assert level.latency_s.n == level.decode_tokens_per_sec.n == 12 - sum(struck)
    assert level.latency_s.max < 0.15


async def test_a_cached_prompt_is_flagged_and_makes_no_prefill_rate(laboratory) -> None:
    prompt = "Many words that have to be read first. " * 60
    slow_reader = Speed(load_s=0.15, prefill_tokens_per_s=4_000, decode_tokens_per_s=2_000)
    async with laboratory(speed=slow_reader) as lab:
        found = await lab.measured(
            "tiny", num_runs=3, warmup_runs=1, prompts=(prompt,), prefix_cache=PrefixCache.ALLOW
        )
        clean = await lab.measured("tiny", num_runs=3, warmup_runs=1, prompts=(prompt,))

    level = found.results["tiny"].levels[0]
    assert Flag.PREFIX_CACHE_HIT in level.flags
    assert all(Flag.PREFIX_CACHE_HIT in run.flags for run in measured_runs(found))
    assert all(run.cached_prompt_tokens is None for run in found.runs)
    assert level.prefill_tokens_per_sec.n == 0
    level = clean.results["tiny"].levels[0]
    assert not {Flag.PREFIX_CACHE_HIT, Flag.CACHE_UNKNOWN} & set(level.flags)
    assert level.prefill_tokens_per_sec.mean == pytest.approx(4_000, rel=0.3)


async def test_where_nothing_shows_a_hit_the_cache_is_unknown(laboratory) -> None:
    async with laboratory(prefix_cache=False) as lab:
        found = await lab.measured(
            "tiny",
            num_runs=2,
            warmup_runs=1,
            prompts=("word " * 200,),
            prefix_cache=PrefixCache.ALLOW,
        )

    level = found.results["tiny"].levels[0]
    assert Flag.CACHE_UNKNOWN in level.flags
    assert Flag.PREFIX_CACHE_HIT not in level.flags
    assert level.prefill_tokens_per_sec.n == 0


async def test_a_prompt_that_is_cut_to_the_window_is_flagged(laboratory) -> None:
    options = {**OPTIONS, "num_ctx": 512}
    async with laboratory() as lab:
        found = await lab.measured(
            "tiny", num_runs=2, warmup_runs=1, prompts=("word " * 3000, "short"), options=options
        )

    long, short = found.results["tiny"].levels
    assert Flag.PROMPT_TRUNCATED in long.flags
    assert Flag.PROMPT_TRUNCATED not in short.flags


async def test_a_host_that_takes_one_after_the_other_is_found_out(laboratory) -> None:
    async with laboratory(num_parallel=1) as lab:
        found = await lab.measured("tiny", num_runs=3, warmup_runs=1, concurrency=(1, 4))

    alone, four = found.results["tiny"].levels
    assert Flag.SERVER_SERIALISED not in alone.flags
    assert Flag.SERVER_SERIALISED in four.flags
    assert four.effective_parallelism <= 1.25
    assert four.server_overhead_s.p50 > four.latency_s.p50 / 2, "most of a call's time is its wait"


# --- the host to itself ---------------------------------------------------------------------------


async def test_a_running_batch_drains_first_and_goes_on_after(laboratory) -> None:
    slow = Speed(prefill_tokens_per_s=20_000, decode_tokens_per_s=400)
    async with laboratory(speed=slow, num_parallel=4) as lab:
        batch = await lab.batch(8, parameters={"options": OPTIONS})
        await lab.until_called("small", 2)
        found = await lab.measured("tiny", num_runs=4)
        ended = await batches.wait_until_ended(lab.resources, batch, timeout_s=PATIENCE_S)

    assert ended.counts.succeeded == 8
    assert found.benchmark.counts.succeeded == 4
    calls = [call for call in lab.host.calls if call.prompt]
    tiny = [call for call in calls if call.model == "tiny:latest"]
    first, last = min(call.arrived for call in tiny), max(call.ended for call in tiny)
    others = [call for call in calls if call.model == "small:latest"]
    assert all(call.ended <= first or call.arrived >= last for call in others)
    assert any(call.ended <= first for call in others)
    assert any(call.arrived >= last for call in others)


async def test_a_batch_that_comes_meanwhile_waits_until_the_benchmark_is_over(laboratory) -> None:
    async with laboratory() as lab:
        benchmark = await lab.submit("tiny", num_runs=30)
        await lab.until_called("tiny", 3)
        batch = await lab.batch(2)
        await lab.ended(benchmark)
        ended = await batches.wait_until_ended(lab.resources, batch, timeout_s=PATIENCE_S)

    assert ended.counts.succeeded == 2
    tiny = [call for call in lab.host.calls if call.model == "tiny:latest" and call.prompt]
    small = [call for call in lab.host.calls if call.model == "small:latest"]
    assert min(call.arrived for call in small) >= max(call.ended for call in tiny)


async def test_a_cancelled_benchmark_keeps_its_runs_and_frees_the_host(laboratory) -> None:
    slow = Speed(decode_tokens_per_s=400)
    async with laboratory(speed=slow) as lab:
        benchmark = await lab.submit("tiny", num_runs=500)
        batch = await lab.batch(1, parameters={"options": OPTIONS})
        await lab.until_called("tiny", 3)
        await benchmarks.cancel(lab.resources, benchmark)
        found = await lab.ended(benchmark)
        ended = await batches.wait_until_ended(lab.resources, batch, timeout_s=PATIENCE_S)

    assert found.benchmark.state is JobState.CANCELLED
    assert 2 <= found.benchmark.counts.succeeded < 20
    assert found.benchmark.counts.failed == 0, "an aborted run is no failure"
    assert found.results["tiny"].n_ok == found.benchmark.counts.succeeded
    assert found.benchmark.counts.pending == 0
    assert ended.counts.succeeded == 1


# --- crashes and stops ----------------------------------------------------------------------------


async def test_a_stopped_service_goes_on_where_it_was_and_patches_nothing(laboratory) -> None:
    slow = Speed(decode_tokens_per_s=400)
    async with laboratory(speed=slow, worker=False) as lab:
        benchmark = await lab.submit("tiny", num_runs=10, warmup_runs=1, concurrency=(2,))
        async with working(lab.resources):
            await lab.until_called("tiny", 8)
        before = await benchmarks.measured(lab.resources, benchmark)
        assert before.benchmark.state is JobState.RUNNING
        async with working(lab.resources):
            found = await lab.ended(benchmark)

    assert found.benchmark.sessions == 2
    assert list(found.runs[: len(before.runs)]) == list(before.runs), "finished runs are kept"
    runs = measured_runs(found)
    assert sorted(run.run_index for run in runs) == list(range(20)), "each once"
    assert {run.session for run in runs} == {1, 2}
    warm = [run for run in found.runs if run.phase is Phase.WARMUP]
    assert [run.session for run in warm] == [1, 2], "the second session warms up again"
    level = found.results["tiny"].levels[0]
    spans = [
        max(run.ended_s for run in runs if run.session == session)
        - min(run.scheduled_s for run in runs if run.session == session)
        for session in (1, 2)
    ]
    assert level.window_s == pytest.approx(sum(spans)), "the time between is not counted"
    assert found.benchmark.counts.succeeded == total_steps(found.benchmark.draft)


async def test_a_stop_in_the_middle_of_taking_a_benchmark_up_gives_it_back(
    laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, go_on = threading.Event(), threading.Event()
    take_up, stop = execution.take_up, Benchmarker.stop

    def take_up_slowly(*args: Any, **fields: Any) -> Any:
        lease = take_up(*args, **fields)
        if lease is not None:
            taken.set()
            assert go_on.wait(20)
        return lease

    async def stop_meanwhile(benchmarker: Benchmarker) -> None:
        stopping = asyncio.create_task(stop(benchmarker))
        await asyncio.sleep(0)
        go_on.set()
        await stopping

    async with laboratory(worker=False) as lab:
        await lab.submit("tiny")
        with monkeypatch.context() as patched:
            patched.setattr(execution, "take_up", take_up_slowly)
            patched.setattr(Benchmarker, "stop", stop_meanwhile)
            async with working(lab.resources):
                assert await asyncio.to_thread(taken.wait, 20)
        owners = await lab.resources.database.read(
            lambda tx: tx.execute(sa.select(benchmark.c.lease_owner)).scalars().all()
        )
    assert owners == [None]


async def test_a_session_whose_runs_cannot_be_stored_ends_instead_of_measuring_for_nothing(
    laboratory,
) -> None:
    async with laboratory(worker=False) as lab:
        benchmark_id = await lab.submit(num_runs=200)
        database = lab.resources.database
        key = (await lab.get(benchmark_id)).key
        in_the_way = run_row(prompt_id(key, 0), key)
        await database.write(lambda tx: tx.execute(sa.insert(benchmark_run), [in_the_way]))
        sessions = sa.select(benchmark.c.sessions).where(benchmark.c.key == key)
        async with working(lab.resources):
            async with asyncio.timeout(PATIENCE_S):
                while (await database.read(lambda tx: tx.execute(sessions).scalar_one())) < 2:
                    await asyncio.sleep(0.02)  # what another session is has no event
            first_session = len(lab.asked)
            await database.write(
                lambda tx: tx.execute(
                    sa.delete(benchmark_run).where(benchmark_run.c.id == in_the_way["id"])
                )
            )
            found = await lab.ended(benchmark_id)
    assert first_session < 100
    assert found.benchmark.state is JobState.COMPLETED
    assert found.benchmark.counts.succeeded == 200


def run_row(row_id: int, key: int) -> dict[str, Any]:
    """A row of `benchmark_run` of no benchmark's step."""
    return {
        "id": row_id,
        "benchmark_key": key,
        "step": 999,
        "session": 0,
        "block": 0,
        "phase": Phase.WARMUP,
        "model": "x",
        "prompt_index": 0,
        "concurrency": 1,
        "run_index": 0,
        "status": TaskState.SUCCEEDED,
        "scheduled_at_ms": 0,
        "started_at_ms": 0,
        "scheduled_s": 0.0,
        "ended_s": 0.0,
        "flags": [],
    }


async def test_no_prompt_of_the_first_session_is_sent_again_in_the_second(laboratory) -> None:
    slow = Speed(decode_tokens_per_s=400)
    async with laboratory(speed=slow, worker=False) as lab:
        benchmark = await lab.submit("tiny", num_runs=6)
        async with working(lab.resources):
            await lab.until_called("tiny", 3)
        async with working(lab.resources):
            await lab.ended(benchmark)

    assert len(set(lab.asked)) == len(lab.asked), "an interrupted run's prompt may be cached"


def updated(host: Simulator) -> None:
    host.state.settings = replace(host.state.settings, version="0.25.0")


def pulled_anew(host: Simulator) -> None:
    other = ModelSpec(name="tiny", speed=SPEED, parameters=999_000)
    host.state.catalog = Catalog((other,), (), time.time_ns())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (updated, "it had Ollama 0.24.0 then, and has 0.25.0 now"),
        (pulled_anew, "its model tiny is another one"),
    ],
)
async def test_a_benchmark_goes_on_only_at_a_host_that_is_what_it_was(
    laboratory, change: Callable[[Simulator], None], told: str
) -> None:
    slow = Speed(decode_tokens_per_s=400)
    async with laboratory(speed=slow, worker=False) as lab:
        benchmark = await lab.submit("tiny", num_runs=6, warmup_runs=1)
        async with working(lab.resources):
            await lab.until_called("tiny", 4)
        before = await benchmarks.measured(lab.resources, benchmark)
        change(lab.host)
        async with working(lab.resources):
            found = await lab.ended(benchmark)

    assert found.benchmark.state is JobState.FAILED
    assert told in found.benchmark.error
    assert "Start it again" in found.benchmark.error
    assert measured_runs(found) == measured_runs(before), "nothing is measured beside them"
    assert found.benchmark.environment.ollama_version == "0.24.0"


async def test_a_benchmark_of_which_nothing_was_measured_yet_begins_at_the_host_as_it_is(
    laboratory,
) -> None:
    slow = Speed(decode_tokens_per_s=400)
    async with laboratory(speed=slow, worker=False) as lab:
        benchmark = await lab.submit("tiny", num_runs=2, warmup_runs=3)
        async with working(lab.resources):
            await lab.until_called("tiny", 2)
        updated(lab.host)
        async with working(lab.resources):
            found = await lab.ended(benchmark)

    assert found.benchmark.state is JobState.COMPLETED
    assert found.benchmark.environment.ollama_version == "0.25.0"


async def test_no_run_begins_later_than_the_lease_while_it_cannot_be_renewed(laboratory) -> None:
    slow = Speed(decode_tokens_per_s=400)
    async with laboratory(speed=slow) as lab:
        benchmark_id = await lab.submit("tiny", num_runs=60)
        await lab.until_called("tiny", 5)
        renewed = time.monotonic()

        def stand_still(tx: Transaction) -> float:
            tx.execute(sa.select(benchmark).with_for_update()).all()
            # PostgreSQL ends a transaction that does nothing.
            if tx.is_sqlite:
                time.sleep(LEASE_S + 2)
            else:
                tx.execute(sa.select(sa.func.pg_sleep(LEASE_S + 2)))
            return time.monotonic()

        released = await lab.resources.database.write(stand_still)
        found = await lab.ended(benchmark_id)

    arrived = [call.arrived for call in lab.host.calls if call.prompt]
    over = renewed + LEASE_S + 0.5
    assert any(renewed + 1 < each < over for each in arrived), "it goes on as long as the lease"
    assert not any(over <= each < released for each in arrived)
    assert found.benchmark.state is JobState.COMPLETED
    assert sorted(run.run_index for run in measured_runs(found)) == list(range(60)), "each once"


async def test_a_host_that_goes_down_costs_a_failed_run_and_the_rest_waits_for_it(
    laboratory,
) -> None:
    prompts = ("One.", "Down. [[fault:refuse s=0.5]]", "Refused.", "Four.")
    async with laboratory() as lab:
        found = await lab.measured("tiny", num_runs=1, prompts=prompts)

    levels = found.results["tiny"].levels
    assert [level.n_ok for level in levels] == [1, 0, 0, 1]
    assert dict(levels[2].errors) == {ErrorCode.HOST_UNREACHABLE: 1}
    last = measured_runs(found)[-1]
    assert last.scheduled_s - measured_runs(found)[1].ended_s > 0.3, "it waited"
    assert last.latency_s < 0.3, "and the waiting is no part of the run"


# --- compare --------------------------------------------------------------------------------------


async def test_two_benchmarks_of_the_same_work_are_compared(laboratory) -> None:
    async with laboratory() as lab:
        base = await lab.measured("tiny", num_runs=5, warmup_runs=1)
        target = await lab.submit(
            "tiny", num_runs=5, warmup_runs=1, baseline_id=base.benchmark.id, concurrency=(1, 2)
        )
        await lab.ended(target)
        found = await benchmarks.compare(lab.resources, target)
        named = await benchmarks.compare(lab.resources, target, baseline_id=base.benchmark.id)

    assert found.baseline_id == base.benchmark.id
    assert named.measures == found.measures
    latency = next(each for each in found.measures if each.metric == "latency_s")
    assert (latency.concurrency, latency.comparison.n_base, latency.comparison.n_target) == (
        1,
        5,
        5,
    )
    assert latency.comparison.ratio == pytest.approx(1, rel=0.5)
    assert [(each.concurrency, each.reason) for each in found.not_comparable] == [
        (2, "the baseline did not measure 2 requests in flight")
    ]


async def test_a_baseline_that_is_none_or_of_other_work_is_refused_at_the_door(laboratory) -> None:
    async with laboratory() as lab:
        base = (await lab.measured("tiny", num_runs=1, prompts=("Other work.",))).benchmark
        for baseline in ("bench_none", base.id):
            with pytest.raises(Invalid) as refused:
                await lab.submit("tiny", num_runs=1, baseline_id=baseline)
            assert refused.value.problems[0].pointer == "/baseline_id"
        target = await lab.measured("tiny", num_runs=1)
        with pytest.raises(Invalid, match="cannot be compared"):
            await benchmarks.compare(lab.resources, target.benchmark.id, baseline_id=base.id)
        with pytest.raises(Invalid, match="nothing to compare"):
            await benchmarks.compare(lab.resources, target.benchmark.id)


async def test_a_benchmark_that_runs_cannot_be_compared_yet(laboratory) -> None:
    async with laboratory(worker=False) as lab:
        one, other = await lab.submit("tiny"), await lab.submit("tiny")
        with pytest.raises(Conflict, match="when it has ended"):
            await benchmarks.compare(lab.resources, one, baseline_id=other)

"""A benchmark that has everything a report can show, the same each time, with hostile texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from promptmill.domain.benchmarks.comparison import Side, compare_benchmarks, compare_models
from promptmill.domain.benchmarks.plan import plan, total_steps
from promptmill.domain.benchmarks.records import (
    Benchmark,
    BenchmarkDraft,
    BenchmarkRun,
    Environment,
    Flag,
    ModelEnvironment,
    Phase,
    RunCounts,
    ServiceLevel,
)
from promptmill.domain.benchmarks.summary import summarise
from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.outcomes import CallMetrics, ErrorCode
from promptmill.reports import ReportInput

STARTED_MS = 1_790_000_000_000
HOSTILE = (
    "<script>alert('label')</script> | =cmd() & `code` @someone [link](https://example.invalid)"
)
QWEN = "qwen3:8b"
GEMMA = "hf.co/some|one/<b>gemma</b>:Q4_K_M"
MISSING = "=cmd('x')!A1"
PACE = {QWEN: 0.020, GEMMA: 0.012}
"""Seconds per token of each model."""

DRAFT = BenchmarkDraft(
    models=(QWEN, GEMMA, MISSING),
    prompts=(
        "=HYPERLINK(1)\nWrite </script><img src=x onerror=alert(1)> | and more. " + "Why? " * 60,
    ),
    num_runs=6,
    concurrency=(1, 4),
    options={"num_predict": 128, "temperature": 0, "seed": 42},
    measure_cold_load=True,
    slo=ServiceLevel(latency_s=3.0, ttft_s=1.0),
    baseline_id="bench_before",
    label=HOSTILE,
    host_info="a **board** with <i>two</i> cores | 8 GB\nsecond line",
    metadata={"team|a": "<u>x</u>"},
)
ENVIRONMENT = Environment(
    host="http://gpu.local:11434",
    ollama_version="0.33.0",
    service_version="0.1.0",
    models={
        QWEN: ModelEnvironment(
            model_digest="sha256:0123456789abcdef",
            family="qwen3",
            parameter_size="8.2B",
            quantization_level="Q4_K_M",
            context_length=4096,
            size=6_000_000_000,
            size_vram=4_500_000_000,
            capabilities=("completion", "thinking"),
        ),
        MISSING: ModelEnvironment(
            error="model '=cmd' not found | <b>pull</b> it first",
            error_code=ErrorCode.MODEL_NOT_FOUND,
        ),
    },
)


def wobble(step: int) -> float:
    """Noise of up to 4 % around 1 that is no chance at all."""
    return 1 + ((step * 7919) % 81 - 40) / 1000


def runs_of(draft: BenchmarkDraft, *, slower: float = 1.0) -> list[BenchmarkRun]:
    return list(_runs(draft, slower))


def _runs(draft: BenchmarkDraft, slower: float) -> Iterator[BenchmarkRun]:
    clock = 0.0
    session = 1
    for block in plan(draft):
        if block.model == MISSING:
            continue
        if block.model == GEMMA and session == 1:
            clock, session = 0.0, 2
        for place, step in enumerate(block.steps):
            factor = slower * wobble(step.number)
            prefill_s, decode_s = 0.3 * factor, 127 * PACE.get(block.model, 0.03) * factor
            load_s = 2.5 if block.phase is Phase.COLD_LOAD else 0.004
            queue_s = 0.4 * (block.concurrency - 1) / 3 * factor
            total_s = load_s + queue_s + prefill_s + decode_s
            scheduled_s = clock + place // block.concurrency * total_s
            run = BenchmarkRun(
                step=step.number,
                session=session,
                block=block.number,
                phase=block.phase,
                model=block.model,
                prompt_index=step.prompt_index,
                concurrency=block.concurrency,
                run_index=step.run_index,
                status=TaskState.SUCCEEDED,
                scheduled_at_ms=STARTED_MS + round(scheduled_s * 1000),
                started_at_ms=STARTED_MS + round(scheduled_s * 1000) + 1,
                scheduled_s=scheduled_s,
                ended_s=scheduled_s + total_s + 0.01,
                done_reason="length",
                latency_s=total_s + 0.01,
                client_queue_s=0.001,
                ttft_s=load_s + queue_s + prefill_s + 0.005,
                ttfo_s=load_s + queue_s + prefill_s + 0.005,
                metrics=CallMetrics(
                    total_duration=round(total_s * 1e9),
                    load_duration=round(load_s * 1e9),
                    prompt_eval_count=320,
                    prompt_eval_duration=round(prefill_s * 1e9),
                    eval_count=128,
                    eval_duration=round(decode_s * 1e9),
                ),
                cached_prompt_tokens=0 if block.model == QWEN else None,
                response_chars=512,
                flags=() if block.model == QWEN else (Flag.CACHE_UNKNOWN,),
            )
            yield _with_trouble(run)
        clock += (len(block.steps) / block.concurrency + 1) * total_s


def _with_trouble(run: BenchmarkRun) -> BenchmarkRun:
    """The third to fifth runs of a block of many are not as they should be."""
    if run.phase is not Phase.MEASURED or run.concurrency == 1:
        return run
    failed = {
        "status": TaskState.FAILED,
        "latency_s": None,
        "ttft_s": None,
        "ttfo_s": None,
        "metrics": CallMetrics(),
        "response_chars": None,
        "cached_prompt_tokens": None,
    }
    match run.run_index:
        case 2:
            error = "no answer within 300 s | <b>x</b>"
            return replace(run, **failed, error_code=ErrorCode.TIMEOUT, error=error, flags=())
        case 3:
            code, flags = ErrorCode.INCOMPLETE, (Flag.NO_DONE,)
            return replace(run, **failed, error_code=code, error="cut", flags=flags)
        case 4:
            short = run.metrics.eval_duration * 7 // 127
            saved = run.metrics.eval_duration - short
            metrics = replace(
                run.metrics,
                eval_count=8,
                eval_duration=short,
                total_duration=run.metrics.total_duration - saved,
            )
            return replace(
                run,
                metrics=metrics,
                latency_s=run.latency_s - saved / 1e9,
                done_reason="stop",
                flags=(*run.flags, Flag.TOO_FEW_TOKENS),
            )
        case 5:
            return replace(run, flags=(*run.flags, Flag.MODEL_RELOADED))
    return run


def benchmark_of(
    draft: BenchmarkDraft, runs: Sequence[BenchmarkRun], *, name: str = "bench_now"
) -> Benchmark:
    failed = sum(not run.succeeded for run in runs)
    total = total_steps(draft)
    return Benchmark(
        key=1,
        id=name,
        state=JobState.COMPLETED,
        draft=draft,
        counts=RunCounts(
            total=total,
            succeeded=len(runs) - failed,
            failed=failed,
            skipped=total - len(runs),
        ),
        environment=ENVIRONMENT,
        created_at_ms=STARTED_MS - 5000,
        started_at_ms=STARTED_MS,
        finished_at_ms=STARTED_MS + 600_000,
        error=None,
        read_at_ms=STARTED_MS + 700_000,
        sessions=2,
    )


def report(draft: BenchmarkDraft = DRAFT) -> ReportInput:
    """The report of a benchmark beside one that ran before and was slower."""
    runs = runs_of(draft)
    before = replace(draft, models=(QWEN,), concurrency=(1,), host_info=None, label=None)
    before_runs = runs_of(before, slower=1.2)
    earlier = benchmark_of(before, before_runs, name="bench_before")
    base = Side(
        benchmark=replace(
            earlier, environment=replace(ENVIRONMENT, ollama_version="0.32.0 | <b>old</b>")
        ),
        runs=before_runs,
    )
    target = Side(benchmark=benchmark_of(draft, runs), runs=runs)
    return ReportInput(
        benchmark=target.benchmark,
        results={
            model: summarise(
                draft,
                model,
                [run for run in runs if run.model == model],
                environment=ENVIRONMENT.models.get(model, ModelEnvironment()),
                response="An answer.",
            )
            for model in draft.models
        },
        runs=runs,
        comparison=compare_benchmarks(base, target),
        model_comparison=compare_models(target),
    )


def report_of_nothing() -> ReportInput:
    """The report of a benchmark that has just been accepted."""
    draft = BenchmarkDraft(models=(QWEN,))
    benchmark = replace(
        benchmark_of(draft, []),
        state=JobState.QUEUED,
        counts=RunCounts(total=total_steps(draft)),
        environment=Environment(),
        started_at_ms=None,
        finished_at_ms=None,
        sessions=0,
    )
    return ReportInput(benchmark=benchmark, results={}, runs=[])

"""Records of a benchmark; its runs and comparisons are in `benchmark_findings`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from promptmill.contract import benchmark_examples as shown
from promptmill.contract.record import (
    ENDED_STATUSES,
    Count,
    ErrorWord,
    OneOf,
    Record,
    Seconds,
    Time,
)
from promptmill.domain.benchmarks.records import Flag
from promptmill.domain.benchmarks.statistics import Method

Rate = Annotated[float, Field(ge=0)]
BenchmarkStatus = Literal["queued", "running", "cancelling", "completed", "failed", "cancelled"]
"""States of `domain.lifecycle.JobState` that a benchmark can be in."""
FlagWord = Annotated[str, OneOf(Flag)]
MethodWord = Annotated[str, OneOf(Method)]
FLAGS = (
    "Conditions that affect how far the figures can be trusted, from a closed list: "
    + ", ".join(f"`{flag.value}`" for flag in Flag)
)


class RunCounts(Record):
    """Number of runs in each state; the numbers add up to `total`."""

    total: Count = Field(description="Runs of the benchmark, warm-ups included.", examples=[8])
    pending: Count = Field(description="Not started, or in progress.", examples=[0])
    succeeded: Count = Field(description="Answered.", examples=[4])
    failed: Count = Field(description="Ended with an error.", examples=[1])
    skipped: Count = Field(description="Not run, because their model cannot run.", examples=[3])
    cancelled: Count = Field(description="Cancelled with the benchmark.", examples=[0])

    @property
    def finished(self) -> int:
        """Number of runs that need no more work."""
        return self.succeeded + self.failed + self.skipped + self.cancelled


class Interval(Record):
    """A 95 % confidence interval."""

    low: float = Field(description="Its lower end.", examples=[0.79])
    high: float = Field(description="Its upper end.", examples=[0.86])
    of: Annotated[str, OneOf(Literal["median", "mean", "ratio"])] = Field(
        description="Statistic that the interval is about.", examples=["mean"]
    )
    method: MethodWord = Field(description="Method of computation.", examples=["student_t"])


class Distribution(Record):
    """Statistics of a series of values; a statistic that needs more values is null."""

    n: Count = Field(description="Values.", examples=[3])
    mean: float | None = Field(description="Arithmetic mean.", examples=[0.82])
    stddev: float | None = Field(
        description="Standard deviation of a sample (n - 1); null below 2.", examples=[0.013]
    )
    cv: float | None = Field(
        description="Coefficient of variation: `stddev / mean`.", examples=[0.016]
    )
    min: float | None = Field(description="Smallest value.", examples=[0.81])
    p50: float | None = Field(description="Median.", examples=[0.82])
    p90: float | None = Field(description="90th percentile; null below 10.", examples=[None])
    p95: float | None = Field(description="95th percentile; null below 20.", examples=[None])
    p99: float | None = Field(description="99th percentile; null below 100.", examples=[None])
    max: float | None = Field(description="Largest value.", examples=[0.84])
    ci95: Interval | None = Field(
        description="95 % confidence interval: of the median from 6 values on, of the mean for 2"
        " to 5.",
        examples=[shown.DISTRIBUTION["ci95"]],
    )


def _distribution(description: str) -> Any:  # noqa: ANN401 - the type of Field()
    return Field(description=description, examples=[shown.DISTRIBUTION])


class LatencyParts(Record):
    """Mean durations of the parts of the latency; they do not add up to it exactly."""

    load_s: Seconds | None = Field(description="Loading, by Ollama's clock.", examples=[0.01])
    queue_s: Seconds | None = Field(
        description="Waiting at the host: its total minus the other three parts.", examples=[0.002]
    )
    prefill_s: Seconds | None = Field(description="Reading the prompt.", examples=[0.02])
    decode_s: Seconds | None = Field(description="Writing the answer.", examples=[0.78])


class Level(Record):
    """Figures of one model with one prompt at one level."""

    prompt_index: int = Field(description="Place of the prompt, from 0.", examples=[0])
    concurrency: int = Field(description="Requests that were kept in flight.", examples=[1])
    workload_hash: str = Field(
        description="SHA-256 of the prompt, `options`, `think` and `prefix_cache`; equal hashes"
        " stand for equal work.",
        examples=[shown.WORKLOAD_HASH],
    )
    n_attempted: Count = Field(description="Measured runs.", examples=[3])
    n_ok: Count = Field(description="Runs with an answer.", examples=[3])
    n_failed: Count = Field(description="Those that failed.", examples=[0])
    errors: dict[str, int] = Field(
        description="Failed runs by `error_code`.", examples=[{"timeout": 1}]
    )
    latency_s: Distribution = _distribution("Seconds from the scheduled start to the end.")
    ttft_s: Distribution = _distribution("Seconds to the first text, thinking included.")
    ttfo_s: Distribution = _distribution("Seconds to the first text of the answer itself.")
    tpot_s: Distribution = _distribution("Seconds for each token after the first.")
    decode_tokens_per_sec: Distribution = _distribution("`eval_count` over `eval_duration`.")
    prefill_tokens_per_sec: Distribution = _distribution(
        "Uncached tokens of the prompt over `prompt_eval_duration`; no values if the cache"
        " is unknown or the prompt has fewer than 64 tokens."
    )
    e2e_tokens_per_sec: Distribution = _distribution("`eval_count` over the latency.")
    chars_per_sec: Distribution = _distribution("Characters of the answer over the latency.")
    prompt_tokens: Distribution = _distribution("Tokens of the prompt as it was sent.")
    output_tokens: Distribution = _distribution("Tokens of the answer, thinking included.")
    server_overhead_s: Distribution = _distribution(
        "Seconds of Ollama's total beyond load, prefill and decode."
    )
    latency_parts: LatencyParts = Field(
        description="Parts of the latency.", examples=[shown.LEVEL["latency_parts"]]
    )
    window_s: Seconds | None = Field(
        description="Seconds in which the level's requests were kept in flight.", examples=[2.46]
    )
    output_throughput_tok_s: Rate | None = Field(
        description="Tokens written per second by all requests together.", examples=[156.1]
    )
    request_throughput_req_s: Rate | None = Field(
        description="Answers per second.", examples=[1.22]
    )
    goodput_req_s: Rate | None = Field(
        description="Good answers per second; null without an `slo`.", examples=[1.22]
    )
    good_request_fraction: float | None = Field(
        ge=0,
        le=1,
        description="Share of attempted requests with a good answer; null without an `slo`.",
        examples=[1.0],
    )
    effective_parallelism: Rate | None = Field(
        description="Mean number of requests that the host worked on at a time; about 1 at a higher"
        " level means that the host serialises requests.",
        examples=[0.98],
    )
    flags: tuple[FlagWord, ...] = Field(description=f"{FLAGS}.", examples=[["too_few_runs"]])


class ColdLoad(Record):
    """First answer of a model that was not loaded."""

    load_s: Seconds | None = Field(description="Loading, by Ollama's clock.", examples=[2.9])
    ttft_s: Seconds | None = Field(description="Seconds to the first text.", examples=[3.1])
    latency_s: Seconds | None = Field(description="Seconds to the end.", examples=[3.9])
    error: str | None = Field(description="Why there is none.", examples=[None])


class ModelResult(Record):
    """Figures of one model; the first fields are those of `OllamaManager.batch_benchmark`."""

    model: str = Field(description="The model.", examples=["qwen3:8b"])
    latency: Seconds | None = Field(
        description="Mean seconds of the successful measured runs.", examples=[0.82]
    )
    tokens_per_sec: Rate | None = Field(
        description="Sum of `eval_count` over sum of `eval_duration`, of the answers of 16 tokens"
        " and more.",
        examples=[164.1],
    )
    prompt: str = Field(description="The first prompt.", examples=["Test prompt"])
    response: str | None = Field(description="An answer.", examples=["This is a test."])
    num_runs: int = Field(description="As it was asked for.", examples=[3])
    error: str | None = Field(
        description="Why there are no figures.", examples=["model 'gemma3:4b' not found"]
    )
    error_code: ErrorWord | None = Field(
        description="The same from the closed list.", examples=["model_not_found"]
    )
    n_ok: Count = Field(description="Measured runs with an answer.", examples=[3])
    n_failed: Count = Field(description="Measured runs that failed.", examples=[0])
    levels: tuple[Level, ...] = Field(
        description="The figures, by level and prompt.", examples=[[shown.LEVEL]]
    )
    cold_load: ColdLoad | None = Field(
        description="The first answer after an unload; null unless `measure_cold_load`.",
        examples=[shown.COLD_LOAD],
    )
    flags: tuple[FlagWord, ...] = Field(description=f"{FLAGS}.", examples=[["too_few_runs"]])


class ModelEnvironment(Record):
    """Description of a model while it was measured, as Ollama reported it."""

    model_digest: str | None = Field(description="What the name stood for.", examples=["500a1f06"])
    family: str | None = Field(description="Architecture.", examples=["qwen3"])
    parameter_size: str | None = Field(description="As Ollama writes it.", examples=["8.2B"])
    quantization_level: str | None = Field(description="As Ollama writes it.", examples=["Q4_K_M"])
    context_length: int | None = Field(
        description="Tokens of the window that it was loaded with.", examples=[4096]
    )
    size: int | None = Field(description="Bytes in memory.", examples=[6_500_000_000])
    size_vram: int | None = Field(
        description="Bytes of these on graphics cards.", examples=[6_500_000_000]
    )
    gpu_offload_share: float | None = Field(
        description="`size_vram / size`, as Ollama reports it.", examples=[1.0]
    )
    capabilities: tuple[str, ...] | None = Field(
        description="What it can do.", examples=[["completion", "thinking"]]
    )
    remote: bool = Field(
        description="Whether the host passed its calls on to another server.", examples=[False]
    )
    loaded_before: tuple[str, ...] | None = Field(
        description="Models in the host's memory before its first run.", examples=[["gemma3:4b"]]
    )
    loaded_after: tuple[str, ...] | None = Field(
        description="The same after its last run.", examples=[["qwen3:8b"]]
    )


class Environment(Record):
    """Conditions of a benchmark."""

    host: str | None = Field(description="The host.", examples=["http://127.0.0.1:11434"])
    host_info: str | None = Field(description="As you gave it.", examples=["RTX 4090"])
    ollama_version: str | None = Field(description="Ollama's version.", examples=["0.24.0"])
    service_version: str | None = Field(description="Promptmill's version.", examples=["0.1.0"])
    workload_hash: str = Field(
        description="SHA-256 of the work: equal for equal work.", examples=[shown.WORKLOAD_HASH]
    )
    options_effective: dict[str, Any] = Field(
        description="The options of every run.",
        examples=[{"num_predict": 128, "temperature": 0, "seed": 42}],
    )
    models: dict[str, ModelEnvironment] = Field(
        description="Each model that has begun.", examples=[shown.ENVIRONMENT["models"]]
    )


class Slo(Record):
    """Service level objectives that a good request meets."""

    latency_s: float | None = Field(description="Most seconds to the end.", examples=[None])
    ttft_s: float | None = Field(description="Most seconds to the first text.", examples=[0.5])
    tpot_s: float | None = Field(description="Most seconds a token.", examples=[0.05])


class BenchmarkSummary(Record):
    """A benchmark without its figures."""

    id: str = Field(description="The benchmark's id.", examples=[shown.BENCHMARK_ID])
    object: Literal["benchmark"] = Field(description="Always `benchmark`.", examples=["benchmark"])
    status: Annotated[str, OneOf(BenchmarkStatus)] = Field(
        description="`queued` (waiting for the host), `running`, `cancelling`, and at the end"
        " `completed` (one run at least has an answer), `failed` (none has) or `cancelled`.",
        examples=["completed"],
    )
    label: str | None = Field(description="Your title.", examples=["before the update"])
    models: tuple[str, ...] = Field(description="The models.", examples=[["qwen3:8b", "gemma3:4b"]])
    prompt: str = Field(description="The first prompt.", examples=["Test prompt"])
    prompts: tuple[str, ...] = Field(description="All prompts.", examples=[["Test prompt"]])
    num_runs: int = Field(description="Measured runs for each request in flight.", examples=[3])
    warmup_runs: int = Field(description="Runs before the measuring.", examples=[1])
    concurrency: tuple[int, ...] = Field(description="The levels.", examples=[[1]])
    options: dict[str, Any] = Field(
        description="The options of every run.",
        examples=[{"num_predict": 128, "temperature": 0, "seed": 42}],
    )
    think: bool | str | None = Field(description="As it was sent.", examples=[None])
    prefix_cache: Annotated[str, OneOf(Literal["avoid", "allow"])] = Field(
        description="What was done about the prefix cache.", examples=["avoid"]
    )
    measure_cold_load: bool = Field(description="As it was sent.", examples=[True])
    order: Annotated[str, OneOf(Literal["sequential", "interleaved"])] = Field(
        description="The order of the measured runs.", examples=["sequential"]
    )
    cooldown_s: float = Field(description="Seconds of rest before each block.", examples=[0.0])
    timeout_s: float = Field(description="Seconds that one run may take.", examples=[300.0])
    keep_alive: float | str | None = Field(description="As it was sent.", examples=[None])
    slo: Slo | None = Field(description="As it was sent.", examples=[shown.SUMMARY["slo"]])
    baseline_id: str | None = Field(description="As it was sent.", examples=[None])
    host_info: str | None = Field(description="As it was sent.", examples=["RTX 4090"])
    metadata: dict[str, str] = Field(
        description="Your pairs, as sent.", examples=[{"project": "upgrade"}]
    )
    counts: RunCounts = Field(description="Runs by state.", examples=[shown.SUMMARY["counts"]])
    progress: float = Field(
        ge=0, le=1, description="Share of runs that need no more work.", examples=[1.0]
    )
    eta_s: float | None = Field(
        description="Seconds until the last run at the pace so far.", examples=[None]
    )
    sessions: int = Field(
        description="How often a worker has taken it up; above 1 after a crash or a restart.",
        examples=[1],
    )
    created_at: Time = Field(
        description="When it was accepted.", examples=["2026-11-23T06:30:00.123Z"]
    )
    started_at: Time | None = Field(
        description="When it was first taken up.", examples=["2026-11-23T06:30:00.223Z"]
    )
    finished_at: Time | None = Field(
        description="When it ended.", examples=["2026-11-23T06:30:09.456Z"]
    )
    error: str | None = Field(description="Why all of it failed.", examples=[None])
    environment: Environment = Field(
        description="What it was measured on.", examples=[shown.ENVIRONMENT]
    )

    @property
    def has_ended(self) -> bool:
        """Whether the benchmark is in a final state."""
        return self.status in ENDED_STATUSES

    @property
    def all_succeeded(self) -> bool:
        """Whether the benchmark has ended and every run, warm-ups included, succeeded."""
        return self.has_ended and self.counts.succeeded == self.counts.total


class Benchmark(BenchmarkSummary):
    """A benchmark with its figures so far."""

    results: dict[str, ModelResult] = Field(
        description="The figures of each model. Empty with `?results=false`.",
        examples=[shown.BENCHMARK["results"]],
    )

    def _repr_html_(self) -> str:
        from promptmill.display import html  # noqa: PLC0415 - only notebooks ask for it

        return html.benchmark(self)


class BenchmarkPage(Record):
    """Page of benchmarks, newest first."""

    data: tuple[BenchmarkSummary, ...] = Field(
        description="The benchmarks.", examples=[[shown.SUMMARY]]
    )
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null at the end.", examples=[None]
    )

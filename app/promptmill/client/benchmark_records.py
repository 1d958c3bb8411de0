"""What the service tells of benchmarks, as immutable typed records with its own field names.

The conventions of `client.records` hold: `*_s` are seconds, Ollama's own durations integer
nanoseconds, times aware UTC. A figure that the runs cannot carry is None, never 0.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from promptmill.client.records import ENDED_STATUSES, Record


class BenchmarkCounts(Record):
    """How many runs of a benchmark are where; they add up to `total`."""

    total: int
    pending: int = 0
    """Still to come, or under way."""
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    """Not run, because their model cannot be run at all."""
    cancelled: int = 0

    @property
    def finished(self) -> int:
        """Runs that need no more work."""
        return self.succeeded + self.failed + self.skipped + self.cancelled


class Interval(Record):
    """A 95 % confidence interval."""

    low: float
    high: float
    of: str
    """What it is an interval of: `mean`, `median` or `ratio`."""
    method: str


class Distribution(Record):
    """What the values of a row of runs are like."""

    n: int = 0
    """How many values there are."""
    mean: float | None = None
    stddev: float | None = None
    cv: float | None = None
    """Coefficient of variation: `stddev / mean`."""
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    """None below 10 values."""
    p95: float | None = None
    """None below 20 values."""
    p99: float | None = None
    """None below 100 values."""
    max: float | None = None
    ci95: Interval | None = None


class LatencyParts(Record):
    """Where the latency goes, as means; they do not quite add up to it."""

    load_s: float | None = None
    queue_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None


class BenchmarkLevel(Record):
    """What a model did with one prompt at one number of requests in flight."""

    prompt_index: int
    concurrency: int
    workload_hash: str | None = None
    n_attempted: int
    n_ok: int
    n_failed: int
    errors: dict[str, int] = Field(default_factory=dict[str, int])
    """Failed runs by their error code."""
    latency_s: Distribution = Distribution()
    ttft_s: Distribution = Distribution()
    """To the first text, thinking included."""
    ttfo_s: Distribution = Distribution()
    """To the first text of the answer itself."""
    tpot_s: Distribution = Distribution()
    """Per output token after the first."""
    decode_tokens_per_sec: Distribution = Distribution()
    prefill_tokens_per_sec: Distribution = Distribution()
    e2e_tokens_per_sec: Distribution = Distribution()
    chars_per_sec: Distribution = Distribution()
    prompt_tokens: Distribution = Distribution()
    output_tokens: Distribution = Distribution()
    server_overhead_s: Distribution = Distribution()
    latency_parts: LatencyParts = LatencyParts()
    window_s: float | None = None
    """In which requests were kept in flight; what the rates per second below go by."""
    output_throughput_tok_s: float | None = None
    request_throughput_req_s: float | None = None
    goodput_req_s: float | None = None
    """Requests per second that were as good as the SLO wants; None without one."""
    good_request_fraction: float | None = None
    effective_parallelism: float | None = None
    """Requests that the host worked on at a time, on average."""
    flags: tuple[str, ...] = ()
    """What to know before trusting these figures."""


class ColdLoad(Record):
    """The first answer of a model that was not in memory."""

    load_s: float | None = None
    ttft_s: float | None = None
    latency_s: float | None = None
    error: str | None = None


class BenchmarkResult(Record):
    """All figures of one model."""

    model: str
    latency: float | None = None
    """Mean seconds of the successful measured runs."""
    tokens_per_sec: float | None = None
    """All tokens over all time that Ollama took to write them."""
    prompt: str
    response: str | None = None
    """The answer of one run."""
    num_runs: int
    error: str | None = None
    error_code: str | None = None
    n_ok: int = 0
    n_failed: int = 0
    levels: tuple[BenchmarkLevel, ...] = ()
    cold_load: ColdLoad | None = None
    flags: tuple[str, ...] = ()


class ModelEnvironment(Record):
    """What a model was while it was measured, as Ollama told it."""

    model_digest: str | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None
    context_length: int | None = None
    size: int | None = None
    """Bytes, in all memory."""
    size_vram: int | None = None
    gpu_offload_share: float | None = None
    """Share of the model on graphics cards, 0 to 1."""
    capabilities: tuple[str, ...] | None = None
    remote: bool = False
    loaded_before: tuple[str, ...] | None = None
    loaded_after: tuple[str, ...] | None = None


class BenchmarkEnvironment(Record):
    """What a benchmark was measured on."""

    host: str | None = None
    host_info: str | None = None
    """What the user said about the machine."""
    ollama_version: str | None = None
    service_version: str | None = None
    workload_hash: str | None = None
    options_effective: dict[str, Any] = Field(default_factory=dict[str, Any])
    models: dict[str, ModelEnvironment] = Field(default_factory=dict[str, ModelEnvironment])


class Benchmark(Record):
    """A benchmark as it stood when the service answered."""

    id: str
    status: str
    """`queued` (also while it waits for the host), `running`, `cancelling`, `completed`, `failed`
    or `cancelled`."""
    label: str | None = None
    models: tuple[str, ...]
    prompt: str
    """The first of `prompts`."""
    prompts: tuple[str, ...] = ()
    num_runs: int
    warmup_runs: int = 0
    concurrency: tuple[int, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    think: bool | str | None = None
    prefix_cache: str | None = None
    measure_cold_load: bool = False
    order: str | None = None
    cooldown_s: float = 0.0
    timeout_s: float | None = None
    keep_alive: float | str | None = None
    slo: dict[str, float | None] | None = None
    baseline_id: str | None = None
    host_info: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict[str, str])
    counts: BenchmarkCounts
    progress: float
    """Share of the runs that need no more work, 0 to 1."""
    eta_s: float | None = None
    """Seconds until the last run, at the pace so far."""
    sessions: int = 0
    """How often a worker has taken it up; more than once after a crash."""
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    error: str | None = None
    environment: BenchmarkEnvironment = BenchmarkEnvironment()
    results: dict[str, BenchmarkResult] = Field(default_factory=dict[str, BenchmarkResult])
    """The figures by model, also of a benchmark that still runs; empty where not asked for."""

    def _repr_html_(self) -> str:
        from promptmill.display import html  # noqa: PLC0415 - only notebooks ask for it

        return html.benchmark(self)

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED_STATUSES

    @property
    def all_succeeded(self) -> bool:
        """Whether it has ended and every run has an answer, warm-ups included."""
        return self.has_ended and self.counts.succeeded == self.counts.total


class BenchmarkPage(Record):
    """Some benchmarks without their figures, newest first."""

    data: tuple[Benchmark, ...]
    next_cursor: str | None = None


class ChunkIntervals(Record):
    """Times between the pieces of an answer; a piece may hold several tokens."""

    chunks: int
    p50_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None


class BenchmarkRun(Record):
    """One run: one attempt, whatever came of it."""

    run_index: int
    phase: str
    """`cold_load`, `warmup` or `measured`."""
    model: str
    prompt_index: int
    concurrency: int
    session: int = 1
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    status: str
    error_code: str | None = None
    error: str | None = None
    done_reason: str | None = None
    latency_s: float | None = None
    """From the scheduled start to the end of the answer."""
    client_queue_s: float | None = None
    ttft_s: float | None = None
    ttfo_s: float | None = None
    tpot_s: float | None = None
    icl: ChunkIntervals | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None
    prompt_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    """None: not known."""
    output_tokens: int | None = None
    response: str | None = None
    response_sha256: str | None = None
    flags: tuple[str, ...] = ()


class RunPage(Record):
    """Some runs, in the order in which they were recorded."""

    data: tuple[BenchmarkRun, ...]
    next_cursor: str | None = None


class ComparedMeasure(Record):
    """One measure of one model, prompt and level on both sides."""

    metric: str
    model: str
    baseline_model: str
    prompt_index: int
    concurrency: int
    ratio: float | None = None
    """This benchmark over the baseline: 1.1 is a tenth more."""
    ci95: Interval | None = None
    method: str | None = None
    p_value: float | None = None
    n_base: int = 0
    n_target: int = 0
    verdict: str
    """`faster`, `slower`, `no_significant_difference` or `insufficient_data`."""


class NotComparable(Record):
    """A model, prompt and level that the baseline has nothing like."""

    model: str
    prompt_index: int
    concurrency: int
    reason: str


class Difference(Record):
    """Something besides the measured values that is not the same on both sides."""

    what: str
    base: Any = None
    target: Any = None


class BenchmarkComparison(Record):
    """A benchmark (the target) beside an earlier one (the baseline)."""

    baseline_id: str
    target_id: str
    comparisons: tuple[ComparedMeasure, ...]
    not_comparable: tuple[NotComparable, ...] = ()
    differences: tuple[Difference, ...] = ()
    geomean_ratio: dict[str, float | None] = Field(default_factory=dict[str, float | None])
    """Of each measure, the geometric mean of its ratios."""

"""Records of a benchmark: specification, state and runs.

Plain immutable records. Moments are integer milliseconds since 1970 UTC (`_ms`), durations seconds
(`_s`), except Ollama's own counters, which stay nanoseconds. Unknown values are None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from json import dumps
from typing import Any

from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.outcomes import CallMetrics, ErrorCode


class Phase(StrEnum):
    """The purpose of a run."""

    COLD_LOAD = "cold_load"
    """The first run after the model was unloaded; it shows the load time only."""
    WARMUP = "warmup"
    """A run before the measured ones, with the same options; not counted."""
    MEASURED = "measured"
    """A run from which figures are computed."""


class PrefixCache(StrEnum):
    """Uses of Ollama's prefix cache, which is always on."""

    AVOID = "avoid"
    """Unique digits precede each prompt, so that nothing of it is cached."""
    ALLOW = "allow"
    """Prompts are sent as they are; how much of them is cached is unknown."""


class Order(StrEnum):
    """The order of a model's measured runs; models never alternate, because each switch loads."""

    SEQUENTIAL = "sequential"
    """All runs of a level and prompt, then those of the next."""
    INTERLEAVED = "interleaved"
    """Rounds with one run of every level and prompt.

    Slow changes of the machine, such as its heat, then affect all of them alike.
    """


class Flag(StrEnum):
    """Reasons to doubt a figure."""

    NO_DONE = "no_done"
    """The stream ended without `done: true`: a failed run."""
    TOO_FEW_TOKENS = "too_few_tokens"
    """The answer is too short for a meaningful rate, and is left out of all rates."""
    MODEL_RELOADED = "model_reloaded"
    """The model was loaded within this run, whose times are left out of the distributions."""
    PREFIX_CACHE_HIT = "prefix_cache_hit"
    """Ollama had the beginning of the prompt in its cache."""
    CACHE_UNKNOWN = "cache_unknown"
    """The cached part of the prompt is unknown, so that there is no prefill rate."""
    PROMPT_TRUNCATED = "prompt_truncated"
    """Ollama cut the prompt to its window silently."""
    IMPOSSIBLE_RATE = "impossible_rate"
    """The host reports an impossible rate; the run is left out of all rates of its kind."""
    SHORT_OUTPUT = "short_output"
    """The answer ended by itself before half of `num_predict`."""
    PARTIAL_OFFLOAD = "partial_offload"
    """A part of the model runs on the processor, the rest on a graphics card."""
    SERVER_SERIALISED = "server_serialised"
    """The host worked on one request at a time although more were in flight."""
    DRIFT = "drift"
    """The values rose or fell over the order of the runs."""
    HIGH_VARIANCE = "high_variance"
    """The latency's coefficient of variation is above 0.10."""
    TOO_FEW_RUNS = "too_few_runs"
    """Fewer than five good runs, too few for a comparison by ranks."""
    VERSION_CHANGED = "version_changed"
    """Ollama's version or the model's digest changed meanwhile."""
    REMOTE_MODEL = "remote_model"
    """The host passes the model's calls on to another server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLevel:
    """Objectives of a good request, each an upper bound; None: no objective."""

    latency_s: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None


DEFAULT_PROMPT = "Hello, how are you?"
"""Prompt of a benchmark that is given no prompt."""
DEFAULT_OPTIONS: Mapping[str, Any] = {"num_predict": 128, "temperature": 0, "seed": 42}
"""Options of every run unless others are given: equal work of a bounded length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkDraft:
    """A valid request for a benchmark, not stored yet."""

    models: tuple[str, ...]
    prompts: tuple[str, ...] = (DEFAULT_PROMPT,)
    num_runs: int = 3
    """Measured runs of each prompt at each level, per request in flight."""
    warmup_runs: int = 1
    """Runs of each prompt before the measuring, one at a time."""
    concurrency: tuple[int, ...] = (1,)
    """Levels, as numbers of requests kept in flight."""
    options: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_OPTIONS))
    think: bool | str | None = None
    """Value for Ollama; None: the model's default."""
    prefix_cache: PrefixCache = PrefixCache.AVOID
    measure_cold_load: bool = False
    order: Order = Order.SEQUENTIAL
    cooldown_s: float = 0.0
    """Seconds of rest before each block of measured runs."""
    timeout_s: float = 300.0
    """Seconds that one run may take."""
    keep_alive: float | str | None = None
    """Value for Ollama; None: the host's default."""
    slo: ServiceLevel | None = None
    baseline_id: str | None = None
    """Id of the benchmark to compare with."""
    label: str | None = None
    host_info: str | None = None
    """The user's description of the machine."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    def workload_hash(self, prompt_index: int) -> str:
        """Hash that is equal for equal work of one prompt in two benchmarks.

        SHA-256 (hexadecimal) of the prompt, the options, `think` and the use of the prefix cache:
        all that changes the request, except the model, the number of runs and the concurrency.
        """
        work = {
            "prompt": self.prompts[prompt_index],
            "options": dict(self.options),
            "think": self.think,
            "prefix_cache": self.prefix_cache.value,
        }
        text = dumps(work, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()

    @property
    def whole_workload_hash(self) -> str:
        """The workload hash of all prompts together, in their order."""
        hashes = [self.workload_hash(index) for index in range(len(self.prompts))]
        return hashes[0] if len(hashes) == 1 else sha256("".join(hashes).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """Numbers of a benchmark's runs by state; they add up to `total`."""

    total: int
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    """Runs that were skipped because their model cannot run."""
    cancelled: int = 0

    @property
    def pending(self) -> int:
        """Runs that have not ended."""
        return self.total - self.succeeded - self.failed - self.skipped - self.cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEnvironment:
    """The properties of a model while it was measured, as Ollama reported them."""

    model_digest: str | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None
    context_length: int | None = None
    """Tokens of the context window that the model was loaded with."""
    size: int | None = None
    """Bytes of the loaded model in all memory."""
    size_vram: int | None = None
    """Bytes of the loaded model on graphics cards."""
    capabilities: tuple[str, ...] | None = None
    remote: bool = False
    """Whether the host forwards the model's calls to another server."""
    loaded_before: tuple[str, ...] | None = None
    """Models in the host's memory before the first run, from `/api/ps`."""
    loaded_after: tuple[str, ...] | None = None
    """The same after the last run."""
    changed: bool = False
    """Whether Ollama's version or the model's digest had changed at the end."""
    error: str | None = None
    """Why the model cannot run; its remaining runs were skipped."""
    error_code: ErrorCode | None = None

    @property
    def gpu_offload_share(self) -> float | None:
        """The share of the model that is on graphics cards, 0 to 1, as Ollama reports it."""
        if not self.size or self.size_vram is None:
            return None
        return self.size_vram / self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The host and the versions that a benchmark was measured on."""

    host: str | None = None
    ollama_version: str | None = None
    service_version: str | None = None
    models: Mapping[str, ModelEnvironment] = field(default_factory=dict[str, ModelEnvironment])


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A stored benchmark as it stands at one moment."""

    key: int
    """The store's own number. Never shown to a client."""
    id: str
    state: JobState
    draft: BenchmarkDraft
    counts: RunCounts
    environment: Environment
    created_at_ms: int
    started_at_ms: int | None
    finished_at_ms: int | None
    error: str | None
    read_at_ms: int
    """The database's clock when this was read."""
    sessions: int = 0
    """Number of leases of the benchmark; more than one after a crash."""

    @property
    def progress(self) -> float:
        """The share of runs that need no more work, 0 to 1."""
        return 1 - self.counts.pending / self.counts.total

    @property
    def eta_s(self) -> float | None:
        """Seconds until the last run at the pace so far; None when unknown or at the end."""
        done = self.counts.succeeded + self.counts.failed
        if self.started_at_ms is None or self.finished_at_ms is not None or not done:
            return None
        return (self.read_at_ms - self.started_at_ms) / 1000 / done * self.counts.pending


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkIntervals:
    """Times between the chunks of an answer. A chunk may hold several tokens."""

    chunks: int
    p50_s: float | None = None
    p95_s: float | None = None
    max_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRun:
    """One run: a single attempt, stored once and never changed."""

    step: int
    """The run's index in the plan."""
    session: int
    """The number of the lease under which the run was measured, counted from 1."""
    block: int
    """The block of the plan whose requests were kept in flight together."""
    phase: Phase
    model: str
    prompt_index: int
    concurrency: int
    run_index: int
    """Counted from 0 within its phase, prompt and level."""
    status: TaskState
    """`succeeded` or `failed`."""
    scheduled_at_ms: int
    started_at_ms: int
    scheduled_s: float
    """When the run was due, in seconds since its session began, by a monotonic clock."""
    ended_s: float
    """When the run's outcome was complete, by the same clock."""
    error_code: ErrorCode | None = None
    error: str | None = None
    done_reason: str | None = None
    latency_s: float | None = None
    """Seconds from the scheduled start to the end of the answer."""
    client_queue_s: float | None = None
    """Seconds from the scheduled start until the request was sent."""
    ttft_s: float | None = None
    """Seconds from the scheduled start to the first non-empty text, thinking included."""
    ttfo_s: float | None = None
    """Seconds from the scheduled start to the first text of the answer itself."""
    icl: ChunkIntervals | None = None
    metrics: CallMetrics = field(default_factory=CallMetrics)
    """Ollama's raw counters; the client's times in them are not used."""
    cached_prompt_tokens: int | None = None
    """Tokens of the prompt that were in Ollama's cache; None: unknown."""
    response: str | None = None
    response_chars: int | None = None
    response_sha256: str | None = None
    flags: Sequence[Flag] = ()

    @property
    def succeeded(self) -> bool:
        """Whether the run has an answer."""
        return self.status is TaskState.SUCCEEDED

    @property
    def output_tokens(self) -> int | None:
        """Tokens of the answer, thinking included, as Ollama counted them."""
        return self.metrics.eval_count

    @property
    def prompt_tokens(self) -> int | None:
        """Tokens of the prompt, cached ones included."""
        return self.metrics.prompt_eval_count

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first: (latency - TTFT) / (tokens - 1), in seconds."""
        tokens = self.output_tokens
        if self.latency_s is None or self.ttft_s is None or tokens is None or tokens < 2:  # noqa: PLR2004 - there is no time between fewer than two
            return None
        return (self.latency_s - self.ttft_s) / (tokens - 1)

"""From single runs to figures: one `LevelSummary` for each model, prompt and level.

The rules, which are stated nowhere else:
- Only measured runs count; cold loads are separate, warm-ups are left out.
- A failed run is in every denominator and in no distribution.
- A run that loaded the model again is left out of all times and rates.
- An answer of fewer than `RATE_TOKENS` tokens is left out of all rates.
- An impossible rate is left out of the rates of its kind.
- Throughput is counted over the time in which the level's requests were kept in flight. Where a
  crash broke that in two, the two times are added and the gap is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from promptmill.domain.benchmarks.flags import (
    FASTEST_PREFILL,
    PREFILL_TOKENS,
    RATE_TOKENS,
    is_rate_impossible,
    level_flags,
    seconds,
)
from promptmill.domain.benchmarks.records import (
    BenchmarkDraft,
    BenchmarkRun,
    Flag,
    ModelEnvironment,
    Phase,
    ServiceLevel,
)
from promptmill.domain.benchmarks.statistics import Distribution, distribution, drift
from promptmill.domain.outcomes import ErrorCode

NO_ENVIRONMENT = ModelEnvironment()


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyParts:
    """Mean seconds of the parts of the latency; they do not add up to it exactly."""

    load_s: float | None
    queue_s: float | None
    """Waiting at the host: Ollama's total minus the other three parts."""
    prefill_s: float | None
    decode_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSummary:
    """Figures of one model with one prompt at one level."""

    prompt_index: int
    concurrency: int
    workload_hash: str
    n_attempted: int
    n_ok: int
    n_failed: int
    errors: Mapping[ErrorCode, int]
    latency_s: Distribution
    ttft_s: Distribution
    ttfo_s: Distribution
    tpot_s: Distribution
    decode_tokens_per_sec: Distribution
    prefill_tokens_per_sec: Distribution
    e2e_tokens_per_sec: Distribution
    chars_per_sec: Distribution
    prompt_tokens: Distribution
    output_tokens: Distribution
    server_overhead_s: Distribution
    latency_parts: LatencyParts
    window_s: float | None
    """Seconds in which the level's requests were kept in flight."""
    output_throughput_tok_s: float | None
    request_throughput_req_s: float | None
    goodput_req_s: float | None
    """Good requests per second; None without an SLO."""
    good_request_fraction: float | None
    """Share of attempted requests with a good answer; None without an SLO."""
    effective_parallelism: float | None
    """Mean number of requests that the host worked on at a time.

    It is the sum of prefill and decode times over the time of the level. About 1 with several
    requests in flight means that the host serialises.
    """
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdLoad:
    """First answer of a model that was not loaded."""

    load_s: float | None
    ttft_s: float | None
    latency_s: float | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """All figures of one model; the first fields are those of `OllamaManager.batch_benchmark`."""

    model: str
    latency: float | None
    """Mean seconds of the successful measured runs."""
    tokens_per_sec: float | None
    """Sum of `eval_count` over sum of `eval_duration`, of the runs that count for rates."""
    prompt: str
    response: str | None
    """Answer of one successful measured run."""
    num_runs: int
    error: str | None
    error_code: ErrorCode | None
    n_ok: int
    n_failed: int
    levels: Sequence[LevelSummary]
    cold_load: ColdLoad | None
    flags: tuple[Flag, ...]


Measure = Callable[[BenchmarkRun], float | None]


def is_steady(run: BenchmarkRun) -> bool:
    """Whether the run's times count: it has an answer and did not load the model."""
    return run.succeeded and Flag.MODEL_RELOADED not in run.flags


def counts_for_rates(run: BenchmarkRun) -> bool:
    """Whether rates may be computed from the run."""
    return is_steady(run) and (run.output_tokens or 0) >= RATE_TOKENS


def decode_tokens_per_sec(run: BenchmarkRun) -> float | None:
    """`eval_count` over `eval_duration`, as Ollama computes it; None for impossible rates."""
    if is_rate_impossible(run.output_tokens, run.metrics.eval_duration):
        return None
    return _rate(run.output_tokens, seconds(run.metrics.eval_duration))


def prefill_tokens_per_sec(run: BenchmarkRun) -> float | None:
    """Uncached tokens of the prompt over `prompt_eval_duration`.

    None if the number of cached tokens is unknown, the prompt is short, or the rate is impossible.
    """
    cached, tokens = run.cached_prompt_tokens, run.prompt_tokens
    if cached is None or tokens is None or tokens - cached < PREFILL_TOKENS:
        return None
    if Flag.PREFIX_CACHE_HIT in run.flags:
        return None
    duration = run.metrics.prompt_eval_duration
    if is_rate_impossible(tokens - cached, duration, most=FASTEST_PREFILL):
        return None
    return _rate(tokens - cached, seconds(duration))


def server_overhead_s(run: BenchmarkRun) -> float | None:
    """Ollama's total beyond load, prefill and decode: mostly waiting for a slot."""
    metrics = run.metrics
    if metrics.total_duration is None:
        return None
    # Ollama leaves zero values out.
    known = (metrics.load_duration, metrics.prompt_eval_duration, metrics.eval_duration)
    return max((metrics.total_duration - sum(each or 0 for each in known)) / 1e9, 0.0)


MEASURES: Mapping[str, tuple[Measure, Callable[[BenchmarkRun], bool]]] = {
    "latency_s": (lambda run: run.latency_s, is_steady),
    "ttft_s": (lambda run: run.ttft_s, is_steady),
    "ttfo_s": (lambda run: run.ttfo_s, is_steady),
    "tpot_s": (lambda run: run.tpot_s, counts_for_rates),
    "decode_tokens_per_sec": (decode_tokens_per_sec, counts_for_rates),
    "prefill_tokens_per_sec": (prefill_tokens_per_sec, is_steady),
    "e2e_tokens_per_sec": (lambda run: _rate(run.output_tokens, run.latency_s), counts_for_rates),
    "chars_per_sec": (lambda run: _rate(run.response_chars, run.latency_s), counts_for_rates),
    "prompt_tokens": (lambda run: run.prompt_tokens, BenchmarkRun.succeeded.__get__),
    "output_tokens": (lambda run: run.output_tokens, BenchmarkRun.succeeded.__get__),
    "server_overhead_s": (server_overhead_s, is_steady),
}
"""Distributions of a level: the value of a run, and the condition under which the run counts."""


def values_of(name: str, runs: Iterable[BenchmarkRun]) -> list[float]:
    """The values of one measure, in the order of the runs."""
    measure, may_count = MEASURES[name]
    return [value for run in runs if may_count(run) and (value := measure(run)) is not None]


def summarise(
    draft: BenchmarkDraft,
    model: str,
    runs: Sequence[BenchmarkRun],
    *,
    environment: ModelEnvironment = NO_ENVIRONMENT,
    response: str | None = None,
) -> ModelResult:
    """Compute the figures of one model from its runs in any order.

    `response` is the answer to show, for runs that were read without their texts.
    """
    ordered = sorted(runs, key=lambda run: (run.session, run.scheduled_s, run.step))
    measured = [run for run in ordered if run.phase is Phase.MEASURED]
    levels = _levels(draft, measured)
    good = [run for run in measured if run.succeeded]
    failed = [run for run in ordered if not run.succeeded]
    error = environment.error
    code = environment.error_code
    if error is None and not good and failed:
        error, code = failed[0].error, failed[0].error_code
    return ModelResult(
        model=model,
        latency=_mean(run.latency_s for run in good),
        tokens_per_sec=_tokens_per_sec(good),
        prompt=draft.prompts[0],
        response=response,
        num_runs=draft.num_runs,
        error=error,
        error_code=code,
        n_ok=len(good),
        n_failed=len(measured) - len(good),
        levels=levels,
        cold_load=_cold_load(ordered),
        flags=_model_flags(levels, ordered, environment),
    )


def _levels(draft: BenchmarkDraft, measured: Sequence[BenchmarkRun]) -> list[LevelSummary]:
    groups: dict[tuple[int, int], list[BenchmarkRun]] = {}
    for run in measured:
        groups.setdefault((draft.concurrency.index(run.concurrency), run.prompt_index), []).append(
            run
        )
    return [_level(draft, runs) for _, runs in sorted(groups.items())]


def _level(draft: BenchmarkDraft, runs: Sequence[BenchmarkRun]) -> LevelSummary:
    found = {name: distribution(values_of(name, runs)) for name in MEASURES}
    good = [run for run in runs if run.succeeded]
    steady = [run for run in runs if is_steady(run)]
    window_s = window_of(runs)
    first = runs[0]
    busy = sum((run.metrics.prompt_eval_duration or 0) / 1e9 for run in good) + sum(
        (run.metrics.eval_duration or 0) / 1e9 for run in good
    )
    parallelism = _rate(busy, window_s) if good else None
    content = sum(met_by(draft.slo, run) for run in runs) if draft.slo else None
    return LevelSummary(
        prompt_index=first.prompt_index,
        concurrency=first.concurrency,
        workload_hash=draft.workload_hash(first.prompt_index),
        n_attempted=len(runs),
        n_ok=len(good),
        n_failed=len(runs) - len(good),
        errors=Counter(run.error_code for run in runs if run.error_code is not None),
        **found,
        latency_parts=LatencyParts(
            load_s=_mean(seconds(run.metrics.load_duration) for run in steady),
            queue_s=_mean(map(server_overhead_s, steady)),
            prefill_s=_mean(seconds(run.metrics.prompt_eval_duration) for run in steady),
            decode_s=_mean(seconds(run.metrics.eval_duration) for run in steady),
        ),
        window_s=window_s,
        output_throughput_tok_s=_rate(sum(run.output_tokens or 0 for run in good), window_s),
        request_throughput_req_s=_rate(len(good), window_s),
        goodput_req_s=None if content is None else _rate(content, window_s),
        good_request_fraction=None if content is None else content / len(runs),
        effective_parallelism=parallelism,
        flags=level_flags(
            latency_cv=found["latency_s"].cv,
            good_runs=len(steady),
            drifted=any(
                drift(values_of(name, runs)) is not None
                for name in ("latency_s", "decode_tokens_per_sec")
            ),
            concurrency=first.concurrency,
            effective_parallelism=parallelism,
            of_runs=runs,
        ),
    )


def window_of(runs: Iterable[BenchmarkRun]) -> float | None:
    """Seconds in which the runs were kept in flight.

    The times from the first scheduled start to the last end of each block in each session, added
    up.
    """
    spans: dict[tuple[int, int], tuple[float, float]] = {}
    for run in runs:
        begin, end = spans.get((run.session, run.block), (run.scheduled_s, run.ended_s))
        spans[run.session, run.block] = min(begin, run.scheduled_s), max(end, run.ended_s)
    return sum(end - begin for begin, end in spans.values()) or None


def met_by(slo: ServiceLevel, run: BenchmarkRun) -> bool:
    """Whether the run met the objectives; a failed run, or one without the measure, did not."""
    if not run.succeeded:
        return False
    wishes = (
        (slo.latency_s, run.latency_s),
        (slo.ttft_s, run.ttft_s),
        (slo.tpot_s, run.tpot_s),
    )
    return all(wish is None or (value is not None and value <= wish) for wish, value in wishes)


def _cold_load(runs: Sequence[BenchmarkRun]) -> ColdLoad | None:
    # A benchmark that was resumed after a crash may have loaded the model twice.
    for run in runs:
        if run.phase is Phase.COLD_LOAD:
            return ColdLoad(
                load_s=seconds(run.metrics.load_duration),
                ttft_s=run.ttft_s,
                latency_s=run.latency_s,
                error=run.error,
            )
    return None


def _model_flags(
    levels: Sequence[LevelSummary], runs: Sequence[BenchmarkRun], environment: ModelEnvironment
) -> tuple[Flag, ...]:
    found = {flag for level in levels for flag in level.flags}
    found |= {flag for run in runs for flag in run.flags if run.phase is Phase.MEASURED}
    share = environment.gpu_offload_share
    if share is not None and 0 < share < 1:
        found.add(Flag.PARTIAL_OFFLOAD)
    if environment.remote:
        found.add(Flag.REMOTE_MODEL)
    if environment.changed:
        found.add(Flag.VERSION_CHANGED)
    return tuple(flag for flag in Flag if flag in found)


def _tokens_per_sec(good: Sequence[BenchmarkRun]) -> float | None:
    counted = [
        run for run in good if counts_for_rates(run) and decode_tokens_per_sec(run) is not None
    ]
    return _rate(
        sum(run.output_tokens or 0 for run in counted),
        sum(run.metrics.eval_duration or 0 for run in counted) / 1e9,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    return distribution(value for value in values if value is not None).mean


def _rate(amount: float | None, time_s: float | None) -> float | None:
    return None if amount is None or not time_s else amount / time_s

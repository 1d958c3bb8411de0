"""Comparison of two benchmarks of the same work: which differences are more than noise.

Only equal work is compared: the same model, prompt, options and requests in flight. If each
benchmark has one model and the names differ, the two models are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from promptmill.domain.benchmarks.records import Benchmark, BenchmarkRun, Phase
from promptmill.domain.benchmarks.significance import Comparison, Verdict, compare, geometric_mean
from promptmill.domain.benchmarks.summary import NO_ENVIRONMENT, values_of

COMPARED: Final[Mapping[str, bool]] = {
    "latency_s": True,
    "ttft_s": True,
    "tpot_s": True,
    "decode_tokens_per_sec": False,
    "prefill_tokens_per_sec": False,
}
"""Compared measures, each with whether lower values are better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two benchmarks, with its runs."""

    benchmark: Benchmark
    runs: Sequence[BenchmarkRun]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedMeasure:
    """One measure of one model, prompt and level on both sides."""

    metric: str
    model: str
    baseline_model: str
    prompt_index: int
    concurrency: int
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class NotComparable:
    """A model, prompt and level of the target without a counterpart in the baseline."""

    model: str
    prompt_index: int
    concurrency: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A difference of versions, models or options between the two sides."""

    what: str
    """The name of what differs, such as `ollama_version` or `qwen3:8b model_digest`."""
    base: object
    target: object


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkComparison:
    """A benchmark (the target) beside an earlier one (the baseline)."""

    baseline_id: str
    target_id: str
    measures: Sequence[ComparedMeasure]
    not_comparable: Sequence[NotComparable]
    differences: Sequence[Difference]
    geomean_ratio: Mapping[str, float | None]
    """Geometric mean of the ratios (target over base), by measure."""

    @property
    def same_work(self) -> bool:
        """Whether there was anything to compare."""
        return bool(self.measures)


def compare_benchmarks(base: Side, target: Side) -> BenchmarkComparison:
    """Compare the target with the baseline, level by level; see `significance`."""
    partners = _partners(base.benchmark, target.benchmark)
    by_place = _by_place(base)
    measures: list[ComparedMeasure] = []
    apart: list[NotComparable] = []
    for (model, work, level), runs in _by_place(target).items():
        partner = partners.get(model)
        ours = runs[0]
        theirs = by_place.get((partner, work, level)) if partner is not None else None
        if partner is None or theirs is None:
            reason = _why_apart(base, partner=partner, work=work, level=level)
            apart.append(
                NotComparable(
                    model=model, prompt_index=ours.prompt_index, concurrency=level, reason=reason
                )
            )
            continue
        measures += [
            ComparedMeasure(
                metric=metric,
                model=model,
                baseline_model=partner,
                prompt_index=ours.prompt_index,
                concurrency=level,
                comparison=compare(
                    _positive(values_of(metric, theirs)),
                    _positive(values_of(metric, runs)),
                    lower_is_better=lower_is_better,
                ),
            )
            for metric, lower_is_better in COMPARED.items()
        ]
    return BenchmarkComparison(
        baseline_id=base.benchmark.id,
        target_id=target.benchmark.id,
        measures=measures,
        not_comparable=apart,
        differences=_differences(base.benchmark, target.benchmark, partners),
        geomean_ratio={
            metric: geometric_mean(
                each.comparison.ratio
                for each in measures
                if each.metric == metric and each.comparison.ratio is not None
            )
            for metric in COMPARED
        },
    )


def compare_models(side: Side) -> Sequence[ComparedMeasure]:
    """Compare every model of a benchmark with its first model, on the same prompts and levels."""
    first, *others = side.benchmark.draft.models
    by_place = _by_place(side)
    return [
        ComparedMeasure(
            metric=metric,
            model=model,
            baseline_model=first,
            prompt_index=runs[0].prompt_index,
            concurrency=level,
            comparison=compare(
                _positive(values_of(metric, by_place.get((first, work, level), ()))),
                _positive(values_of(metric, runs)),
                lower_is_better=lower_is_better,
            ),
        )
        for (model, work, level), runs in by_place.items()
        if model in others
        for metric, lower_is_better in COMPARED.items()
    ]


def worst_slowdown(comparison: BenchmarkComparison) -> float | None:
    """Largest significant growth of latency; None if it grew nowhere.

    0.1 means 10 % longer. Only verdicts of `slower` count.
    """
    slower = [
        each.comparison.ratio - 1
        for each in comparison.measures
        if each.metric == "latency_s"
        and each.comparison.verdict is Verdict.SLOWER
        and each.comparison.ratio is not None
    ]
    return max(slower, default=None)


def _partners(base: Benchmark, target: Benchmark) -> dict[str, str]:
    """Model of the baseline for each model of the target."""
    ours, theirs = target.draft.models, base.draft.models
    shared = {model: model for model in ours if model in theirs}
    if not shared and len(ours) == len(theirs) == 1:
        return {ours[0]: theirs[0]}
    return shared


_Place = tuple[str, str, int]
"""Model, workload hash, requests in flight."""


def _by_place(side: Side) -> dict[_Place, list[BenchmarkRun]]:
    draft = side.benchmark.draft
    hashes = [draft.workload_hash(index) for index in range(len(draft.prompts))]
    places: dict[_Place, list[BenchmarkRun]] = {}
    for run in sorted(side.runs, key=lambda run: (run.session, run.scheduled_s, run.step)):
        if run.phase is Phase.MEASURED:
            place = (run.model, hashes[run.prompt_index], run.concurrency)
            places.setdefault(place, []).append(run)
    return places


def _why_apart(base: Side, *, partner: str | None, work: str, level: int) -> str:
    draft = base.benchmark.draft
    if partner is None:
        return "the baseline did not measure this model"
    if work not in {draft.workload_hash(index) for index in range(len(draft.prompts))}:
        return "the baseline had another prompt, other options, or another way with the cache"
    if level not in draft.concurrency:
        return f"the baseline did not measure {level} requests in flight"
    return "the baseline has no run of it"


def _positive(values: Sequence[float]) -> list[float]:
    # Ratios need logarithms; a value of 0 comes from a clock that did not tick.
    return [value for value in values if value > 0]


def _differences(
    base: Benchmark, target: Benchmark, partners: Mapping[str, str]
) -> Sequence[Difference]:
    pairs: list[tuple[str, object, object]] = [
        ("host", base.environment.host, target.environment.host),
        ("ollama_version", base.environment.ollama_version, target.environment.ollama_version),
        ("service_version", base.environment.service_version, target.environment.service_version),
        ("host_info", base.draft.host_info, target.draft.host_info),
        ("warmup_runs", base.draft.warmup_runs, target.draft.warmup_runs),
        ("order", base.draft.order.value, target.draft.order.value),
        ("cooldown_s", base.draft.cooldown_s, target.draft.cooldown_s),
    ]
    for ours, theirs in partners.items():
        if ours != theirs:
            pairs.append(("model", theirs, ours))
        before = base.environment.models.get(theirs, NO_ENVIRONMENT)
        after = target.environment.models.get(ours, NO_ENVIRONMENT)
        pairs += [
            (f"{ours} {name}", getattr(before, name), getattr(after, name)) for name in _OF_MODEL
        ]
    return [
        Difference(what=what, base=before, target=after)
        for what, before, after in pairs
        if before != after
    ]


_OF_MODEL: Final = (
    "model_digest",
    "parameter_size",
    "quantization_level",
    "context_length",
    "gpu_offload_share",
)

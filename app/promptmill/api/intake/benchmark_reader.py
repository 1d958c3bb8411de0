"""From the body of `POST /benchmarks` to a draft, as strict as a batch: all faults at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import ValidationError

from promptmill.api.errors.field_errors import describe
from promptmill.api.errors.violations import Faults
from promptmill.api.intake.json_body import members_of, null_faults
from promptmill.api.intake.text_rules import Path, faults_in
from promptmill.api.schemas.benchmarks import BenchmarkRequest, ServiceLevelObjective
from promptmill.domain.benchmarks.plan import total_steps
from promptmill.domain.benchmarks.records import (
    DEFAULT_OPTIONS,
    DEFAULT_PROMPT,
    BenchmarkDraft,
    Order,
    PrefixCache,
    ServiceLevel,
)
from promptmill.domain.model_names import normalise_model
from promptmill.settings import Settings

_NULLABLE: Final = frozenset({"think", "keep_alive"})
"""Fields in which null means something to Ollama: its own default."""


def read_benchmark(body: bytes, settings: Settings) -> BenchmarkDraft:
    """The benchmark that is asked for.

    Raises:
        MalformedJson: The body is no JSON.
        Invalid: Every field that is wrong.
    """
    faults = Faults()
    given = members_of(body, faults)
    for name in [name for name, value in given.items() if value is None and name in _NULLABLE]:
        del given[name]
    faults.extend(null_faults(given, "leave the field out"))
    request = _validated(given, faults, settings)
    faults.raise_if_any()
    assert request is not None  # noqa: S101 - else there was a fault
    draft = _draft(request, given)
    runs = total_steps(draft)
    if runs > settings.max_benchmark_runs:
        faults.add(
            ("num_runs",),
            f"makes {runs} runs of all models, prompts and levels; at most"
            f" {settings.max_benchmark_runs} are accepted (PROMPTMILL_MAX_BENCHMARK_RUNS)",
        )
    faults.raise_if_any()
    return draft


def _validated(
    given: dict[str, Any], faults: Faults, settings: Settings
) -> BenchmarkRequest | None:
    sound = {
        name: value
        for name, value in given.items()
        if value is not None
        and not faults.extend(
            faults_in({name: value}, (), max_text_bytes=settings.max_prompt_bytes)
        )
    }
    try:
        request = BenchmarkRequest.model_validate(sound)
    except ValidationError as error:
        faults.extend(describe(error, BenchmarkRequest))
        return None
    faults.extend(_faults_between_fields(request))
    return request


def _faults_between_fields(request: BenchmarkRequest) -> Iterator[tuple[Path, str]]:
    if request.prompt is not None and request.prompts is not None:
        yield ("prompts",), "cannot be given beside `prompt`; give one of the two"
    if request.prompt is not None and not request.prompt.strip():
        yield ("prompt",), "must not be empty"
    for place, prompt in enumerate(request.prompts or ()):
        if not prompt.strip():
            yield ("prompts", place), "must not be empty"
    yield from _repeated("models", [normalise_model(model) for model in request.models])
    yield from _repeated("concurrency", request.concurrency)
    yield from _repeated("prompts", request.prompts or ())
    if request.slo is not None and request.slo == ServiceLevelObjective():
        yield ("slo",), "must have at least one of `latency_s`, `ttft_s` and `tpot_s`"


def _repeated(name: str, values: Sequence[object]) -> Iterator[tuple[Path, str]]:
    first: dict[object, int] = {}
    for place, value in enumerate(values):
        if first.setdefault(value, place) != place:
            yield (name, place), f"is already given in place {first[value]}"


def _draft(request: BenchmarkRequest, given: dict[str, Any]) -> BenchmarkDraft:
    slo = request.slo
    # The caller's own values, not the model's copies of them: `1` stays `1`.
    options: dict[str, Any] = given.get("options") or {}
    return BenchmarkDraft(
        models=tuple(request.models),
        prompts=tuple(request.prompts or (request.prompt or DEFAULT_PROMPT,)),
        num_runs=request.num_runs,
        warmup_runs=request.warmup_runs,
        concurrency=tuple(request.concurrency),
        options={
            name: value
            for name, value in {**DEFAULT_OPTIONS, **options}.items()
            if value is not None
        },
        think=request.think,
        prefix_cache=PrefixCache(request.prefix_cache),
        measure_cold_load=request.measure_cold_load,
        order=Order(request.order),
        cooldown_s=request.cooldown_s,
        timeout_s=request.timeout_s,
        keep_alive=request.keep_alive,
        slo=None
        if slo is None
        else ServiceLevel(latency_s=slo.latency_s, ttft_s=slo.ttft_s, tpot_s=slo.tpot_s),
        baseline_id=request.baseline_id,
        label=request.label,
        host_info=request.host_info,
        metadata=request.metadata,
    )

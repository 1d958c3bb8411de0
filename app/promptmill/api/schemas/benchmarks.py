"""Request models of benchmarks, and the query parameters of their endpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from promptmill.api.schemas.ollama import KeepAlive, ModelName, OllamaOptions, Think
from promptmill.api.schemas.steering import Label, Metadata
from promptmill.api.schemas.strict import (
    NOT_BLANK,
    Path,
    RequestModel,
    faults_error,
    need_any_field,
    not_both,
    whole,
)
from promptmill.contract.benchmarks import BenchmarkStatus
from promptmill.domain.benchmarks.records import (
    DEFAULT_OPTIONS,
    DEFAULT_PROMPT,
    BenchmarkDraft,
    Order,
    PrefixCache,
    ServiceLevel,
)
from promptmill.domain.limits import MAX_CONCURRENT_BOUND
from promptmill.domain.model_names import normalise_model

MOST_MODELS: Final = 32
MOST_RUNS: Final = 10_000
MOST_PROMPTS: Final = 100
MOST_LEVELS: Final = 16
_LONGEST_TIMEOUT_S = 86_400.0

Text = Annotated[str, Field(min_length=1, json_schema_extra={"pattern": NOT_BLANK})]
HostInfo = Annotated[str, Field(min_length=1, max_length=2000)]
BenchmarkIdText = Annotated[str, Field(min_length=1, max_length=70)]
_Seconds = Annotated[float, Field(gt=0, le=_LONGEST_TIMEOUT_S)]


class ServiceLevelObjective(RequestModel):
    """Objectives of a good request, at least one; a request that misses any is not good."""

    model_config = ConfigDict(json_schema_extra=need_any_field)

    latency_s: _Seconds | None = Field(
        default=None, description="Most seconds to the end of the answer.", examples=[10.0]
    )
    ttft_s: _Seconds | None = Field(
        default=None, description="Most seconds to the first text.", examples=[0.5]
    )
    tpot_s: _Seconds | None = Field(
        default=None,
        description="Most seconds for each token after the first, on average.",
        examples=[0.05],
    )


class BenchmarkRequest(RequestModel):
    """Benchmark: models, prompts, number of runs, levels."""

    model_config = ConfigDict(json_schema_extra=not_both("prompt", "prompts"))

    models: Annotated[
        list[ModelName],
        Field(min_length=1, max_length=MOST_MODELS, json_schema_extra={"uniqueItems": True}),
    ] = Field(
        description="The models, measured one after the other, each named once; `tiny` and"
        " `tiny:latest` are the same model.",
        examples=[["qwen3:8b", "gemma3:4b"]],
    )
    prompt: Text | None = Field(
        default=None,
        description=f"What is asked; `{DEFAULT_PROMPT}` if this and `prompts` are left out.",
        examples=["Test prompt"],
    )
    prompts: (
        Annotated[
            list[Text],
            Field(min_length=1, max_length=MOST_PROMPTS, json_schema_extra={"uniqueItems": True}),
        ]
        | None
    ) = Field(
        default=None,
        description="Several prompts in place of `prompt`, none of them blank; each has figures of"
        " its own.",
        examples=[["Why is the sky blue?", "Write a poem about rain."]],
    )
    num_runs: Annotated[int, BeforeValidator(whole)] = Field(
        default=3,
        ge=1,
        le=MOST_RUNS,
        description="Measured runs of each prompt at each level, for each request in flight there:"
        " 3 runs at a concurrency of 4 are 12 requests. Five and more allow comparison by ranks.",
        examples=[10],
    )
    warmup_runs: Annotated[int, BeforeValidator(whole)] = Field(
        default=1,
        ge=0,
        le=100,
        description="Runs of each prompt before the measuring, which count for nothing.",
        examples=[1],
    )
    concurrency: Annotated[
        list[Annotated[int, Field(ge=1, le=MAX_CONCURRENT_BOUND), BeforeValidator(whole)]],
        Field(min_length=1, max_length=MOST_LEVELS, json_schema_extra={"uniqueItems": True}),
    ] = Field(
        default=[1],
        description="The levels: how many requests are kept in flight. Each level is measured and"
        " told apart. They may go beyond `PROMPTMILL_OLLAMA_SLOTS`, to show what that costs.",
        examples=[[1, 2, 4]],
    )
    options: OllamaOptions | None = Field(
        default=None,
        description="Model options. What is not named here is "
        + ", ".join(f"`{name}` {value}" for name, value in DEFAULT_OPTIONS.items())
        + ", so that each run is the same work of a bounded length.",
        examples=[{"num_predict": 256}],
    )
    think: Think = Field(
        default=None,
        description="Whether (or how much) a thinking model thinks first. Left out, it thinks.",
        examples=[False],
    )
    prefix_cache: Literal["avoid", "allow"] = Field(
        default="avoid",
        description="`avoid`: every run has 12 digits of its own before the prompt, so that Ollama"
        " has nothing of it in its cache. `allow`: the prompt as it is; then how much of it was"
        " cached is not known, and there is no prefill rate.",
        examples=["avoid"],
    )
    measure_cold_load: bool = Field(
        default=False,
        description="Whether each model is unloaded first and its first answer measured apart.",
        examples=[True],
    )
    order: Literal["sequential", "interleaved"] = Field(
        default="sequential",
        description="`sequential`: all runs of a prompt and level, then those of the next."
        " `interleaved`: one round of all of them, then the next round, so that slow changes of"
        " the machine fall on all alike. Models never alternate: each switch would load one.",
        examples=["interleaved"],
    )
    cooldown_s: float = Field(
        default=0.0,
        ge=0,
        le=3600,
        description="Seconds of rest before each block of measured runs.",
        examples=[5.0],
    )
    timeout_s: _Seconds = Field(
        default=300.0, description="Seconds that one run may take.", examples=[300.0]
    )
    keep_alive: KeepAlive = Field(
        default=None,
        description="How long Ollama keeps the model loaded after a run: seconds, or a duration"
        " with a unit; negative for ever.",
        examples=["10m"],
    )
    slo: ServiceLevelObjective | None = Field(
        default=None,
        description="What makes a request a good one; with it there is goodput.",
        examples=[{"ttft_s": 0.5, "tpot_s": 0.05}],
    )
    baseline_id: BenchmarkIdText | None = Field(
        default=None,
        description="The id of an earlier benchmark of the same work, to be compared with.",
        examples=["bench_01kasqg8v3m2c6hq0n5t7x9zed"],
    )
    label: Label | None = Field(
        default=None, description="A title for the reports.", examples=["before the update"]
    )
    host_info: HostInfo | None = Field(
        default=None,
        description="What you want to have kept about the machine.",
        examples=["RTX 4090, driver 570, fan at 60 %"],
    )
    metadata: Metadata = Field(
        default_factory=dict[str, str],
        description="Up to 16 pairs of your own, names up to 64 and values up to 512 characters;"
        " given back as sent, and `?metadata.name=value` filters the list of benchmarks.",
        examples=[{"project": "upgrade"}],
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """Refuse contradictions between fields."""
        if faults := list(self._faults()):
            raise faults_error(faults)
        return self

    def draft(self) -> BenchmarkDraft:
        """Convert the request to the benchmark to store."""
        slo = self.slo
        options = self.options.model_dump(exclude_unset=True) if self.options else {}
        return BenchmarkDraft(
            models=tuple(self.models),
            prompts=tuple(self.prompts or (self.prompt or DEFAULT_PROMPT,)),
            num_runs=self.num_runs,
            warmup_runs=self.warmup_runs,
            concurrency=tuple(self.concurrency),
            options={**DEFAULT_OPTIONS, **options},
            think=self.think,
            prefix_cache=PrefixCache(self.prefix_cache),
            measure_cold_load=self.measure_cold_load,
            order=Order(self.order),
            cooldown_s=self.cooldown_s,
            timeout_s=self.timeout_s,
            keep_alive=self.keep_alive,
            slo=slo and ServiceLevel(latency_s=slo.latency_s, ttft_s=slo.ttft_s, tpot_s=slo.tpot_s),
            baseline_id=self.baseline_id,
            label=self.label,
            host_info=self.host_info,
            metadata=self.metadata,
        )

    def _faults(self) -> Iterator[tuple[Path, str]]:
        if self.prompt is not None and self.prompts is not None:
            yield ("prompts",), "cannot be given beside `prompt`; give one of the two"
        if self.prompt is not None and not self.prompt.strip():
            yield ("prompt",), "must not be empty"
        for place, prompt in enumerate(self.prompts or ()):
            if not prompt.strip():
                yield ("prompts", place), "must not be empty"
        yield from _repeated("models", [normalise_model(model) for model in self.models])
        yield from _repeated("concurrency", self.concurrency)
        yield from _repeated("prompts", self.prompts or ())
        if self.slo is not None and not self.slo.model_fields_set:
            yield ("slo",), "must have at least one of `latency_s`, `ttft_s` and `tpot_s`"


def _repeated(name: str, values: Sequence[object]) -> Iterator[tuple[Path, str]]:
    first: dict[object, int] = {}
    for place, value in enumerate(values):
        if first.setdefault(value, place) != place:
            yield (name, place), f"is already given in place {first[value]}"


class BenchmarkQuery(BaseModel):
    """Query of one benchmark."""

    wait_s: float = Field(
        default=0.0,
        ge=0,
        le=300,
        allow_inf_nan=False,
        description="Answer as soon as the benchmark has ended, at the latest after so many"
        " seconds.",
        examples=[30.0],
    )
    results: bool = Field(
        default=True,
        description="`false` leaves the figures out, for cheap polling.",
        examples=[False],
    )


class BenchmarkListQuery(BaseModel):
    """Query of the list of benchmarks."""

    limit: int = Field(default=100, ge=1, le=1000, description="Most benchmarks.", examples=[20])
    cursor: str | None = Field(
        default=None,
        max_length=200,
        description="`next_cursor` of the page before.",
        examples=["YmVmb3JlOmJlbmNoXzAxa2FzcWc4djNtMmM2aHEwbjV0N3g5emVk"],
    )
    status: BenchmarkStatus | None = Field(
        default=None, description="Only benchmarks in this state.", examples=["running"]
    )


class CompareQuery(BaseModel):
    """Query of a comparison."""

    baseline: str | None = Field(
        default=None,
        max_length=70,
        description="The id of the earlier benchmark. Left out, the `baseline_id` that the"
        " benchmark was posted with.",
        examples=["bench_01kasqg8v3m2c6hq0n5t7x9zec"],
    )


class ReportQuery(BaseModel):
    """Query of a report."""

    format: Literal["html", "md", "csv", "benchstat"] = Field(
        default="html",
        description="`html`: one file with charts that opens without internet. `md`: Markdown."
        " `csv`: a row for each model, prompt and level. `benchstat`: the text format of Go"
        " benchmarks, which the program `benchstat` compares.",
        examples=["md"],
    )

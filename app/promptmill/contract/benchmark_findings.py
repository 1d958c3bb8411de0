"""Records of a benchmark's runs, and of a comparison of two benchmarks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from promptmill.contract import benchmark_examples as shown
from promptmill.contract.benchmarks import FLAGS, FlagWord, Interval, MethodWord
from promptmill.contract.record import Count, ErrorWord, Nanoseconds, OneOf, Record, Seconds, Time
from promptmill.domain.benchmarks.significance import Verdict


class ChunkIntervals(Record):
    """Times between the chunks of an answer. A chunk is not a token."""

    chunks: Count = Field(description="Pieces.", examples=[80])
    p50_s: Seconds | None = Field(description="Median time between two chunks.", examples=[0.0099])
    p95_s: Seconds | None = Field(description="95th percentile; null below 20.", examples=[0.0103])
    max_s: Seconds | None = Field(description="Longest.", examples=[0.0131])


class Run(Record):
    """One run: a single attempt, successful or not."""

    run_index: int = Field(
        description="Counted from 0 within its phase, prompt and level.", examples=[0]
    )
    phase: Annotated[str, OneOf(Literal["cold_load", "warmup", "measured"])] = Field(
        description="Purpose of the run.", examples=["measured"]
    )
    model: str = Field(description="The model.", examples=["qwen3:8b"])
    prompt_index: int = Field(description="Place of the prompt, from 0.", examples=[0])
    concurrency: int = Field(description="Requests kept in flight.", examples=[1])
    session: int = Field(
        description="Number of the session that measured the run, from 1; a new session begins"
        " after an interruption.",
        examples=[1],
    )
    scheduled_at: Time = Field(
        description="When the run was due; its times count from here.",
        examples=["2026-11-23T06:30:04.100Z"],
    )
    started_at: Time = Field(
        description="When the request was sent.", examples=["2026-11-23T06:30:04.100Z"]
    )
    status: Annotated[str, OneOf(Literal["succeeded", "failed"])] = Field(
        description="Whether the run has an answer.", examples=["succeeded"]
    )
    error_code: ErrorWord | None = Field(description="Why the run failed.", examples=["timeout"])
    error: str | None = Field(description="Why the run failed, as a sentence.", examples=[None])
    done_reason: str | None = Field(description="Why the model ended.", examples=["stop"])
    latency_s: Seconds | None = Field(
        description="Seconds from the scheduled start to the end.", examples=[0.82]
    )
    client_queue_s: float | None = Field(
        description="Seconds from the scheduled start until the request was sent.",
        examples=[0.0001],
    )
    ttft_s: Seconds | None = Field(
        description="Seconds to the first text, thinking included.", examples=[0.03]
    )
    ttfo_s: Seconds | None = Field(
        description="Seconds to the first text of the answer itself.", examples=[0.03]
    )
    tpot_s: Seconds | None = Field(
        description="`(latency_s - ttft_s) / (eval_count - 1)`.", examples=[0.0062]
    )
    icl: ChunkIntervals | None = Field(
        description="Times between the chunks.", examples=[shown.RUN["icl"]]
    )
    total_duration: Nanoseconds | None = Field(
        description="Ollama: total nanoseconds.", examples=[812000000]
    )
    load_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds to load the model, including the wait in its scheduler.",
        examples=[10000000],
    )
    prompt_eval_count: int | None = Field(description="Ollama: tokens read.", examples=[96])
    prompt_eval_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds to evaluate the prompt.", examples=[20000000]
    )
    eval_count: int | None = Field(description="Ollama: tokens written.", examples=[128])
    eval_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds to generate the answer.", examples=[780000000]
    )
    prompt_tokens: int | None = Field(description="As `prompt_eval_count`.", examples=[96])
    cached_prompt_tokens: int | None = Field(
        description="Tokens of the prompt that were in the cache; null: unknown.", examples=[0]
    )
    output_tokens: int | None = Field(description="As `eval_count`.", examples=[128])
    response: str | None = Field(description="The answer.", examples=["This is a test."])
    response_sha256: str | None = Field(
        description="SHA-256 of the answer in UTF-8.", examples=[shown.RUN["response_sha256"]]
    )
    flags: tuple[FlagWord, ...] = Field(description=f"{FLAGS}.", examples=[[]])


class RunPage(Record):
    """Page of runs, in the order of their recording."""

    data: tuple[Run, ...] = Field(description="The runs.", examples=[[shown.RUN]])
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null when there are no more runs now.",
        examples=["YWZ0ZXI6OTk"],
    )


class ComparedMeasure(Record):
    """One measure of one model, prompt and level, on both sides."""

    metric: str = Field(description="The measure.", examples=["latency_s"])
    model: str = Field(description="The model.", examples=["qwen3:8b"])
    baseline_model: str = Field(description="The baseline's model.", examples=["qwen3:8b"])
    prompt_index: int = Field(description="Place of the prompt, from 0.", examples=[0])
    concurrency: int = Field(description="Requests kept in flight.", examples=[1])
    ratio: float | None = Field(
        description="Target over baseline: 1.1 is 10 % more.", examples=[0.91]
    )
    ci95: Interval | None = Field(
        description="95 % confidence interval of the ratio.", examples=[shown.COMPARED["ci95"]]
    )
    method: MethodWord | None = Field(
        description="How ratio and interval were computed.",
        examples=["hodges_lehmann_mann_whitney"],
    )
    p_value: float | None = Field(
        description="Probability of so great a difference by chance.", examples=[0.0079]
    )
    n_base: Count = Field(description="Values of the baseline.", examples=[10])
    n_target: Count = Field(description="Values of the target.", examples=[10])
    verdict: Annotated[str, OneOf(Verdict)] = Field(
        description="`faster` or `slower` only if the interval excludes 1.",
        examples=["faster"],
    )


class NotComparable(Record):
    """A model, prompt and level without a counterpart in the baseline."""

    model: str = Field(description="The model.", examples=["gemma3:4b"])
    prompt_index: int = Field(description="Place of the prompt, from 0.", examples=[0])
    concurrency: int = Field(description="Requests kept in flight.", examples=[8])
    verdict: Literal["not_comparable"] = Field(
        description="Always `not_comparable`.", examples=["not_comparable"]
    )
    reason: str = Field(
        description="Why.", examples=["the baseline did not measure 8 requests in flight"]
    )


class Difference(Record):
    """A difference in the conditions of two benchmarks."""

    what: str = Field(description="What it is.", examples=["ollama_version"])
    base: Any = Field(description="In the baseline.", examples=["0.24.0"])
    target: Any = Field(description="In this benchmark.", examples=["0.25.0"])


class Comparison(Record):
    """A benchmark compared with its baseline."""

    baseline_id: str = Field(description="The baseline.", examples=[shown.BASELINE_ID])
    target_id: str = Field(description="The benchmark.", examples=[shown.BENCHMARK_ID])
    comparisons: tuple[ComparedMeasure, ...] = Field(
        description="What both have.", examples=[[shown.COMPARED]]
    )
    not_comparable: tuple[NotComparable, ...] = Field(
        description="Models, prompts and levels without a counterpart in the baseline.",
        examples=[shown.COMPARISON["not_comparable"]],
    )
    differences: tuple[Difference, ...] = Field(
        description="Further differences, any of which may be the cause.",
        examples=[shown.COMPARISON["differences"]],
    )
    geomean_ratio: dict[str, float | None] = Field(
        description="Geometric mean of the ratios, by measure.",
        examples=[shown.COMPARISON["geomean_ratio"]],
    )

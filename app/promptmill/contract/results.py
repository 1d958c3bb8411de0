"""Record of a prompt's result; the fields are in the order of the columns in CSV."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from promptmill.contract import examples
from promptmill.contract.record import DefectWord, ErrorWord, Nanoseconds, OneOf, Record, Time
from promptmill.domain.outcomes import ErrorCode

Outcome = Literal["succeeded", "failed", "cancelled", "expired"]


class Result(Record):
    """Result of one prompt. Missing values are null, never 0."""

    prompt: str = Field(
        description="The prompt; of a chat, its last user message.",
        examples=["Why is the sky blue?"],
    )
    response: str | None = Field(
        description="Answer of the model. After a failure: the part that had arrived, which is not"
        " an answer.",
        examples=["Because air scatters blue light more than red."],
    )
    model: str = Field(description="Model that was called.", examples=["qwen3:8b"])
    success: bool = Field(description="Whether the prompt has an answer.", examples=[True])
    error: str | None = Field(
        description="What went wrong, as a sentence.", examples=["model 'qwen3:8b' not found"]
    )
    index: int = Field(ge=0, description="Place of the prompt in the batch, from 0.", examples=[0])
    id: str | None = Field(description="Your own id of the prompt.", examples=["question-17"])
    status: Annotated[str, OneOf(Outcome)] = Field(
        description="How it ended.", examples=["succeeded"]
    )
    error_code: ErrorWord | None = Field(
        description="Why the prompt has no answer, from a closed list: "
        + ", ".join(f"`{code.value}`" for code in ErrorCode)
        + ".",
        examples=["model_not_found"],
    )
    defect: DefectWord | None = Field(
        description="First defect of a complete answer, whether or not the batch's `fail_on` makes"
        " it a failure.",
        examples=["truncated"],
    )
    attempts: int = Field(ge=0, description="Attempts made, the last included.", examples=[1])
    done_reason: str | None = Field(
        description="Why the model ended: `stop`, or `length` for a cut answer.", examples=["stop"]
    )
    thinking: str | None = Field(
        description="Thinking of the model before the answer.", examples=["Rayleigh scattering."]
    )
    tool_calls: tuple[Any, ...] | None = Field(
        description="Tool calls of the model, as Ollama sends them.",
        examples=[[{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]],
    )
    logprobs: tuple[Any, ...] | None = Field(
        description="Log probabilities of the tokens, as Ollama sends them.",
        examples=[[{"token": " blue", "logprob": -0.25}]],
    )
    host: str | None = Field(
        description="Ollama host of the last attempt.", examples=["http://127.0.0.1:11434"]
    )
    total_duration: Nanoseconds | None = Field(
        description="Ollama: total nanoseconds.", examples=[512000000]
    )
    load_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds to load the model.", examples=[45000000]
    )
    prompt_eval_count: int | None = Field(description="Ollama: tokens read.", examples=[11])
    prompt_eval_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds to evaluate the prompt.", examples=[20000000]
    )
    eval_count: int | None = Field(description="Ollama: tokens written.", examples=[20])
    eval_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds to generate the answer.", examples=[360000000]
    )
    latency_s: float | None = Field(
        description="Seconds from sending the last attempt to its end.", examples=[0.514]
    )
    ttft_s: float | None = Field(
        description="Seconds from sending to the first text (time to first token).",
        examples=[0.081],
    )
    started_at: Time | None = Field(
        description="When the last attempt started.", examples=["2026-11-23T06:30:00.223Z"]
    )
    finished_at: Time = Field(
        description="When the outcome was recorded.", examples=["2026-11-23T06:30:00.737Z"]
    )
    embedding: list[float] | str | None = Field(
        description="Vector of an embedded text; with `?encoding_format=base64` its 32-bit numbers,"
        " little-endian, as base64.",
        examples=[[0.0125, -0.4871]],
    )
    data: dict[str, Any] | None = Field(
        description="Data that was sent with the prompt.", examples=[{"product": "kettle"}]
    )

    def _repr_html_(self) -> str:
        from promptmill.display import html  # noqa: PLC0415 - only notebooks ask for it

        return html.results([self])


class ResultPage(Record):
    """Page of results, in prompt order."""

    data: tuple[Result, ...] = Field(description="The results.", examples=[[examples.RESULT]])
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null when there are no more results now.",
        examples=["YWZ0ZXI6OTk"],
    )
    scanned: int = Field(
        ge=0, description="Results that were examined for this page.", examples=[1]
    )
    complete: bool = Field(
        description="False if a search reached its bound (50000 results or a second) before the"
        " page was full; `next_cursor` continues it.",
        examples=[True],
    )

    def _repr_html_(self) -> str:
        from promptmill.display import html  # noqa: PLC0415 - only notebooks ask for it

        return html.results(self.data)

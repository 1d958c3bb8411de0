"""A result as clients see it, and the query parameters of the results' endpoint."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from promptmill.api.schemas import examples
from promptmill.api.schemas.requests import Defect
from promptmill.api.schemas.strict import ResponseModel
from promptmill.domain.outcomes import ErrorCode

Nanoseconds = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Outcome = Literal["succeeded", "failed", "cancelled", "expired"]


class Result(ResponseModel):
    """The outcome of one prompt. What is missing is null, never 0."""

    prompt: str = Field(
        description="The prompt; of a chat, its last user message.",
        examples=["Why is the sky blue?"],
    )
    response: str | None = Field(
        description="The answer. After a failure: what had arrived, never to be taken for one.",
        examples=["Because air scatters blue light more than red."],
    )
    model: str = Field(description="The model that was asked.", examples=["qwen3:8b"])
    success: bool = Field(description="Whether there is an answer.", examples=[True])
    error: str | None = Field(
        description="What went wrong, in a sentence.", examples=["model 'qwen3:8b' not found"]
    )
    index: int = Field(ge=0, description="Place of the prompt in the batch, from 0.", examples=[0])
    id: str | None = Field(description="Your own id of the prompt.", examples=["question-17"])
    status: Outcome = Field(description="How it ended.", examples=["succeeded"])
    error_code: ErrorCode | None = Field(
        description="Why there is no answer, from a closed list: "
        + ", ".join(f"`{code.value}`" for code in ErrorCode)
        + ".",
        examples=["model_not_found"],
    )
    defect: Defect | None = Field(
        description="The first thing that is wrong with an answer that came whole, whether the"
        " batch's `fail_on` makes it a failure or not.",
        examples=["truncated"],
    )
    attempts: int = Field(ge=0, description="Attempts made, the last included.", examples=[1])
    done_reason: str | None = Field(
        description="Why the model ended: `stop`, or `length` for a cut answer.", examples=["stop"]
    )
    thinking: str | None = Field(
        description="What the model thought first.", examples=["Rayleigh scattering."]
    )
    tool_calls: list[Any] | None = Field(
        description="The tools that the model wants called, as Ollama sends them.",
        examples=[[{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]],
    )
    logprobs: list[Any] | None = Field(
        description="Log probabilities of the tokens, as Ollama sends them.",
        examples=[[{"token": " blue", "logprob": -0.25}]],
    )
    host: str | None = Field(
        description="The Ollama server that was asked last.", examples=["http://127.0.0.1:11434"]
    )
    total_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds for everything.", examples=[512000000]
    )
    load_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds to load the model.", examples=[45000000]
    )
    prompt_eval_count: int | None = Field(description="Ollama: tokens read.", examples=[11])
    prompt_eval_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds to read them.", examples=[20000000]
    )
    eval_count: int | None = Field(description="Ollama: tokens written.", examples=[20])
    eval_duration: Nanoseconds | None = Field(
        description="Ollama: nanoseconds to write them.", examples=[360000000]
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
        description="The vector of a text that was embedded; with `?encoding_format=base64` the"
        " text of its 32-bit numbers, the lowest byte first.",
        examples=[[0.0125, -0.4871]],
    )
    data: dict[str, Any] | None = Field(
        description="The prompt's own object, as it was sent.", examples=[{"product": "kettle"}]
    )


class ResultPage(ResponseModel):
    """Some results, in prompt order."""

    data: list[Result] = Field(description="The results.", examples=[[examples.RESULT]])
    next_cursor: str | None = Field(
        description="`cursor` of the next page; null when there are no more results now.",
        examples=["YWZ0ZXI6OTk"],
    )
    scanned: int = Field(
        ge=0, description="Results that were looked at for this page.", examples=[1]
    )
    complete: bool = Field(
        description="False when a search stopped at its bound (50000 results or a second) before"
        " the page was full; `next_cursor` goes on.",
        examples=[True],
    )


class ResultQuery(BaseModel):
    """Which results to read, and how they are written."""

    status: Outcome | None = Field(
        default=None, description="Only results that ended so.", examples=["failed"]
    )
    format: Literal["json", "ndjson", "csv"] | None = Field(
        default=None,
        description="`json`: a page. `ndjson`, `csv`: all results as a stream. Left out, the"
        " header `Accept` decides.",
        examples=["ndjson"],
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Most results of a page, 100 if left out; pages are of JSON only.",
        examples=[1000],
    )
    cursor: str | None = Field(
        default=None,
        max_length=200,
        description="`next_cursor` of the page before; pages are of JSON only.",
        examples=["YWZ0ZXI6OTk"],
    )
    error_code: ErrorCode | None = Field(
        default=None, description="Only failures of this code.", examples=["timeout"]
    )
    defect: Defect | None = Field(
        default=None, description="Only answers with this defect.", examples=["truncated"]
    )
    model: str | None = Field(
        default=None,
        max_length=512,
        description="Only results of this model.",
        examples=["qwen3:8b"],
    )
    host: str | None = Field(
        default=None,
        max_length=512,
        description="Only results of this host.",
        examples=["http://127.0.0.1:11434"],
    )
    min_attempts: int | None = Field(
        default=None, ge=0, le=1000, description="At least so many attempts.", examples=[2]
    )
    min_latency_s: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="At least so many seconds.",
        examples=[10.0],
    )
    max_latency_s: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="At most so many seconds.",
        examples=[60.0],
    )
    q: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Only results that hold this text in prompt, answer, error or id; upper and"
        " lower case of ASCII are alike.",
        examples=["rainbow"],
    )
    in_: Literal["prompt", "response", "error", "id"] | None = Field(
        default=None, alias="in", description="Where `q` is looked for.", examples=["response"]
    )
    preview: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        description="Cut prompt, answer and error to so many characters, and leave out `thinking`,"
        " `tool_calls` and `logprobs`; pages of JSON only.",
        examples=[200],
    )
    encoding_format: Literal["float", "base64"] = Field(
        default="float",
        description="How vectors are written: as numbers, or in base64, which is half as long.",
        examples=["base64"],
    )
    spreadsheet: bool = Field(
        default=False,
        description="CSV for spreadsheets: with a byte order mark, and an apostrophe before what a"
        " spreadsheet would take for a formula.",
        examples=[True],
    )

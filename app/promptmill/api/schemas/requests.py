"""What a client sends to make a batch."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from promptmill.api.schemas.ollama import GenerationFields, Message, ModelName
from promptmill.api.schemas.steering import (
    ExpiresIn,
    MaxConcurrent,
    MaxFailures,
    Metadata,
    Priority,
    RateLimitDelay,
)
from promptmill.domain.outcomes import DEFAULT_FAIL_ON

GENERATION_FIELDS: Final = tuple(GenerationFields.model_fields)
"""Names of the fields that go to Ollama as they are."""
NOT_IN_A_CHAT: Final = ("template", "suffix", "raw", "images")
"""Fields of `/api/generate` that `/api/chat` has no place for."""

_LONGEST_TIMEOUT_S = 86_400.0

Defect = Literal["prompt_truncated", "truncated", "empty", "invalid_json", "schema_mismatch"]
"""The names of `domain.outcomes.DEFECTS`; a test holds the two together."""


def _check_each_once(defects: list[Defect]) -> list[Defect]:
    for place, name in enumerate(defects):
        if name in defects[:place]:
            raise PydanticCustomError("repeated", "has `{name}` twice", {"name": name})
    return defects


FailOn = Annotated[
    list[Defect], AfterValidator(_check_each_once), Field(json_schema_extra={"uniqueItems": True})
]


class PromptObject(GenerationFields):
    """A prompt with fields of its own; what is not given here is taken from the batch.

    A field replaces the batch's as a whole: `options` are not merged name by name.
    """

    prompt: str | None = Field(
        default=None,
        description="The text of the prompt. Give either this or `messages`.",
        examples=["Why is the sky blue?"],
    )
    messages: Annotated[list[Message], Field(min_length=1)] | None = Field(
        default=None,
        description="A chat, oldest message first. Give either this or `prompt`.",
        examples=[[{"role": "user", "content": "Why is the sky blue?"}]],
    )
    id: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="Your own id of the prompt, unique in the batch; its result carries it.",
        examples=["question-17"],
    )
    model: ModelName | None = Field(
        default=None, description="Model for this prompt alone.", examples=["llama3.2:3b"]
    )
    tools: list[dict[str, Any]] | None = Field(
        default=None,
        description="Tools that the model may call, as in Ollama's `/api/chat`; only with"
        " `messages`.",
        examples=[[{"type": "function", "function": {"name": "get_weather", "parameters": {}}}]],
    )


class BatchFields(GenerationFields):
    """The fields of a batch but for its prompts, which are read one by one."""

    model: ModelName | None = Field(
        default=None,
        description="Model for all prompts that name none. Left out, it is the service's default"
        " (`PROMPTMILL_DEFAULT_MODEL`, at first `qwen3:8b`).",
        examples=["qwen3:8b"],
    )
    max_concurrent: MaxConcurrent = Field(
        default=5,
        description="Most prompts of this batch running at one moment, over all workers; or `auto`:"
        " it starts at the number recommended for the model and follows the throughput.",
        examples=[5, "auto"],
    )
    rate_limit_delay: RateLimitDelay = Field(
        default=0.1,
        description="Seconds between two request starts of this batch at least, over all workers.",
        examples=[0.1],
    )
    timeout_s: float = Field(
        default=300.0,
        gt=0,
        le=_LONGEST_TIMEOUT_S,
        description="Seconds that one attempt may take in all.",
        examples=[300.0],
    )
    max_attempts: int = Field(
        default=3,
        ge=1,
        le=20,
        description="Attempts for each prompt, the first included.",
        examples=[3],
    )
    fail_on: FailOn = Field(
        default=[code.value for code in DEFAULT_FAIL_ON],
        description="Which defects of an answer make it a failure. `prompt_truncated`: Ollama cut"
        " the prompt to the context window. `truncated`: cut at its limit of tokens. `empty`: no"
        " text and no call of a tool. `invalid_json`: there is a `format` and the answer is not"
        " JSON. `schema_mismatch`: `format` is a schema that it does not fit. An empty list takes"
        " every answer; a result names its `defect` either way.",
        examples=[["truncated", "empty"], []],
    )
    priority: Priority = Field(
        default=0, description="Batches with a higher number go first.", examples=[0]
    )
    expires_in_s: ExpiresIn | None = Field(
        default=None,
        description="Seconds from now after which prompts that have no answer yet end as `expired`;"
        " what runs then may finish. null: never.",
        examples=[86400.0, None],
    )
    max_failures: MaxFailures = Field(
        default=None,
        description="How many prompts may fail: a number, or a share of all prompts with at most"
        " two decimals. When more have failed, the rest is not run and the batch ends as `failed`."
        " null: it runs to its last prompt.",
        examples=[25, "20%", None],
    )
    auto_pull: bool = Field(
        default=False,
        strict=True,
        description="Whether a model that no host has is pulled first. Until every model of the"
        " batch is there, or could not be had, none of its prompts starts; `pulls` tells how far"
        " that is.",
        examples=[True],
    )
    metadata: Metadata = Field(
        default_factory=dict[str, str],
        description="Up to 16 pairs of your own, names up to 64 and values up to 512 characters;"
        " given back as sent, and `?metadata.name=value` filters the list of batches.",
        examples=[{"project": "gsm8k", "run": "3"}],
    )


class BatchRequest(BatchFields):
    """A batch: prompts, and what holds for all of them."""

    prompts: Annotated[
        list[Annotated[str, Field(min_length=1)] | PromptObject], Field(min_length=1)
    ] = Field(
        description="The work: each prompt a string, or an object with fields of its own. How many,"
        " and how long each may be, are settings of the service (at first 100000 and 1 MiB).",
        examples=[
            [
                "Why is the sky blue?",
                {"id": "grass", "prompt": "Why is grass green?", "options": {"temperature": 0}},
                {"messages": [{"role": "user", "content": "Hello!"}], "model": "llama3.2:3b"},
            ]
        ],
    )

"""Request models of a batch and its prompts."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError, to_json

from promptmill.api.schemas.ollama import GenerationFields, Message, ModelName, check_raw
from promptmill.api.schemas.steering import (
    AUTO,
    ExpiresIn,
    Label,
    MaxConcurrent,
    MaxFailures,
    Metadata,
    Priority,
    RateLimitDelay,
)
from promptmill.api.schemas.strict import (
    NOT_BLANK,
    Path,
    RequestModel,
    either,
    faults_error,
    whole,
)
from promptmill.contract.record import Defect
from promptmill.domain.batches import BatchDraft, BatchKind, FailureLimit, PromptDraft
from promptmill.domain.limits import Limits
from promptmill.domain.outcomes import DEFAULT_FAIL_ON, ErrorCode

GENERATION_FIELDS: Final = tuple(GenerationFields.model_fields)
"""Names of the fields that go to Ollama unchanged."""
EMBED_FIELDS: Final = ("options", "keep_alive", "truncate", "dimensions")
"""Fields of Ollama's request that apply to texts to embed."""
NOT_IN_A_CHAT: Final = ("template", "suffix", "raw", "images")
"""Fields of `/api/generate` that `/api/chat` lacks."""

_LONGEST_TIMEOUT_S = 86_400.0

_MOST_DATA_BYTES = 16 * 1024


def _check_each_once(defects: list[Defect]) -> list[Defect]:
    for place, name in enumerate(defects):
        if name in defects[:place]:
            raise PydanticCustomError("repeated", "has `{name}` twice", {"name": name})
    return defects


FailOn = Annotated[
    list[Defect], AfterValidator(_check_each_once), Field(json_schema_extra={"uniqueItems": True})
]


_IDENTITY: Final = frozenset({"prompt", "id"})


def _check_data_size(data: dict[str, Any]) -> dict[str, Any]:
    size = len(to_json(data))
    if size > _MOST_DATA_BYTES:
        raise PydanticCustomError(
            "too_large",
            "has {size} bytes as JSON; at most {most} are kept",
            {"size": size, "most": _MOST_DATA_BYTES},
        )
    return data


class PromptObject(GenerationFields):
    """Prompt with fields of its own; other fields are those of the batch.

    A field replaces the batch's as a whole: `options` are not merged by name. `template`, `suffix`,
    `raw` and `images` exclude `messages`, and `tools` need them.
    """

    model_config = ConfigDict(json_schema_extra=either("prompt", "messages"))

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
    data: Annotated[dict[str, Any], AfterValidator(_check_data_size)] | None = Field(
        default=None,
        description="An object of your own, such as the row that the prompt was made of; at most"
        " 16 KiB as JSON. It is not sent to the model, and comes back with the result.",
        examples=[{"product": "kettle", "stars": 4}],
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """Refuse contradictions between fields."""
        faults: list[tuple[Path, str]] = check_raw(self)
        if (self.prompt is None) == (self.messages is None):
            faults.append(((), "must have either `prompt` or `messages`, and not both"))
        elif self.messages is not None:
            if not any(map(_says_something, self.messages)):
                faults.append((("messages",), "must not be empty"))
            for name in NOT_IN_A_CHAT:
                if name in self.model_fields_set:
                    hint = "; put them into the message" if name == "images" else "; leave it out"
                    faults.append(((name,), f"has no meaning with `messages`{hint}"))
        else:
            if not self.prompt or self.prompt.isspace():
                faults.append((("prompt",), "must not be empty"))
            if self.tools is not None:
                faults.append((("tools",), "needs `messages`; Ollama has tools in chats only"))
        if faults:
            raise faults_error(faults)
        return self

    def draft(self) -> PromptDraft:
        """Convert the prompt to its stored form."""
        if not self.model_fields_set - _IDENTITY:  # Most prompts are like that, and a copy is slow.
            return PromptDraft(self.prompt or "", self.id)
        given = self.given()
        custom_id, data = given.pop("id", None), given.pop("data", None)
        if "messages" not in given:
            return PromptDraft(given.pop("prompt"), custom_id, given or None, data)
        draft = PromptDraft(_last_said(given["messages"]), custom_id, given, data)
        return with_system_first(draft, given.pop("system", None))


def with_system_first(draft: PromptDraft, system: str | None) -> PromptDraft:
    """Put the batch's system message before a chat that does not begin with one of its own.

    `/api/chat` has no field for it, and Ollama would drop it silently. Other prompts are returned
    unchanged.
    """
    messages = (draft.overrides or {}).get("messages")
    if not system or not messages or messages[0]["role"] == "system":
        return draft
    first = {"role": "system", "content": system}
    return draft._replace(overrides={**(draft.overrides or {}), "messages": [first, *messages]})


def _last_said(messages: list[dict[str, Any]]) -> str:
    said = [message for message in messages if message["role"] == "user"] or messages
    return said[-1].get("content", "")


def _says_something(message: Message) -> bool:
    return bool(message.content.strip() or message.images or message.tool_calls)


def _check_not_blank(text: str) -> str:
    if text.isspace():
        raise PydanticKnownError("string_too_short", {"min_length": 1})
    return text


PromptText = Annotated[
    str,
    Field(min_length=1, json_schema_extra={"pattern": NOT_BLANK}),
    AfterValidator(_check_not_blank),
]
PROMPT_TEXT: Final = TypeAdapter[str](PromptText, config=RequestModel.model_config)
"""Validator of a prompt that is a text; there may be a million of them."""


class BatchFields(GenerationFields):
    """Fields of a batch except its prompts, which are read one by one."""

    model: ModelName | None = Field(
        default=None,
        description="Model for all prompts that name none. Left out, it is the service's default"
        " (`PROMPTMILL_DEFAULT_MODEL`, at first `qwen3:8b`).",
        examples=["qwen3:8b"],
    )
    kind: Literal["generate", "embed"] = Field(
        default="generate",
        description="`generate`: an answer to each prompt. `embed`: a vector of each, which is a"
        " text; `truncate` is false unless it is given, so that a text longer than the context is"
        " an error, and fields that only answers have are refused.",
        examples=["embed"],
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
    max_attempts: Annotated[int, BeforeValidator(whole)] = Field(
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
        description="Whether a model that no host has is pulled first, from a server in"
        " `PROMPTMILL_PULL_REGISTRIES`. Until every model of the"
        " batch is there, or could not be had, none of its prompts starts; `pulls` tells how far"
        " that is.",
        examples=[True],
    )
    label: Label | None = Field(
        default=None,
        description="What you call the batch, in lists and on the command line; several batches may"
        " have the same one. `?label=` filters the list of batches.",
        examples=["colours, first try"],
    )
    metadata: Metadata = Field(
        default_factory=dict[str, str],
        description="Up to 16 pairs of your own, names up to 64 and values up to 512 characters;"
        " given back as sent, and `?metadata.name=value` filters the list of batches.",
        examples=[{"project": "gsm8k", "run": "3"}],
    )

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if faults := check_raw(self):
            raise faults_error(faults)
        return self

    def draft(self, default_model: str) -> BatchDraft:
        """Convert the fields to the batch to store, without its prompts."""
        auto = self.max_concurrent == AUTO
        return BatchDraft(
            prompts=(),
            model=self.model or default_model,
            kind=BatchKind(self.kind),
            limits=Limits(
                max_concurrent=Limits().max_concurrent if auto else self.max_concurrent,
                rate_limit_delay_s=self.rate_limit_delay,
            ),
            auto_concurrency=auto,
            parameters=({"truncate": False} if self.kind == "embed" else {})
            | {name: value for name, value in self.given().items() if name in GENERATION_FIELDS},
            timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
            priority=self.priority,
            label=self.label,
            metadata=self.metadata,
            expires_in_s=self.expires_in_s,
            max_failures=None
            if self.max_failures is None
            else FailureLimit(str(self.max_failures)),
            # None, not the default's names: a later default then applies.
            fail_on=tuple(map(ErrorCode, self.fail_on))
            if "fail_on" in self.model_fields_set
            else None,
            auto_pull=self.auto_pull,
        )


class BatchRequest(BatchFields):
    """Batch: prompts, and fields that apply to all of them."""

    prompts: Annotated[list[PromptText | PromptObject], Field(min_length=1)] = Field(
        description="The work: each prompt a string, or an object with fields of its own; none of"
        " them blank. How many,"
        " and how long each may be, are settings of the service (at first 100000 and 1 MiB).",
        examples=[
            [
                "Why is the sky blue?",
                {"id": "grass", "prompt": "Why is grass green?", "options": {"temperature": 0}},
                {"messages": [{"role": "user", "content": "Hello!"}], "model": "llama3.2:3b"},
            ]
        ],
    )

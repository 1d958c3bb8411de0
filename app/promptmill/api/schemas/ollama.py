"""The fields of Ollama's own requests, typed as its API reference types them.

What is sent on is the caller's own value, not a copy made by these models: they only judge it.
"""

from __future__ import annotations

import binascii
import re
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from promptmill.api.schemas.strict import RequestModel
from promptmill.ollama.answer_checks.json_schema import schema_fault

Whole = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]

_DURATION = re.compile(r"[+-]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)")
_THINK_LEVELS: Final = ("low", "medium", "high", "max")
_FORMATS: Final = ("", "json")


def _check_keep_alive(value: object) -> object:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return value
    raise PydanticCustomError(
        "keep_alive",
        'must be a number of seconds, or a duration with a unit such as "5m", "1h30m" or "-1s"',
    )


def _check_think(value: object) -> object:
    if value is None or isinstance(value, bool) or value in _THINK_LEVELS:
        return value
    raise PydanticCustomError("think", 'must be true, false, "low", "medium", "high" or "max"')


def _check_format(value: object) -> object:
    if value is None or (isinstance(value, str) and value in _FORMATS):
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError("format", 'must be "json" or a JSON Schema object')
    schema = cast("dict[str, Any]", value)
    if fault := schema_fault(schema):
        raise PydanticCustomError("format", "{fault}", {"fault": fault})
    return schema


def _check_image(value: object) -> object:
    if not isinstance(value, str) or not value:
        raise PydanticCustomError("image", "must be a string: an image file in base64")
    if value.startswith("data:"):
        raise PydanticCustomError(
            "image", "must be bare base64; leave out everything up to and with `base64,`"
        )
    try:
        binascii.a2b_base64(value, strict_mode=True)
    except ValueError:
        raise PydanticCustomError("image", "is not valid base64 (RFC 4648, padded)") from None
    return value


KeepAlive = Annotated[
    Any,
    PlainValidator(_check_keep_alive),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}, {"type": "null"}]}),
]
Think = Annotated[
    Any,
    PlainValidator(_check_think),
    WithJsonSchema(
        {"anyOf": [{"type": "boolean"}, {"enum": list(_THINK_LEVELS)}, {"type": "null"}]}
    ),
]
Format = Annotated[
    Any,
    PlainValidator(_check_format),
    WithJsonSchema({"anyOf": [{"enum": list(_FORMATS)}, {"type": "object"}, {"type": "null"}]}),
]
Image = Annotated[
    str,
    PlainValidator(_check_image),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "minLength": 1}),
]
ModelName = Annotated[
    str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:/@-]*$")
]


def _option(description: str, example: object) -> Any:  # noqa: ANN401 - the type of Field()
    return Field(default=None, description=description, examples=[example])


class OllamaOptions(RequestModel):
    """Ollama's model options. Ollama ignores a name that it does not know; here it is refused."""

    num_ctx: Whole | None = _option(
        "Tokens of context, prompt and answer together. Changing it reloads the model.", 4096
    )
    num_batch: Whole | None = _option(
        "Tokens of the prompt that are evaluated at once. Changing it reloads the model.", 512
    )
    num_gpu: Whole | None = _option(
        "Layers kept on the GPU; -1 lets Ollama decide. Changing it reloads the model.", -1
    )
    main_gpu: Whole | None = _option(
        "The GPU that holds small tensors. Changing it reloads the model.", 0
    )
    use_mmap: bool | None = _option(
        "Whether the model file is mapped into memory. Changing it reloads the model.", True
    )
    num_thread: Whole | None = _option(
        "CPU threads; 0 lets Ollama decide. Changing it reloads the model.", 8
    )
    draft_num_predict: Whole | None = _option(
        "Tokens drafted ahead by a draft model. Changing it reloads the model.", 4
    )
    num_keep: Whole | None = _option("Tokens kept from the start when the context is shifted.", 4)
    seed: Whole | None = _option("Seed of the random numbers; -1 takes a new one each time.", 42)
    num_predict: Whole | None = _option("Most tokens to answer with; -1 for no limit.", 128)
    top_k: Whole | None = _option("Sample from this many likeliest tokens.", 40)
    top_p: float | None = _option("Sample from the likeliest tokens up to this probability.", 0.9)
    min_p: float | None = _option("Least probability of a token, relative to the likeliest.", 0.05)
    typical_p: float | None = _option("Locally typical sampling; 1 turns it off.", 1.0)
    repeat_last_n: Whole | None = _option("Tokens looked back at against repetition.", 64)
    temperature: float | None = _option("0 takes the likeliest token, more is more varied.", 0.7)
    repeat_penalty: float | None = _option("How strongly repetition is punished; 1 is off.", 1.1)
    presence_penalty: float | None = _option("Penalty for tokens that occurred at all.", 0.0)
    frequency_penalty: float | None = _option("Penalty by how often a token occurred.", 0.0)
    stop: list[str] | None = _option("Texts at which the answer ends.", ["\n\n"])
    mirostat: Whole | None = _option("Older Ollama only: Mirostat sampling, 0, 1 or 2.", 0)
    mirostat_eta: float | None = _option("Older Ollama only: learning rate of Mirostat.", 0.1)
    mirostat_tau: float | None = _option("Older Ollama only: target of Mirostat.", 5.0)
    tfs_z: float | None = _option("Older Ollama only: tail-free sampling; 1 is off.", 1.0)
    penalize_newline: bool | None = _option(
        "Older Ollama only: whether newlines count as repetition.", True
    )
    numa: bool | None = _option("Older Ollama only: NUMA placement.", False)
    low_vram: bool | None = _option("Older Ollama only: spare the GPU's memory.", False)
    vocab_only: bool | None = _option("Older Ollama only: load the vocabulary alone.", False)
    f16_kv: bool | None = _option("Older Ollama only: 16-bit key-value cache.", True)
    logits_all: bool | None = _option("Older Ollama only: logits of all tokens.", False)


class GenerationFields(RequestModel):
    """Fields that Ollama's `/api/generate` takes, for a whole batch or for one prompt."""

    system: str | None = Field(
        default=None,
        description="System message. In front of `messages` it becomes their first message, unless"
        " they begin with one of their own.",
        examples=["Answer in one short sentence."],
    )
    template: str | None = Field(
        default=None,
        description="Prompt template in Ollama's template language, in place of the model's.",
        examples=["{{ .System }} {{ .Prompt }}"],
    )
    suffix: str | None = Field(
        default=None,
        description="Text after the answer, for models that fill in the middle.",
        examples=["    return result"],
    )
    raw: bool | None = Field(
        default=None,
        description="Send the prompt to the model as it is, without template or system message.",
        examples=[False],
    )
    format: Format = Field(
        default=None,
        description='"json", or a JSON Schema that the answer has to fit: draft 4, 6, 7, 2019-09 or'
        " 2020-12 (without `$schema`), with references only into itself. The answer is checked, see"
        " `fail_on`.",
        examples=[{"type": "object", "properties": {"age": {"type": "integer"}}}],
    )
    options: OllamaOptions | None = Field(
        default=None,
        description="Model options.",
        examples=[{"temperature": 0, "num_predict": 128, "num_ctx": 4096}],
    )
    keep_alive: KeepAlive = Field(
        default=None,
        description="How long Ollama keeps the model loaded afterwards: seconds, or a duration with"
        " a unit; negative for ever, 0 unloads at once.",
        examples=["10m"],
    )
    think: Think = Field(
        default=None,
        description="Whether (or how much) a thinking model thinks first. Left out, it thinks.",
        examples=[False],
    )
    images: list[Image] | None = Field(
        default=None,
        description="Images for a model that sees, each a file in base64.",
        examples=[["iVBORw0KGgo="]],
    )
    truncate: bool | None = Field(
        default=None,
        description="Whether a prompt longer than the context is cut (Ollama's default) or fails.",
        examples=[True],
    )
    shift: bool | None = Field(
        default=None,
        description="Whether the context is shifted when it is full (Ollama's default), or the"
        " answer ends. Changing it reloads the model.",
        examples=[True],
    )
    logprobs: bool | None = Field(
        default=None,
        description="Ask for the log probabilities of the tokens.",
        examples=[False],
    )
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None,
        description="How many alternatives with each token's log probability.",
        examples=[0],
    )


class ToolFunction(RequestModel):
    """The function that a model called."""

    index: Whole | None = Field(default=None, description="Place among the calls.", examples=[0])
    name: str = Field(min_length=1, description="The function's name.", examples=["get_weather"])
    arguments: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="The arguments, as an object.",
        examples=[{"city": "Paris"}],
    )


class ToolCall(RequestModel):
    """A call of a tool in an earlier message of the chat."""

    id: str | None = Field(default=None, description="The call's id.", examples=["call_a1b2c3d4"])
    type: Literal["function"] | None = Field(
        default=None, description="Always `function`.", examples=["function"]
    )
    function: ToolFunction = Field(
        description="What was called.",
        examples=[{"name": "get_weather", "arguments": {"city": "Paris"}}],
    )


class Message(RequestModel):
    """One message of a chat."""

    role: Literal["system", "user", "assistant", "tool"] = Field(
        description="Who speaks.", examples=["user"]
    )
    content: str = Field(default="", description="What is said.", examples=["Why is the sky blue?"])
    thinking: str | None = Field(
        default=None,
        description="What the assistant thought before it said this.",
        examples=["The user asks about Rayleigh scattering."],
    )
    images: list[Image] | None = Field(
        default=None,
        description="Images that belong to the message, each a file in base64.",
        examples=[["iVBORw0KGgo="]],
    )
    tool_calls: list[ToolCall] | None = Field(
        default=None,
        description="Tools that the assistant called.",
        examples=[[{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]],
    )
    tool_name: str | None = Field(
        default=None, description="The tool that answers (role `tool`).", examples=["get_weather"]
    )
    tool_call_id: str | None = Field(
        default=None, description="The call that is answered.", examples=["call_a1b2c3d4"]
    )

"""Fields of Ollama's requests, with the types of its API reference.

Alternative notations of Ollama and the tools around it are converted to Ollama's own: content in
parts, base64 with line ends, whole numbers such as `5.0`.
"""

from __future__ import annotations

import binascii
import re
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError, PydanticKnownError

from promptmill.api.schemas.strict import Path, RequestModel, faults_error, whole
from promptmill.ollama.answer_checks.json_schema import schema_fault

Whole = Annotated[int, Field(ge=-(2**63), le=2**63 - 1), BeforeValidator(whole)]

_DURATION = re.compile(r"[+-]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)")
_THINK_LEVELS: Final = ("low", "medium", "high", "max")
_FORMATS: Final = ("", "json")
_LINE_ENDS: Final = {ord("\r"): None, ord("\n"): None}


def _check_keep_alive(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return whole(value)
    if isinstance(value, str) and _DURATION.fullmatch(value):
        return value
    raise PydanticCustomError(
        "keep_alive",
        'must be a number of seconds, or a duration with a unit such as "5m", "1h30m" or "-1s"',
    )


def _check_think(value: object) -> object:
    if isinstance(value, bool) or value in _THINK_LEVELS:
        return value
    raise PydanticCustomError("think", 'must be true, false, "low", "medium", "high" or "max"')


def _check_format(value: object) -> object:
    if isinstance(value, str) and value in _FORMATS:
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError("format", 'must be "json" or a JSON Schema object')
    schema = cast("dict[str, Any]", value)
    if fault := schema_fault(schema):
        raise PydanticCustomError("format", "{fault}", {"fault": fault})
    return schema


def _check_image(value: object) -> object:
    if not isinstance(value, str) or not value or value.isspace():
        raise PydanticCustomError("image", "must be a string: an image file in base64")
    if value.startswith("data:"):
        raise PydanticCustomError(
            "image", "must be bare base64; leave out everything up to and with `base64,`"
        )
    # Mail, `base64` and Python's `encodebytes` break lines; Ollama ignores line ends.
    image = value.translate(_LINE_ENDS) if "\n" in value or "\r" in value else value
    try:
        binascii.a2b_base64(image, strict_mode=True)
    except ValueError:
        raise PydanticCustomError("image", "is not valid base64 (RFC 4648, padded)") from None
    return image


def _check_number(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise PydanticKnownError("float_type")


Number = Annotated[
    float,
    # Not converted: a 0 is sent to Ollama as 0 and not as 0.0.
    PlainValidator(_check_number),
    WithJsonSchema({"type": "number"}),
]
KeepAlive = Annotated[
    Any,
    PlainValidator(_check_keep_alive),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
                {"type": "null"},
            ]
        }
    ),
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
    """Ollama's model options. Ollama ignores unknown names; here they are refused."""

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
    top_p: Number | None = _option("Sample from the likeliest tokens up to this probability.", 0.9)
    min_p: Number | None = _option("Least probability of a token, relative to the likeliest.", 0.05)
    typical_p: Number | None = _option("Locally typical sampling; 1 turns it off.", 1.0)
    repeat_last_n: Whole | None = _option("Tokens looked back at against repetition.", 64)
    temperature: Number | None = _option("0 takes the likeliest token, more is more varied.", 0.7)
    repeat_penalty: Number | None = _option("How strongly repetition is punished; 1 is off.", 1.1)
    presence_penalty: Number | None = _option("Penalty for tokens that occurred at all.", 0.0)
    frequency_penalty: Number | None = _option("Penalty by how often a token occurred.", 0.0)
    stop: list[str] | None = _option("Texts at which the answer ends.", ["\n\n"])
    mirostat: Whole | None = _option("Older Ollama only: Mirostat sampling, 0, 1 or 2.", 0)
    mirostat_eta: Number | None = _option("Older Ollama only: learning rate of Mirostat.", 0.1)
    mirostat_tau: Number | None = _option("Older Ollama only: target of Mirostat.", 5.0)
    tfs_z: Number | None = _option("Older Ollama only: tail-free sampling; 1 is off.", 1.0)
    penalize_newline: bool | None = _option(
        "Older Ollama only: whether newlines count as repetition.", True
    )
    numa: bool | None = _option("Older Ollama only: NUMA placement.", False)
    low_vram: bool | None = _option("Older Ollama only: spare the GPU's memory.", False)
    vocab_only: bool | None = _option("Older Ollama only: load the vocabulary alone.", False)
    f16_kv: bool | None = _option("Older Ollama only: 16-bit key-value cache.", True)
    logits_all: bool | None = _option("Older Ollama only: logits of all tokens.", False)
    use_mlock: bool | None = _option("Older Ollama only: keep the model from being swapped.", True)
    embedding_only: bool | None = _option("Older Ollama only: load for embedding alone.", False)
    num_gqa: Whole | None = _option("Older Ollama only: groups of grouped-query attention.", 1)
    rope_frequency_base: Number | None = _option("Older Ollama only: base of RoPE.", 10000.0)
    rope_frequency_scale: Number | None = _option("Older Ollama only: scale of RoPE.", 1.0)


class GenerationFields(RequestModel):
    """Fields of Ollama's `/api/generate`, for a whole batch or for one prompt."""

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
        description="Send the prompt to the model as it is: neither `template` nor `system` go with"
        " it.",
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
    dimensions: Annotated[int, Field(ge=1, le=65_536), BeforeValidator(whole)] | None = Field(
        default=None,
        description="Of a batch that embeds: numbers of a vector, where the model has more.",
        examples=[256],
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
    top_logprobs: Annotated[int, Field(ge=0, le=20), BeforeValidator(whole)] | None = Field(
        default=None,
        description="How many alternatives with each token's log probability.",
        examples=[0],
    )

    def given(self) -> dict[str, Any]:
        """Fields that were sent, as they go to Ollama; an empty `format` is left out."""
        given = self.model_dump(exclude_unset=True)
        if given.get("format") == "":
            del given["format"]
        return given


def check_raw(fields: GenerationFields) -> list[tuple[Path, str]]:
    """Faults of fields that contradict `raw`, in a prompt or a batch."""
    return [
        ((name,), "cannot go with `raw`, which sends the prompt as it is")
        for name in ("template", "system")
        if fields.raw and name in fields.model_fields_set
    ]


class ToolFunction(RequestModel):
    """Function that a model called."""

    index: Whole | None = Field(default=None, description="Place among the calls.", examples=[0])
    name: str = Field(min_length=1, description="The function's name.", examples=["get_weather"])
    arguments: dict[str, Any] = Field(
        default_factory=dict[str, Any],
        description="The arguments, as an object.",
        examples=[{"city": "Paris"}],
    )


class ToolCall(RequestModel):
    """Tool call in an earlier message of the chat."""

    id: str | None = Field(default=None, description="The call's id.", examples=["call_a1b2c3d4"])
    type: Literal["function"] | None = Field(
        default=None, description="Always `function`.", examples=["function"]
    )
    function: ToolFunction = Field(
        description="What was called.",
        examples=[{"name": "get_weather", "arguments": {"city": "Paris"}}],
    )


_OR_PARTS: Final = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string"},
            {"type": "array", "items": {"type": "object", "required": ["type"]}},
        ]
    }
)


class Message(RequestModel):
    """Message of a chat."""

    role: Literal["system", "user", "assistant", "tool"] = Field(
        description="Who speaks.", examples=["user"]
    )
    content: Annotated[str, _OR_PARTS] = Field(
        default="",
        description="What is said. Content in parts, as OpenAI's clients write it, is taken apart:"
        " its texts are joined by newlines, and its images, `data:` URLs in base64, go to"
        " `images`.",
        examples=["Why is the sky blue?"],
    )
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

    @model_validator(mode="before")
    @classmethod
    def _take_content_apart(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        message = cast("dict[str, Any]", value)
        parts = message.get("content")
        if not isinstance(parts, list):
            return message
        texts, images = _parts_of(cast("list[object]", parts))
        given: object = message.get("images")
        message = {**message, "content": "\n".join(texts)}
        if images:
            message["images"] = [*cast("list[object]", given), *images] if given else images
        return message


def _parts_of(parts: list[object]) -> tuple[list[str], list[str]]:
    """Split content in parts into its texts and images.

    Raises:
        PydanticCustomError: A part is neither.
    """
    texts: list[str] = []
    images: list[str] = []
    faults: list[tuple[Path, str]] = []
    for place, part in enumerate(parts):
        match part:
            case {"type": "text" | "input_text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)} | {
                "type": "input_image",
                "image_url": str(url),
            }:
                kind, _, image = url.partition(";base64,")
                if kind.startswith("data:") and image:
                    images.append(image)
                else:
                    faults.append((("content", place, "image_url"), _NO_DATA_URL))
            case _:
                faults.append((("content", place), _NO_PART))
    if faults:
        raise faults_error(faults)
    return texts, images


_NO_DATA_URL: Final = (
    "must be a URL such as `data:image/png;base64,…`; nothing is fetched, so put the image itself"
    " into it, or as base64 into the message's `images`"
)
_NO_PART: Final = (
    'must be {"type": "text", "text": …} or {"type": "image_url", "image_url": {"url":'
    ' "data:image/png;base64,…"}}; or let `content` be a text, with images in `images`'
)

"""Conversion of OpenAI's batch lines, `{"custom_id": …, "url": …, "body": {…}}`, to prompts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

from promptmill.rows import parse_json

_OPTIONS: Final = {
    "max_tokens": "num_predict",
    "max_completion_tokens": "num_predict",
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "stop": "stop",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
}
"""Ollama's options by the names of OpenAI's fields."""
_PASSED_ON: Final = ("model", "prompt", "tools", "logprobs", "top_logprobs")
_WITHOUT_EFFECT: Final = frozenset(
    {"stream", "stream_options", "user", "store", "metadata", "service_tier", "safety_identifier"}
    | {"parallel_tool_calls", "prompt_cache_key"}
)
"""Fields that are dropped, as they do not change an answer."""
_READ: Final = frozenset(
    {*_OPTIONS, *_PASSED_ON, *_WITHOUT_EFFECT, "messages", "response_format", "reasoning_effort"}
)
_ONLY_VALUE: Final[Mapping[str, Any]] = {"n": 1, "tool_choice": "auto", "logit_bias": {}}
_URLS: Final = {"/v1/chat/completions": "messages", "/v1/completions": "prompt"}
_DATA_URL: Final = re.compile(r"data:image/[\w.+-]+;base64,")


def is_openai_line(value: Mapping[str, Any]) -> bool:
    """Whether an object is a line of an OpenAI batch file."""
    return "body" in value and ("custom_id" in value or "url" in value)


def prompt_of_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """Make the prompt object of a line.

    Raises:
        ValueError: The line asks for something that Ollama does not support; the message names it.
    """
    url, body = line.get("url", "/v1/chat/completions"), line["body"]
    said_by = _URLS.get(url) if isinstance(url, str) else None
    if said_by is None:
        raise ValueError(f"asks for {url}; only {' and '.join(_URLS)} are read")
    if not isinstance(body, dict):
        raise ValueError('"body" must be an object')  # noqa: TRY004 - said with others
    fields = {
        name: value for name, value in cast("dict[str, Any]", body).items() if value is not None
    }
    if said_by not in fields:
        raise ValueError(f'"body" has no "{said_by}"')
    for name, value in fields.items():
        if name not in _READ and (name not in _ONLY_VALUE or _ONLY_VALUE[name] != value):
            raise ValueError(f'"body" has "{name}", which Ollama does not support; leave it out')
    prompt: dict[str, Any] = {} if line.get("custom_id") is None else {"id": line["custom_id"]}
    prompt |= {name: fields[name] for name in _PASSED_ON if name in fields}
    if "messages" in fields:
        prompt["messages"] = _messages(fields["messages"])
    if "response_format" in fields:
        prompt |= _format(fields["response_format"])
    if (effort := fields.get("reasoning_effort")) is not None:
        prompt["think"] = False if effort in {"none", "minimal"} else effort
    options = {ours: fields[theirs] for theirs, ours in _OPTIONS.items() if theirs in fields}
    return prompt | ({"options": options} if options else {})


def _format(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    match value:
        case {"type": "text"}:
            return {}
        case {"type": "json_object"}:
            return {"format": "json"}
        case {"type": "json_schema", "json_schema": {"schema": dict()}}:
            return {"format": value["json_schema"]["schema"]}
        case _:
            raise ValueError('"response_format" must be text, json_object or json_schema')


def _messages(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON
    if not isinstance(value, list):
        raise ValueError('"messages" must be a list')  # noqa: TRY004 - said with others
    return [
        _message(cast("dict[str, Any]", one)) if isinstance(one, dict) else one
        for one in cast("list[Any]", value)
    ]


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a message to Ollama's form: text content, separate images, arguments as an object."""
    found = {name: value for name, value in message.items() if value is not None}
    found.pop("refusal", None)
    if found.get("role") == "developer":
        found["role"] = "system"
    if isinstance(found.get("content"), list):
        found |= _joined(found["content"])
    if isinstance(found.get("tool_calls"), list):
        found["tool_calls"] = [_tool_call(call) for call in found["tool_calls"]]
    return found


def _joined(parts: list[Any]) -> dict[str, Any]:
    texts: list[str] = []
    images: list[str] = []
    for part in parts:
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                head = _DATA_URL.match(url)
                if head is None:
                    raise ValueError(
                        "an image must be embedded as data:image/png;base64,…; addresses are not"
                        " fetched"
                    )
                images.append(url[head.end() :])
            case _:
                raise ValueError("a part of a message must be a text or an image_url")
    return {"content": "\n".join(texts)} | ({"images": images} if images else {})


def _tool_call(call: Any) -> Any:  # noqa: ANN401 - any JSON
    match call:
        case {"function": {"arguments": str(arguments)} as function}:
            return {**call, "function": {**function, "arguments": parse_json(arguments or "{}")}}
        case _:
            return call

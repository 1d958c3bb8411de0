"""The routes /v1/chat/completions and /v1/completions, which translate to chat and generate.

Only the parameters that the real layer reads are read; `num_ctx`, `keep_alive` and `options` are
among those that it drops.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

from promptmill.simulator.engine.speech import answer_text_request, prompt_size
from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.engine.text import count_tokens
from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.faults.strikes import strike_on_arrival
from promptmill.simulator.protocol import binding
from promptmill.simulator.protocol.binding import Fields, Reader, bind
from promptmill.simulator.protocol.narrow import as_list, as_object
from promptmill.simulator.protocol.openai_styles import (
    BindingRefusal,
    ChatCompletionStyle,
    CompletionStyle,
)
from promptmill.simulator.protocol.wire import Exchange
from promptmill.simulator.routes.text import chat_with, options_of, text_request

_SAMPLING: dict[str, Reader] = {
    "model": binding.text,
    "stream": binding.boolean,
    "stream_options": binding.mapping,
    "max_tokens": binding.integer,
    "seed": binding.integer,
    "stop": binding.anything,
    "temperature": binding.number,
    "top_p": binding.number,
    "frequency_penalty": binding.number,
    "presence_penalty": binding.number,
}

_CHAT: dict[str, Reader] = {
    **_SAMPLING,
    "messages": binding.list_of(binding.mapping, "[]openai.Message"),
    "response_format": binding.mapping,
    "tools": binding.list_of(binding.mapping, "api.Tools"),
    "reasoning_effort": binding.text,
    "reasoning": binding.mapping,
}

_COMPLETION: dict[str, Reader] = {
    **_SAMPLING,
    "prompt": binding.text,
    "suffix": binding.text,
}

_EFFORTS: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}


async def chat_completions(server: ServerState, exchange: Exchange) -> None:
    """POST /v1/chat/completions."""
    started_ns = time.perf_counter_ns()
    fields = bind_openai(exchange, "ChatCompletionRequest", _CHAT)
    messages = cast("list[Mapping[str, object]]", fields.get("messages", []))
    if not messages:
        raise BindingRefusal(400, "[] is too short - 'messages'")
    native = _shared(fields)
    native["messages"] = [_message(message) for message in messages]
    response_format = cast("Mapping[str, object]", fields.get("response_format", {}))
    if response_format.get("type") == "json_object":
        native["format"] = "json"
    elif response_format.get("type") == "json_schema":
        wrapped = as_object(response_format.get("json_schema")) or {}
        native["format"] = wrapped.get("schema")
    if "tools" in fields:
        native["tools"] = fields["tools"]
    _think(fields, native)
    sent = cast("str", native.get("model", ""))
    style = ChatCompletionStyle(sent, str(native["messages"]), include_usage=_wants_usage(fields))
    await chat_with(server, exchange, native, style, started_ns=started_ns)


async def completions(server: ServerState, exchange: Exchange) -> None:
    """POST /v1/completions."""
    started_ns = time.perf_counter_ns()
    fields = bind_openai(exchange, "CompletionRequest", _COMPLETION)
    native = _shared(fields)
    sent = cast("str", native.get("model", ""))
    prompt = cast("str", fields.get("prompt", ""))
    stream = cast("bool", native["stream"])
    fault = server.announce(exchange, sent, prompt, stream=stream, keep_alive_s=None)
    if fault is not None and await strike_on_arrival(server, exchange, fault, sent):
        return
    model = server.catalog.require(sent)
    if "completion" not in model.spec.capabilities:
        raise Refusal(400, f'"{sent}" does not support generate')
    style = CompletionStyle(sent, prompt, include_usage=_wants_usage(fields))
    request = text_request(
        native,
        model,
        style,
        options_of(native, server, model),
        prompt=prompt,
        prompt_tokens=prompt_size(count_tokens(prompt)),
        started_ns=started_ns,
        only_load=not prompt,
    )
    await answer_text_request(server, exchange, request, fault)


def bind_openai(exchange: Exchange, name: str, fields: dict[str, Reader]) -> Fields:
    """Bind the body of a /v1 route; a misfit is refused by the layer itself."""
    try:
        return bind(exchange.body, name, fields)
    except Refusal as refusal:
        text = refusal.message.replace("type api.", "type openai.")
        raise BindingRefusal(refusal.status, text) from None


def _shared(fields: Fields) -> Fields:
    """The native fields of what both routes read."""
    options: dict[str, object] = {}
    if "max_tokens" in fields:
        options["num_predict"] = fields["max_tokens"]
    if "seed" in fields:
        options["seed"] = fields["seed"]
    stop = fields.get("stop")
    if stop is not None:
        options["stop"] = [stop] if isinstance(stop, str) else stop
    return {
        "model": fields.get("model", ""),
        "stream": fields.get("stream", False),
        "options": options,
    }


def _message(message: Mapping[str, object]) -> dict[str, str]:
    """A native message; the texts of several parts are joined."""
    content = message.get("content")
    parts = as_list(content)
    if parts is not None:
        texts = [(as_object(part) or {}).get("text") for part in parts]
        content = "".join(text for text in texts if isinstance(text, str))
    if content is None:
        if "tool_calls" not in message:
            raise BindingRefusal(400, "invalid message content type: <nil>")
        content = ""
    if not isinstance(content, str):
        raise BindingRefusal(400, "invalid message format")
    return {"role": str(message.get("role", "")), "content": content}


def _think(fields: Fields, native: Fields) -> None:
    """Translate the effort of reasoning."""
    reasoning = cast("Mapping[str, object]", fields.get("reasoning", {}))
    effort = fields.get("reasoning_effort") or reasoning.get("effort")
    if effort is None:
        return
    if effort not in _EFFORTS:
        raise BindingRefusal(
            400,
            f'invalid reasoning value: "{effort}" (must be "minimal", "low", "medium", "high", '
            '"xhigh", "ultra", "max", or "none")',
        )
    native["think"] = _EFFORTS[str(effort)]


def _wants_usage(fields: Fields) -> bool:
    options = cast("Mapping[str, object]", fields.get("stream_options", {}))
    return options.get("include_usage") is True

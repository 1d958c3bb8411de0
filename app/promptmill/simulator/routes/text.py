"""The routes /api/generate and /api/chat: reading the request and refusing what is wrong.

The order of the checks is the server's: it decides which of two errors a client sees.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import cast

from promptmill.simulator.engine.answers import Wanted
from promptmill.simulator.engine.catalog import StoredModel
from promptmill.simulator.engine.speech import TextRequest, answer_text_request, prompt_size
from promptmill.simulator.engine.state import ServerState
from promptmill.simulator.engine.text import chat_prompt, count_tokens, rendered_prompt
from promptmill.simulator.faults.refusals import Refusal
from promptmill.simulator.faults.strikes import strike_on_arrival
from promptmill.simulator.protocol import binding
from promptmill.simulator.protocol.binding import Fields, Reader, bind, list_of, struct
from promptmill.simulator.protocol.gojson import timestamp
from promptmill.simulator.protocol.names import parse_name
from promptmill.simulator.protocol.narrow import as_object
from promptmill.simulator.protocol.options import Options, read_options
from promptmill.simulator.protocol.styles import ChatStyle, GenerateStyle, Style
from promptmill.simulator.protocol.wire import JSON, Exchange
from promptmill.simulator.settings import COMPLETION

_IMAGES = list_of(binding.image, "[]api.ImageData")

SHARED_FIELDS: dict[str, Reader] = {
    "model": binding.text,
    "stream": binding.boolean,
    "format": binding.anything,
    "keep_alive": binding.duration,
    "options": binding.mapping,
    "think": binding.think,
    "truncate": binding.boolean,
    "shift": binding.boolean,
    "logprobs": binding.boolean,
    "top_logprobs": binding.integer,
    "_debug_render_only": binding.boolean,
}

GENERATE_FIELDS: dict[str, Reader] = {
    **SHARED_FIELDS,
    "prompt": binding.text,
    "suffix": binding.text,
    "system": binding.text,
    "template": binding.text,
    "context": list_of(binding.integer, "[]int"),
    "raw": binding.boolean,
    "images": _IMAGES,
}

CHAT_FIELDS: dict[str, Reader] = {
    **SHARED_FIELDS,
    "messages": list_of(
        struct(
            {
                "role": binding.text,
                "content": binding.text,
                "thinking": binding.text,
                "images": _IMAGES,
                "tool_calls": binding.anything,
                "tool_name": binding.text,
                "tool_call_id": binding.text,
            },
            "api.Message",
        ),
        "[]api.Message",
    ),
    "tools": list_of(binding.mapping, "api.Tools"),
}

_MOST_LOGPROBS = 20


async def generate(server: ServerState, exchange: Exchange) -> None:
    """POST /api/generate."""
    started_ns = time.perf_counter_ns()
    fields = bind(exchange.body, "GenerateRequest", GENERATE_FIELDS)
    sent = cast("str", fields.get("model", ""))
    prompt = cast("str", fields.get("prompt", ""))
    stream = cast("bool", fields.get("stream", True))
    keep_alive_s = cast("float | None", fields.get("keep_alive"))
    fault = server.announce(exchange, sent, prompt, stream=stream, keep_alive_s=keep_alive_s)
    if fault is not None and await strike_on_arrival(server, exchange, fault, sent):
        return
    _check_logprobs(fields)
    model = server.catalog.require(sent)
    style = GenerateStyle(sent)
    if not prompt and keep_alive_s == 0:
        server.scheduler.unload(model.key)
        await exchange.answer(200, JSON, style.without_text(timestamp(), "unload"))
        return
    _check_generate(fields, sent, model)
    raw = bool(fields.get("raw"))
    system = cast("str", fields.get("system", ""))
    tokens = count_tokens(prompt) + (count_tokens(system) + 1 if system else 0)
    request = text_request(
        fields,
        model,
        style,
        options_of(fields, server, model),
        prompt=rendered_prompt(prompt, system),
        prompt_tokens=prompt_size(tokens, raw=raw),
        started_ns=started_ns,
        has_context=not raw,
        only_load=not prompt,
    )
    await answer_text_request(server, exchange, request, fault)


async def chat(server: ServerState, exchange: Exchange) -> None:
    """POST /api/chat."""
    started_ns = time.perf_counter_ns()
    fields = bind(exchange.body, "ChatRequest", CHAT_FIELDS)
    sent = cast("str", fields.get("model", ""))
    style = ChatStyle(sent)
    messages = cast("list[Mapping[str, str]]", fields.get("messages", []))
    stream = cast("bool", fields.get("stream", True))
    keep_alive_s = cast("float | None", fields.get("keep_alive"))
    prompt = chat_prompt(message.get("content", "") for message in messages)
    fault = server.announce(exchange, sent, prompt, stream=stream, keep_alive_s=keep_alive_s)
    if fault is not None and await strike_on_arrival(server, exchange, fault, sent):
        return
    _check_logprobs(fields)
    if parse_name(sent) is None:
        raise Refusal(400, "model is required")
    model = server.catalog.require(sent)
    if not messages and keep_alive_s == 0:
        server.scheduler.unload(model.key)
        await exchange.answer(200, JSON, style.without_text(timestamp(), "unload"))
        return
    _check_chat(fields, sent, model)
    request = text_request(
        fields,
        model,
        style,
        options_of(fields, server, model),
        prompt=prompt,
        prompt_tokens=prompt_size(count_tokens(prompt) + max(0, len(messages) - 1)),
        started_ns=started_ns,
        only_load=not messages,
    )
    await answer_text_request(server, exchange, request, fault)


def text_request(
    fields: Fields,
    model: StoredModel,
    style: Style,
    options: Options,
    *,
    prompt: str,
    prompt_tokens: int,
    started_ns: int,
    has_context: bool = False,
    only_load: bool = False,
) -> TextRequest:
    """A request for text out of the fields that generate and chat share."""
    wanted_format = fields.get("format")
    usable = "json" if wanted_format == "json" else as_object(wanted_format)
    thinks = "thinking" in model.spec.capabilities
    return TextRequest(
        model=model,
        style=style,
        prompt=prompt,
        prompt_tokens=prompt_tokens,
        started_ns=started_ns,
        wanted=Wanted(
            options=options,
            format=usable,
            # A model that can think does so unless it is told not to.
            think=thinks and fields.get("think", True) is not False,
            tools=cast("list[object]", fields.get("tools", [])),
        ),
        stream=cast("bool", fields.get("stream", True)),
        keep_alive_s=cast("float | None", fields.get("keep_alive")),
        bad_format=None if usable is not None or wanted_format == "" else wanted_format,
        template=cast("str", fields.get("template", "")),
        truncate=cast("bool", fields.get("truncate", True)),
        shift=cast("bool", fields.get("shift", True)),
        has_context=has_context,
        top_logprobs=(
            cast("int", fields.get("top_logprobs", 0)) if fields.get("logprobs") else None
        ),
        only_load=only_load,
    )


def options_of(fields: Fields, server: ServerState, model: StoredModel) -> Options:
    """The options of a request, checked."""
    return read_options(
        cast("Mapping[str, object]", fields.get("options", {})),
        default_context=server.settings.context_length,
        trained_context=model.spec.context_length,
    )


def _check_logprobs(fields: Fields) -> None:
    top = fields.get("top_logprobs")
    if top is not None and not 0 <= cast("int", top) <= _MOST_LOGPROBS:
        raise Refusal(400, "top_logprobs must be between 0 and 20")


def _check_generate(fields: Fields, sent: str, model: StoredModel) -> None:
    """Rows 14 to 17 of the checks."""
    able = model.spec.capabilities
    if fields.get("raw") and any(fields.get(name) for name in ("template", "system", "context")):
        raise Refusal(400, "raw mode does not support template, system, or context")
    _check_think(fields, sent, model)
    if COMPLETION not in able:
        raise Refusal(400, f'"{sent}" does not support generate')
    if fields.get("suffix") and "insert" not in able:
        raise Refusal(400, f"{model.name.full} does not support insert")


def _check_chat(fields: Fields, sent: str, model: StoredModel) -> None:
    able = model.spec.capabilities
    if COMPLETION not in able:
        raise Refusal(400, f'"{sent}" does not support chat')
    _check_think(fields, sent, model)
    if fields.get("tools") and "tools" not in able:
        raise Refusal(400, f"{model.name.full} does not support tools")


def _check_think(fields: Fields, sent: str, model: StoredModel) -> None:
    if fields.get("think") and "thinking" not in model.spec.capabilities:
        raise Refusal(400, f'"{sent}" does not support thinking')

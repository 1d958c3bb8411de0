"""Translation of bodies of `/v1/chat/completions` to requests of Ollama's `/api/chat`."""

from __future__ import annotations

import re
from typing import Any, Final

from promptmill.services.openai.translation.faults import (
    Fault,
    invalid_choice,
    invalid_value,
    unsupported_value,
)
from promptmill.services.openai.translation.fields import Fields, SchemaCheck
from promptmill.services.openai.translation.messages import last_said, messages
from promptmill.services.openai.translation.sampling import (
    HARMLESS,
    extensions,
    hints,
    one_answer,
    sampling,
)

_EFFORTS: Final[dict[str, bool | str]] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MOST_LOGPROBS: Final = 20
_FIELDS: Final = (
    "messages",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "response_format",
    "tools",
    "tool_choice",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "options",
    "keep_alive",
)


def chat(body: Fields, *, usable_schema: SchemaCheck) -> tuple[str, dict[str, Any]]:
    """Translate a chat to its text and Ollama's fields; worthless if a fault was added."""
    found = messages(body)
    taken: dict[str, Any] = {"messages": found}
    taken |= sampling(body, "max_completion_tokens", "max_tokens")
    taken |= extensions(body)
    taken |= _thinking(body, taken)
    taken |= _format(body, usable_schema)
    taken |= _tools(body)
    taken |= _logprobs(body)
    one_answer(body)
    body.only("modalities", ["text"], why="Ollama answers with text only.")
    body.only("verbosity", "medium", why="say in the messages how long the answer is to be.")
    body.refuse("audio", "Ollama answers with text only.")
    body.refuse("web_search_options", "Nothing is looked up in the web.")
    body.refuse("moderation", "Nothing is moderated.")
    body.refuse("functions", "Send 'tools'.")
    body.refuse("function_call", "Send 'tool_choice'.")
    body.ignore(HARMLESS)
    body.finish(_FIELDS, hints())
    return last_said(found), taken


def _thinking(body: Fields, taken: dict[str, Any]) -> dict[str, Any]:
    effort = body.take("reasoning_effort")
    place = body.param("reasoning_effort")
    reasoning = body.object("reasoning")
    if reasoning is not None:
        inside = Fields(reasoning, body.faults, place=body.param("reasoning"))
        own = inside.take("effort")
        for name in ("summary", "generate_summary"):
            inside.refuse(name, "Ollama makes no summaries of its reasoning.")
        inside.finish(("effort",))
        if effort is None:
            effort, place = own, inside.param("effort")
        elif own is not None and own != effort:
            why = "it differs from 'reasoning_effort'; give one of the two."
            body.faults.append(unsupported_value(inside.param("effort"), why))
    if effort is None:
        return {}
    if not isinstance(effort, str) or effort not in _EFFORTS:
        body.faults.append(invalid_choice(place, effort, _EFFORTS))
        return {}
    if "think" in taken:
        body.faults.append(unsupported_value(body.param("think"), f"'{place}' says it already."))
    return {"think": _EFFORTS[effort]}


def _format(body: Fields, usable_schema: SchemaCheck) -> dict[str, Any]:
    wanted = body.object("response_format")
    if wanted is None:
        return {}
    inside = Fields(wanted, body.faults, place=body.param("response_format"))
    kind = inside.require("type")
    if kind == "text":
        inside.finish(("type",))
        return {}
    if kind == "json_object":
        inside.finish(("type",))
        return {"format": "json"}
    if kind != "json_schema":
        if kind is not None:
            kinds = ("text", "json_object", "json_schema")
            body.faults.append(invalid_choice(inside.param("type"), kind, kinds))
        return {}
    return _schema(inside, usable_schema)


def _schema(inside: Fields, usable_schema: SchemaCheck) -> dict[str, Any]:
    holder = inside.require("json_schema")
    within = None if holder is None else inside.inside(holder, inside.param("json_schema"))
    inside.finish(("type", "json_schema"))
    if within is None:
        return {}
    # Every answer is checked against the schema, so `strict` changes nothing.
    within.ignore({"name", "description", "strict"})
    schema = within.object("schema")
    within.finish(("name", "description", "strict", "schema"))
    if schema is None:
        return {"format": "json"}
    if (fault := usable_schema(schema)) is not None:
        place = within.param("schema")
        inside.faults.append(
            Fault(f"Invalid schema for '{place}': {fault}", place, "invalid_json_schema")
        )
    return {"format": schema}


def _tools(body: Fields) -> dict[str, Any]:
    tools: list[dict[str, Any]] = []
    # An empty list offers no tools, and is valid.
    for index, value in enumerate(() if body.take("tools") == [] else body.items("tools") or ()):
        tool = body.inside(value, body.param(f"tools[{index}]"))
        if tool is not None and (one := _tool(tool)) is not None:
            tools.append(one)
    choice = body.take("tool_choice")
    place = body.param("tool_choice")
    if isinstance(choice, dict) or choice == "required":
        why = "whether a model calls a tool is up to the model here; send 'auto' or 'none'."
        body.faults.append(unsupported_value(place, why))
    elif choice not in (None, "auto", "none"):
        choices = ("none", "auto", "required")
        body.faults.append(invalid_choice(place, choice, choices))
    body.only(
        "parallel_tool_calls", True, why="how many tools a model calls is up to the model here."
    )
    return {"tools": tools} if tools and choice != "none" else {}


def _tool(tool: Fields) -> dict[str, Any] | None:
    kind = tool.require("type")
    if kind is None:
        return None
    if kind != "function":
        why = "only tools of the type 'function' are offered to a model."
        tool.faults.append(unsupported_value(tool.param("type"), why))
        return None
    value = tool.require("function")
    function = None if value is None else tool.inside(value, tool.param("function"))
    tool.finish(("type", "function"))
    if function is None:
        return None
    name = function.text("name", required=True)
    if name is not None and not _NAME.fullmatch(name):
        why = "It may have 1 to 64 letters, digits, underscores and dashes."
        function.faults.append(invalid_value(function.param("name"), name, why))
    offered: dict[str, Any] = {"name": name}
    description = function.text("description")
    if description is not None:
        offered["description"] = description
    # Ollama's templates expect this form for a function without parameters.
    offered["parameters"] = function.object("parameters") or {"type": "object", "properties": {}}
    function.flag("strict")
    function.finish(("name", "description", "parameters", "strict"))
    return {"type": "function", "function": offered}


def _logprobs(body: Fields) -> dict[str, Any]:
    wanted = body.flag("logprobs")
    top = body.integer("top_logprobs", least=0, most=_MOST_LOGPROBS)
    if top is not None and not wanted:
        why = "it needs 'logprobs': true."
        body.faults.append(unsupported_value(body.param("top_logprobs"), why))
    if not wanted:
        return {}
    return {"logprobs": True} if top is None else {"logprobs": True, "top_logprobs": top}

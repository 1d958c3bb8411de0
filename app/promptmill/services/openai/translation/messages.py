"""Translation of a chat's messages: OpenAI's roles, content parts and tool calls to Ollama's."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final, cast

from pydantic_core import from_json

from promptmill.services.openai.translation.faults import (
    Fault,
    invalid_choice,
    invalid_type,
    invalid_value,
    unsupported_value,
)
from promptmill.services.openai.translation.fields import Fields

_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_IMAGES: Final = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\x00", b"MM\x00*")
"""First bytes of image files; `RIFF` is WebP."""
_AUDIO: Final = ("wav", "mp3")
_HEAD: Final = 64
"""Characters of base64 that are decoded to recognise a file."""


def messages(body: Fields) -> list[dict[str, Any]]:
    """Translate to Ollama's `messages`; worthless if a fault was added."""
    found: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    given = body.items("messages", required=True)
    for index, value in enumerate(given or ()):
        place = f"messages[{index}]"
        one = body.inside(value, place)
        message = None if one is None else _message(one, names)
        if message is not None:
            found.append(message)
    if given and not body.faults and not any(map(_says_something, found)):
        body.faults.append(
            Fault("Invalid 'messages': none of them says anything.", "messages", "empty_string")
        )
    return found


def last_said(found: list[dict[str, Any]]) -> str:
    """Text that represents the chat in lists: the last user message."""
    said = [one for one in found if one["role"] == "user"] or found
    return str(said[-1]["content"]) if said else ""


def _says_something(message: dict[str, Any]) -> bool:
    return bool(message["content"].strip() or message.get("images") or message.get("tool_calls"))


def _message(one: Fields, names: dict[str, str]) -> dict[str, Any] | None:
    """Translate a message; `names` maps the ids of earlier tool calls to their functions."""
    role = one.require("role")
    if role == "function":
        why = "send the role 'tool' with a 'tool_call_id'."
        one.faults.append(unsupported_value(one.param("role"), why))
        return None
    if role is None:
        return None
    if not isinstance(role, str) or role not in _ROLES:
        one.faults.append(invalid_choice(one.param("role"), role, _ROLES))
        return None
    one.refuse("name", "Ollama's messages have no name; put it into the text.")
    one.refuse("audio", "Ollama answers with text only.")
    one.refuse("function_call", "Send 'tool_calls'.")
    message: dict[str, Any] = {"role": _ROLES[role], "content": ""}
    texts, images = _content(one)
    if role == "assistant":
        message |= _of_assistant(one, texts, names)
    if role == "tool":
        message |= _of_tool(one, names)
    message["content"] = "\n".join(texts)
    if images:
        message["images"] = images
    one.finish(("content", "tool_calls", "tool_call_id"))
    return message


def _of_assistant(one: Fields, texts: list[str], names: dict[str, str]) -> dict[str, Any]:
    refusal = one.text("refusal")
    texts += [refusal] if refusal else []
    found: dict[str, Any] = {}
    if thinking := one.text("reasoning"):
        found["thinking"] = thinking
    if calls := _tool_calls(one, names):
        found["tool_calls"] = calls
    one.ignore({"annotations"})
    return found


def _of_tool(one: Fields, names: dict[str, str]) -> dict[str, Any]:
    call_id = one.text("tool_call_id", required=True)
    if call_id is None:
        return {}
    if call_id not in names:
        why = "No call of a tool before it has this id."
        one.faults.append(invalid_value(one.param("tool_call_id"), call_id, why))
        return {}
    return {"tool_call_id": call_id, "tool_name": names[call_id]}


def _content(one: Fields) -> tuple[list[str], list[str]]:
    """Texts and images of a message's content."""
    value = one.take("content")
    if value is None or isinstance(value, str):
        return ([value] if value else []), []
    place = one.param("content")
    if not isinstance(value, list):
        one.faults.append(invalid_type(place, value, "a string or an array of parts"))
        return [], []
    parts = cast("list[Any]", value)
    if not parts:
        message = f"Invalid '{place}': it must have at least one part."
        one.faults.append(Fault(message, place, "empty_array"))
    texts: list[str] = []
    images: list[str] = []
    for index, part in enumerate(parts):
        inside = one.inside(part, f"{place}[{index}]")
        if inside is not None:
            _part(inside, texts, images)
    return texts, images


def _part(part: Fields, texts: list[str], images: list[str]) -> None:
    kind = part.require("type")
    if kind in ("text", "refusal"):
        text = part.require(kind)
        if isinstance(text, str):
            texts.append(text)
        elif text is not None:
            part.faults.append(invalid_type(part.param(kind), text, "a string"))
    elif kind == "image_url":
        if (image := _image(part)) is not None:
            images.append(image)
    elif kind == "input_audio":
        if (sound := _sound(part)) is not None:
            images.append(sound)
    elif kind == "file":
        why = "files are not read; put their text or their pages as images into the message."
        part.faults.append(unsupported_value(part.param("type"), why))
        part.ignore({"file"})
    elif kind is not None:
        kinds = ("text", "refusal", "image_url", "input_audio")
        part.faults.append(invalid_choice(part.param("type"), kind, kinds))
        return
    part.finish()


def _image(part: Fields) -> str | None:
    value, place = part.require("image_url"), part.param("image_url")
    if value is None:
        return None
    if isinstance(value, str):
        url: object = value
    else:
        inside = part.inside(value, place)
        if inside is None:
            return None
        url = inside.require("url")
        inside.choice("detail", ("auto", "low", "high", "original"))
        inside.finish(("url",))
        place = inside.param("url")
        if url is None:
            return None
    if not isinstance(url, str) or not url.startswith("data:"):
        why = "images are taken as 'data:image/…;base64,…' only; nothing is fetched."
        part.faults.append(Fault(f"Invalid '{place}': {why}", place, "invalid_image_url"))
        return None
    head, comma, data = url.partition(",")
    known = head.startswith("data:image/") and head.endswith(";base64") and comma
    if not known or not _begins(data, _IMAGES):
        why = "it is no image in base64 ('data:image/png;base64,…')."
        part.faults.append(Fault(f"Invalid '{place}': {why}", place, "invalid_image_format"))
        return None
    return data


def _sound(part: Fields) -> str | None:
    place = part.param("input_audio")
    value = part.require("input_audio")
    inside = None if value is None else part.inside(value, place)
    if inside is None:
        return None
    data = inside.text("data", required=True)
    kind = inside.require("format")
    if kind is not None and kind not in _AUDIO:
        part.faults.append(invalid_choice(inside.param("format"), kind, _AUDIO))
    inside.finish()
    if data is not None and not _begins(data, (b"",)):
        part.faults.append(invalid_value(inside.param("data"), data, "It is no base64."))
        return None
    return data


def _begins(data: str, beginnings: tuple[bytes, ...]) -> bool:
    """Whether the text is base64 of a file with one of these beginnings."""
    try:
        # The whole text is checked, but only its beginning is used.
        head = base64.b64decode(data, validate=True)[:_HEAD]
    except (ValueError, binascii.Error):
        return False
    return bool(head) and head.startswith(beginnings)


def _tool_calls(one: Fields, names: dict[str, str]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for index, value in enumerate(
        () if one.take("tool_calls") == [] else one.items("tool_calls") or ()
    ):
        call = one.inside(value, one.param(f"tool_calls[{index}]"))
        if call is None:
            continue
        kind = call.take("type")
        if kind not in (None, "function"):
            why = "only calls of functions are taken."
            one.faults.append(unsupported_value(call.param("type"), why))
            call.ignore({"custom"})
        call_id = call.text("id", required=True)
        function = call.require("function")
        inside = None if function is None else call.inside(function, call.param("function"))
        call.ignore({"index"})
        call.finish()
        if inside is None:
            continue
        name = inside.text("name", required=True)
        arguments = _arguments(inside)
        inside.finish()
        if name is not None and call_id is not None and arguments is not None:
            names[call_id] = name
            calls.append({"id": call_id, "function": {"name": name, "arguments": arguments}})
    return calls


def _arguments(function: Fields) -> dict[str, Any] | None:
    text = function.take("arguments")
    if text is None or text == "":
        return {}
    try:
        value = from_json(text) if isinstance(text, str) else None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        why = "It has to be the text of a JSON object."
        function.faults.append(invalid_value(function.param("arguments"), text, why))
        return None
    return cast("dict[str, Any]", value)

"""From the body of a request to a prompt of the queue: pure, for batches and online calls alike.

The rule to know: each field is mapped, listed as harmless, or refused by name; `null` is the same
as absent. Nothing else passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple, cast

from promptmill.services.openai.translation.chat import chat
from promptmill.services.openai.translation.completions import completion
from promptmill.services.openai.translation.embeddings import embedding
from promptmill.services.openai.translation.faults import Fault, Refused
from promptmill.services.openai.translation.fields import Fields, SchemaCheck

PARAMETERS: Final[Mapping[str, Any]] = {"truncate": False}
"""What is sent with each prompt that says nothing else: a prompt that is too long is an error."""
MOST_DEPTH: Final = 100
"""Levels of nesting; a database refuses JSON that is much deeper."""


class Endpoint(StrEnum):
    """What a request can be sent to."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    EMBEDDINGS = "/v1/embeddings"


class Translated(NamedTuple):
    """A request in Ollama's terms."""

    model: str
    text: str
    """The prompt; of a chat, what the user said last."""
    fields: dict[str, Any]
    """The fields of Ollama's request beside the model and a plain prompt."""
    mark: Mapping[str, Any]
    """What the answer has to be written with, beside what Ollama says."""


def translate(
    endpoint: Endpoint, members: Mapping[str, Any], *, usable_schema: SchemaCheck
) -> Translated:
    """The request in Ollama's terms.

    Raises:
        Refused: Something in it is wrong, or cannot be honoured.
    """
    faults: list[Fault] = []
    if (fault := unstorable(members)) is not None:
        raise Refused([fault])
    body = Fields(members, faults)
    model = body.text("model", required=True)
    mark: dict[str, Any] = {}
    if endpoint is not Endpoint.EMBEDDINGS:
        body.flag("stream")
    if endpoint is Endpoint.CHAT:
        text, fields = chat(body, usable_schema=usable_schema)
    elif endpoint is Endpoint.COMPLETIONS:
        text, fields = completion(body)
    else:
        text, fields, mark = embedding(body)
    if faults or model is None:
        raise Refused(faults)
    return Translated(model, text, fields, mark)


def unstorable(value: object) -> Fault | None:
    """What no database can store, wherever it is inside: NUL, half a surrogate pair, infinity."""
    waiting: list[tuple[object, str, int]] = [(value, "", 0)]
    while waiting:
        one, place, depth = waiting.pop()
        if isinstance(one, str):
            if (why := text_fault(one)) is not None:
                return Fault(f"Invalid '{place}': it {why}.", place or None, "invalid_value")
        elif isinstance(one, dict):
            members = cast("dict[str, object]", one)
            for name, member in members.items():
                if text_fault(name) is not None:
                    why = "a name in it has a NUL character or half of a surrogate pair."
                    return Fault(f"Invalid '{place}': {why}", place or None, "invalid_value")
                waiting.append((member, f"{place}.{name}" if place else name, depth + 1))
        elif isinstance(one, list):
            items = cast("list[object]", one)
            waiting.extend((item, f"{place}[{at}]", depth + 1) for at, item in enumerate(items))
        elif isinstance(one, float) and abs(one) == float("inf"):
            return Fault(f"Invalid '{place}': the number is too large.", place, "invalid_value")
        if depth > MOST_DEPTH:
            why = f"it is nested deeper than {MOST_DEPTH} levels."
            return Fault(f"Invalid body: {why}", None, "invalid_value")
    return None


def text_fault(text: str) -> str | None:
    """What is wrong with a text, as the sentence to tell; None for a good one."""
    if "\x00" in text:
        return "must not contain NUL characters (\\u0000)"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "must not contain half of a surrogate pair (such as \\ud83d alone)"
    return None

"""Translation of a request's body to a prompt of the queue; pure, for batches and online calls.

Each field is mapped, listed as harmless, or refused by name; `null` counts as absent. Nothing else
passes.
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
"""Fields of every prompt unless it has its own: a prompt that is too long is an error."""
MOST_DEPTH: Final = 100
"""Most levels of nesting; a database refuses JSON that is much deeper."""


class Endpoint(StrEnum):
    """Endpoints that take requests."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    EMBEDDINGS = "/v1/embeddings"


class Translated(NamedTuple):
    """Request in Ollama's terms."""

    model: str
    text: str
    """Text of the prompt; of a chat, the last user message."""
    fields: dict[str, Any]
    """Fields of Ollama's request beside the model and a plain prompt."""
    mark: Mapping[str, Any]
    """Data that the response needs beside Ollama's answer."""


def translate(
    endpoint: Endpoint, members: Mapping[str, Any], *, usable_schema: SchemaCheck
) -> Translated:
    """Translate a request to Ollama's terms.

    Raises:
        Refused: A field is wrong, or not supported.
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
    """Fault of a value that no database can store: NUL, half a surrogate pair, infinity."""
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
    """Sentence for the fault of a text; None without a fault."""
    if "\x00" in text:
        return "must not contain NUL characters (\\u0000)"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "must not contain half of a surrogate pair (such as \\ud83d alone)"
    return None

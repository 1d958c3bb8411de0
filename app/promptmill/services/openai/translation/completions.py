"""Translation of bodies of `/v1/completions` to requests of Ollama's `/api/generate`."""

from __future__ import annotations

from typing import Any, Final, cast

from promptmill.services.openai.translation.faults import Fault, invalid_type, unsupported_value
from promptmill.services.openai.translation.fields import Fields
from promptmill.services.openai.translation.sampling import (
    HARMLESS,
    extensions,
    hints,
    one_answer,
    sampling,
)

_MOST_LOGPROBS: Final = 5
_FIELDS: Final = (
    "prompt",
    "suffix",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "logprobs",
    "options",
    "keep_alive",
    "raw",
)


def completion(body: Fields) -> tuple[str, dict[str, Any]]:
    """Translate a completion to its prompt and Ollama's fields; worthless if a fault was added."""
    text = _prompt(body)
    taken = sampling(body, "max_tokens")
    taken |= extensions(body)
    suffix = body.text("suffix")
    if suffix is not None:
        taken["suffix"] = suffix
    raw = body.flag("raw")
    if raw is not None:
        taken["raw"] = raw
    top = body.integer("logprobs", least=0, most=_MOST_LOGPROBS)
    if top is not None:
        taken |= {"logprobs": True, "top_logprobs": top}
    one_answer(body)
    body.only("echo", False, why="the prompt is not given back.")
    body.only("best_of", 1, why="there is one answer to a request.")
    body.ignore(HARMLESS)
    body.finish(_FIELDS, hints())
    return text, taken


def _prompt(body: Fields) -> str:
    value = body.require("prompt")
    place = body.param("prompt")
    if isinstance(value, list):
        texts = cast("list[Any]", value)
        if len(texts) == 1 and isinstance(texts[0], str):
            value = texts[0]
        elif not texts:
            message = f"Invalid '{place}': it must not be empty."
            body.faults.append(Fault(message, place, "empty_array"))
            return ""
        else:
            why = "it has to be one text; send a request for each, and texts in place of tokens."
            body.faults.append(unsupported_value(place, why))
            return ""
    if value is None:
        return ""
    if not isinstance(value, str):
        body.faults.append(invalid_type(place, value, "a string"))
        return ""
    if not value:
        message = f"Invalid '{place}': it must not be empty."
        body.faults.append(Fault(message, place, "empty_string"))
    return value

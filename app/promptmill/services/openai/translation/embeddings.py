"""Translation of bodies of `/v1/embeddings` to requests of Ollama's `/api/embed`."""

from __future__ import annotations

from typing import Any, Final, cast

from promptmill.domain.batches import TEXTS
from promptmill.services.openai.translation.faults import (
    Fault,
    invalid_type,
    too_many_items,
    unsupported_value,
)
from promptmill.services.openai.translation.fields import Fields
from promptmill.services.openai.translation.sampling import hints, keep_alive, options

MOST_TEXTS: Final = 2048
_MOST_DIMENSIONS: Final = 65_536
_FIELDS: Final = ("input", "dimensions", "encoding_format", "options", "keep_alive", "truncate")
_TOKENS: Final = (
    "it has to be a text or an array of texts, because Ollama takes no tokens; LangChain sends"
    " texts with check_embedding_ctx_length=False."
)


def embedding(body: Fields) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Translate to the first text, Ollama's fields, and what the response needs beside the answer.

    Worthless if a fault was added.
    """
    texts = _texts(body)
    fields = options(body) | keep_alive(body)
    fields["dimensions"] = body.integer("dimensions", least=1, most=_MOST_DIMENSIONS)
    fields["truncate"] = body.flag("truncate")
    if len(texts) > 1:
        fields[TEXTS] = texts
    wanted = body.choice("encoding_format", ("float", "base64"))
    body.ignore({"user"})
    body.finish(_FIELDS, hints())
    mark = {"texts": len(texts), "base64": wanted == "base64"}
    return texts[0] if texts else "", _given(fields), mark


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _texts(body: Fields) -> list[str]:
    value = body.require("input")
    place = body.param("input")
    if value is None:
        return []
    texts = cast("list[Any]", value) if isinstance(value, list) else [value]
    if not texts:
        body.faults.append(Fault(f"Invalid '{place}': it must not be empty.", place, "empty_array"))
    if len(texts) > MOST_TEXTS:
        body.faults.append(too_many_items(place, len(texts), MOST_TEXTS))
    for index, text in enumerate(texts):
        where = f"{place}[{index}]" if isinstance(value, list) else place
        if isinstance(text, int | list):
            body.faults.append(unsupported_value(place, _TOKENS))
        elif not isinstance(text, str):
            body.faults.append(invalid_type(where, text, "a string"))
        elif not text:
            fault = Fault(f"Invalid '{where}': it must not be empty.", where, "empty_string")
            body.faults.append(fault)
        else:
            continue
        return []
    return texts

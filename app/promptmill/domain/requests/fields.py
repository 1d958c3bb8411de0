"""Names of the fields and options of Ollama's `/api/generate`, which ignores other names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, cast

from promptmill.domain.scheduling.load_groups import LOAD_OPTIONS

GENERATE_FIELDS: Final = frozenset(
    {
        "context",
        "format",
        "images",
        "keep_alive",
        "logprobs",
        "options",
        "raw",
        "shift",
        "suffix",
        "system",
        "template",
        "think",
        "top_logprobs",
        "truncate",
    }
)
"""Fields of a request beside `model`, `prompt` and `stream`."""
OPTIONS: Final = frozenset(
    {
        *LOAD_OPTIONS,
        *("num_keep", "seed", "num_predict", "top_k", "top_p", "min_p", "typical_p"),
        *("repeat_last_n", "temperature", "repeat_penalty", "presence_penalty"),
        *("frequency_penalty", "stop"),
        # Options of older versions; newer versions log that they ignore them.
        *("mirostat", "mirostat_eta", "mirostat_tau", "tfs_z", "penalize_newline", "numa"),
        *("low_vram", "vocab_only", "f16_kv", "logits_all", "use_mlock", "embedding_only"),
        *("num_gqa", "rope_frequency_base", "rope_frequency_scale"),
    }
)
"""Names of model options."""
_OTHER_NAMES: Final = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}
"""Names of other APIs, with Ollama's names for the same."""


def check_generate_fields(fields: Mapping[str, Any]) -> None:
    """Refuse fields that Ollama would ignore, so that no answer lacks what was asked for.

    Raises:
        TypeError: Ollama has no such field or option, or `options` is not a mapping.
    """
    for name, value in fields.items():
        if name == "stream" and not value:
            continue
        if name not in GENERATE_FIELDS:
            raise TypeError(_no_field(name, value))
    options: object = fields.get("options")
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise TypeError(f"options must be a mapping of names, not {type(options).__name__}")
    for name in cast("Mapping[object, Any]", options):
        if name not in OPTIONS:
            raise TypeError(_no_option(str(name)))


def _no_field(name: str, value: object) -> str:
    if name == "stream":
        return (
            "stream must be left out: answers are returned whole; model options go into options={…}"
        )
    option = _OTHER_NAMES.get(name, name)
    if option in OPTIONS:
        shown = repr(value) if isinstance(value, int | float | bool) else "…"
        return f"{name} is a model option, not a field; write options={{{option!r}: {shown}}}"
    close = difflib.get_close_matches(name, GENERATE_FIELDS, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    return f"{name} is not a field of Ollama's request{guess}; model options go into options={{…}}"


def _no_option(name: str) -> str:
    close = difflib.get_close_matches(name, OPTIONS, n=1)
    option = _OTHER_NAMES.get(name) or (close[0] if close else None)
    guess = f"; did you mean {option!r}?" if option else ""
    return f"options={{{name!r}: …}} is not an option of Ollama{guess}"

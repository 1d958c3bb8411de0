"""Fields common to chats and completions: sampling, and Promptmill's extensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from promptmill.services.openai.translation.faults import (
    Fault,
    invalid_type,
    invalid_value,
    too_many_items,
    unsupported_value,
)
from promptmill.services.openai.translation.fields import Fields

HARMLESS: Final = frozenset(
    {
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "service_tier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "prediction",
        "stream_options",
    }
)
"""Fields that do not change an answer, and are accepted without effect."""
OLLAMA_OPTIONS: Final = frozenset(
    {"num_ctx", "num_predict", "num_keep", "num_gpu", "top_k", "min_p", "typical_p", "mirostat"}
    | {"mirostat_eta", "mirostat_tau", "repeat_last_n", "repeat_penalty", "tfs_z", "num_thread"}
)
"""Options of Ollama that people send beside OpenAI's fields; the fault names their place."""
_NOTHING: Final[Mapping[str, Any]] = {}
_MOST_TOKENS: Final = 2**31 - 1
_MOST_STOPS: Final = 4
_SEED: Final = 2**63
_BOUNDS: Final = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
}


def hints() -> dict[str, str]:
    """Hints for names that belong into `options`."""
    return {name: f"Send it inside 'options', as {{\"{name}\": …}}." for name in OLLAMA_OPTIONS}


def sampling(body: Fields, *limits: str) -> dict[str, Any]:
    """Translate to Ollama's `options`: OpenAI's names, and the extension `options` beside them.

    `limits` are the names of the most tokens of the answer; all that are given must agree.
    """
    found: dict[str, Any] = {}
    said_by: dict[str, str] = {}
    for name in limits:
        value = body.integer(name, least=1, most=_MOST_TOKENS)
        if value is None:
            continue
        if found.setdefault("num_predict", value) != value:
            why = f"it differs from '{body.param(said_by['num_predict'])}'; give one of the two."
            body.faults.append(unsupported_value(body.param(name), why))
        said_by.setdefault("num_predict", name)
    for name, (least, highest) in _BOUNDS.items():
        found[name] = body.number(name, least=least, most=highest)
    found["seed"] = body.integer("seed", least=-_SEED, most=_SEED - 1)
    found["stop"] = _stop(body)
    said = {name: value for name, value in found.items() if value is not None}
    return options(body, said, said_by)


def options(
    body: Fields, said: Mapping[str, Any] = _NOTHING, said_by: Mapping[str, str] = _NOTHING
) -> dict[str, Any]:
    """Build Ollama's `options` from other fields and from the extension of that name.

    `said_by` names the fields that gave an option under another name.
    """
    found = dict(said)
    for name, value in (body.object("options") or {}).items():
        if name in said:
            why = f"'{said_by.get(name, name)}' says it already; give one of the two."
            body.faults.append(unsupported_value(body.param(f"options.{name}"), why))
        elif value is not None:
            found[name] = value
    return {"options": found} if found else {}


def _stop(body: Fields) -> list[str] | None:
    value = body.take("stop")
    if value is None or value == []:
        return None
    texts = cast("list[Any]", value) if isinstance(value, list) else [value]
    if len(texts) > _MOST_STOPS:
        body.faults.append(too_many_items(body.param("stop"), len(texts), _MOST_STOPS))
        return None
    for text in texts:
        if not isinstance(text, str):
            body.faults.append(invalid_type(body.param("stop"), text, "a string"))
            return None
        if not text:
            message = "Invalid 'stop': it must not be empty."
            body.faults.append(Fault(message, body.param("stop"), "empty_string"))
            return None
    return texts


def extensions(body: Fields) -> dict[str, Any]:
    """Take Promptmill's extensions of OpenAI's fields, under Ollama's names."""
    taken = keep_alive(body)
    for name in ("truncate", "shift"):
        flag = body.flag(name)
        if flag is not None:
            taken[name] = flag
    think = body.take("think")
    if think is not None:
        if not isinstance(think, bool) and think not in ("low", "medium", "high", "max"):
            choices = "Supported values are: true, false, 'low', 'medium', 'high', and 'max'."
            body.faults.append(invalid_value(body.param("think"), think, choices))
        taken["think"] = think
    return taken


def keep_alive(body: Fields) -> dict[str, Any]:
    """Take the time for which the model stays loaded."""
    value = body.take("keep_alive")
    if value is None:
        return {}
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        wanted = "a duration such as '10m', or seconds"
        body.faults.append(invalid_type(body.param("keep_alive"), value, wanted))
    return {"keep_alive": value}


def one_answer(body: Fields) -> None:
    """Refuse requests for several answers, or for token weights that Ollama does not take."""
    body.only("n", 1, why="there is one answer to a request; send the request n times.")
    weights = body.take("logit_bias")
    if weights not in (None, {}):
        message = "Unsupported parameter: 'logit_bias'. Ollama takes no weights of tokens."
        body.faults.append(Fault(message, body.param("logit_bias"), "unsupported_parameter"))

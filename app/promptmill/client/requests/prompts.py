"""Prompts and the key of a submission, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Prompt = str | Mapping[str, Any]
"""A prompt's text, or an object of the contract: `{"prompt": ...}` or `{"messages": [...]}`."""


def check_prompts(prompts: Iterable[Prompt]) -> None:
    """Refuse what is no list of prompts.

    Raises:
        TypeError: It is none.
    """
    if isinstance(prompts, str | Mapping):
        # A text is iterable too: it would become one prompt per letter.
        raise TypeError("prompts must be a list of prompts, not a single one")
    if not isinstance(prompts, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        raise TypeError(f"prompts must be a list of prompts, not {type(prompts).__name__}")


def key_header(idempotency_key: str) -> dict[str, str]:
    """The header of an idempotency key.

    Raises:
        TypeError: It is no text.
        ValueError: It has a character that a header cannot carry.
    """
    if not isinstance(idempotency_key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        raise TypeError(f"idempotency_key must be a text, not {type(idempotency_key).__name__}")
    if not idempotency_key.isascii() or not idempotency_key.isprintable():
        raise ValueError("idempotency_key takes the characters of ASCII")
    return {"idempotency-key": idempotency_key}


def prompt_value(prompt: Prompt, index: int) -> str | dict[str, Any]:
    """A prompt as JSON is made of it.

    Raises:
        TypeError: It is neither a text nor an object, as a gap in a column of a table is none.
    """
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        return dict(prompt)
    raise TypeError(f"prompts[{index}] must be a text or an object, not {type(prompt).__name__}")

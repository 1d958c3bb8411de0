"""Checks of prompts and idempotency keys before a request is sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Prompt = str | Mapping[str, Any]
"""Text of a prompt, or a prompt object: `{"prompt": ...}` or `{"messages": [...]}`."""


def check_prompts(prompts: Iterable[Prompt]) -> None:
    """Check that a value is an iterable of prompts.

    Raises:
        TypeError: The value is a string, or not iterable.
    """
    if isinstance(prompts, str | Mapping):
        # A string is iterable too, and would become one prompt per letter.
        raise TypeError("prompts must be a list of prompts, not a single one")
    if not isinstance(prompts, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        raise TypeError(f"prompts must be a list of prompts, not {type(prompts).__name__}")


def key_header(idempotency_key: str) -> dict[str, str]:
    """Build the header of an idempotency key.

    Raises:
        TypeError: The key is not a string.
        ValueError: The key has a character that a header cannot hold.
    """
    if not isinstance(idempotency_key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        raise TypeError(f"idempotency_key must be a string, not {type(idempotency_key).__name__}")
    if not idempotency_key.isascii() or not idempotency_key.isprintable():
        raise ValueError("idempotency_key must have ASCII characters only")
    return {"idempotency-key": idempotency_key}


def prompt_value(prompt: Prompt, index: int) -> str | dict[str, Any]:
    """Check one prompt for its JSON form.

    Raises:
        TypeError: The prompt is neither a string nor an object; a gap in a table's column is
            neither.
    """
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers err
        return dict(prompt)
    raise TypeError(f"prompts[{index}] must be a string or an object, not {type(prompt).__name__}")

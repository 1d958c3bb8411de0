"""Checks of the arguments of `OllamaManager`, before a request is sent.

Each raises a TypeError or a ValueError that begins with the argument's name.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import cast


def texts_of(field: str, values: Iterable[str]) -> list[str]:
    """Check a list of strings; the TypeError names the entry that is not a string."""
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{field} must be a list of texts; for a single one write [{field[:-1]}]")
    found = cast("object", values)
    kind = type(found).__name__
    if isinstance(found, dict) or not isinstance(found, Iterable):
        raise TypeError(f"{field} must be a list of texts, not {kind}")
    texts = list(values)
    for index, text in enumerate(texts):
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"{field}[{index}] must be a string, not {type(text).__name__}")
    return texts


def check_prompt(prompt: str) -> None:
    """Check that a prompt is a string that is not blank."""
    if not isinstance(prompt, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"prompt must be a string, not {type(prompt).__name__}")
    check_not_empty("prompt", prompt)


def check_not_empty(field: str, text: str) -> None:
    """Check that a text is not blank."""
    if not text.strip():
        raise ValueError(f"{field} must be a string that is not empty; Ollama would answer nothing")


def check_name(field: str, value: str) -> None:
    """Check that a value can be the name of a model."""
    if not isinstance(value, str) or not value.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{field} must be the name of a model, not {value!r}")


def check_count(field: str, value: int) -> None:
    """Check that a value is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{field} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{field} must be at least 1, not {value}")


def seconds_of(field: str, value: float) -> float:
    """Check a number of seconds of at least 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{field} must be a number of seconds, not {value!r}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{field} must be a number of seconds of at least 0, not {value}")
    return seconds

"""Faults of requests of the OpenAI dialect, as clients see them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

MOST_LISTED: Final = 100
"""Most faults that one response lists."""


class Fault(NamedTuple):
    """Fault of a request."""

    message: str
    param: str | None
    """Name of the field, such as `messages[0].content`."""
    code: str | None


class Refused(Exception):  # noqa: N818 - named for what happened to the request
    """A request cannot be accepted as it is; the first fault is the main one."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(faults[0].message)
        self.faults = tuple(faults[:MOST_LISTED])


def missing(param: str) -> Fault:
    """Fault of a missing required field."""
    return Fault(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def unsupported_value(param: str, why: str) -> Fault:
    """Fault of a value of OpenAI's that is not supported here."""
    return Fault(f"Unsupported value for '{param}': {why}", param, "unsupported_value")


def unsupported(param: str, why: str) -> Fault:
    """Fault of a field of OpenAI's that is not supported here."""
    return Fault(f"Unsupported parameter: '{param}'. {why}", param, "unsupported_parameter")


def invalid_value(param: str, shown: object, why: str) -> Fault:
    """Fault of a value that the field cannot have."""
    return Fault(f"Invalid value: '{_short(shown)}'. {why}", param, "invalid_value")


def invalid_choice(param: str, shown: object, choices: Iterable[str]) -> Fault:
    """Fault of a value outside a list of choices."""
    named = [f"'{one}'" for one in choices]
    listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])}, and {named[-1]}"
    return invalid_value(param, shown, f"Supported values are: {listed}.")


def invalid_type(param: str, value: object, wanted: str) -> Fault:
    """Fault of a value of another JSON type."""
    return Fault(
        f"Invalid type for '{param}': expected {wanted}, but got {type_name(value)} instead.",
        param,
        "invalid_type",
    )


def too_many_items(param: str, count: int, most: int) -> Fault:
    """Fault of an array with too many items."""
    message = f"Invalid '{param}': it has {count} items, and at most {most} may."
    return Fault(message, param, "array_above_max_length")


def unknown(name: str, param: str, known: Iterable[str], hint: str = "") -> Fault:
    """Fault of an unknown name, with the nearest known one."""
    near = difflib.get_close_matches(name, list(known), n=1)
    told = hint or (f"Did you mean '{near[0]}'?" if near else "Leave it out.")
    return Fault(
        f"Unknown parameter: '{_short(param)}'. {told}", _short(param), "unknown_parameter"
    )


def type_name(value: object) -> str:
    """Name of a JSON value's type in OpenAI's terms."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    return next((name for kind, name in _TYPES if isinstance(value, kind)), "an object")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


_LONGEST_SHOWN: Final = 64
_TYPES: Final = (
    (str, "a string"),
    (int, "an integer"),
    (float, "a decimal number"),
    (list, "an array"),
)

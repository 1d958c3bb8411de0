"""Reading of an object's members by name; members that are not read are refused.

`null` counts as absent everywhere, and `finish` ensures that no name of a request is dropped
silently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, cast

from promptmill.services.openai.translation.faults import (
    Fault,
    invalid_choice,
    invalid_type,
    missing,
    unknown,
    unsupported,
)

SchemaCheck = Callable[[Mapping[str, Any]], str | None]
"""Function that says why answers cannot be checked against a JSON Schema; None if they can."""


class Fields:
    """Members of one object of a request. Faults are collected, so that a response can list all."""

    def __init__(self, members: Mapping[str, Any], faults: list[Fault], *, place: str = "") -> None:
        """Store the members; `place` precedes names in faults, such as `messages[0]`."""
        self._members = members
        self._left = set(members)
        self._place = place
        self.faults = faults

    def param(self, name: str) -> str:
        """Full name of a field in a fault."""
        return f"{self._place}.{name}" if self._place else name

    def take(self, name: str) -> Any:  # noqa: ANN401 - any JSON
        """Take a value as it is; None if it is absent or null."""
        self._left.discard(name)
        return self._members.get(name)

    def require(self, name: str) -> Any:  # noqa: ANN401 - any JSON
        """Take the value of a required field."""
        value = self.take(name)
        if value is None:
            self.faults.append(missing(self.param(name)))
        return value

    def text(self, name: str, *, longest: int | None = None, required: bool = False) -> str | None:
        """Take a string that is not empty."""
        value = self.require(name) if required else self.take(name)
        if value is None:
            return None
        if not isinstance(value, str):
            return self._wrong_type(name, value, "a string")
        if not value:
            self._add(name, "must not be empty.", "empty_string")
            return None
        if longest is not None and len(value) > longest:
            self._add(name, f"has more than {longest} characters.", "string_above_max_length")
            return None
        return value

    def flag(self, name: str) -> bool | None:
        """Take a boolean."""
        value = self.take(name)
        if value is None or isinstance(value, bool):
            return value
        return self._wrong_type(name, value, "a boolean")

    def integer(self, name: str, *, least: int, most: int) -> int | None:
        """Take a whole number within bounds."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            return self._wrong_type(name, value, "an integer")
        return value if self._is_within(name, value, least, most, "integer") else None

    def number(self, name: str, *, least: float, most: float) -> float | None:
        """Take a number within bounds, as it was written."""
        value = self.take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return self._wrong_type(name, value, "a decimal number")
        return value if self._is_within(name, value, least, most, "decimal") else None

    def choice(self, name: str, choices: Collection[str]) -> str | None:
        """Take one of several strings."""
        value = self.take(name)
        if value is None or (isinstance(value, str) and value in choices):
            return value
        self.faults.append(invalid_choice(self.param(name), value, choices))
        return None

    def items(self, name: str, *, required: bool = False) -> list[Any] | None:
        """Take an array that is not empty."""
        value = self.require(name) if required else self.take(name)
        if value is None:
            return None
        if not isinstance(value, list):
            return self._wrong_type(name, value, "an array")
        if not value:
            self._add(name, "must have at least one item.", "empty_array")
            return None
        return cast("list[Any]", value)

    def object(self, name: str) -> dict[str, Any] | None:
        """Take an object, as it is."""
        value = self.take(name)
        if value is None or isinstance(value, dict):
            return cast("dict[str, Any] | None", value)
        return self._wrong_type(name, value, "an object")

    def inside(self, value: object, place: str) -> Fields | None:
        """Members of an object inside this one; None, and a fault, for other values."""
        if not isinstance(value, dict):
            self.faults.append(invalid_type(place, value, "an object"))
            return None
        return Fields(cast("dict[str, Any]", value), self.faults, place=place)

    def only(self, name: str, *values: object, why: str) -> None:
        """Accept a field only with the value that applies anyway."""
        value = self.take(name)
        if value is None or any(value == one and type(value) is type(one) for one in values):
            return
        self.faults.append(
            Fault(
                f"Unsupported value for '{self.param(name)}': {why}",
                self.param(name),
                "unsupported_value",
            )
        )

    def refuse(self, name: str, why: str) -> None:
        """Refuse a field of OpenAI's that is not supported, if it is given."""
        if self.take(name) is not None:
            self.faults.append(unsupported(self.param(name), why))

    def ignore(self, names: Collection[str]) -> None:
        """Accept fields that do not change an answer."""
        self._left.difference_update(names)

    def finish(self, known: Sequence[str] = (), hints: Mapping[str, str] | None = None) -> None:
        """Refuse members that were not taken, except nulls; `known` are names to propose."""
        taken = {*known, *(name for name in self._members if name not in self._left)}
        for name in self._members:
            if name in self._left and self._members[name] is not None:
                hint = (hints or {}).get(name, "")
                self.faults.append(unknown(name, self.param(name), taken, hint))
        self._left.clear()

    def _is_within(self, name: str, value: float, least: float, most: float, kind: str) -> bool:
        if value < least:
            self._add(name, f"must be at least {least}.", f"{kind}_below_min_value")
        elif value > most:
            self._add(name, f"must be at most {most}.", f"{kind}_above_max_value")
        return least <= value <= most

    def _wrong_type(self, name: str, value: object, wanted: str) -> None:
        self.faults.append(invalid_type(self.param(name), value, wanted))

    def _add(self, name: str, what: str, code: str) -> None:
        self.faults.append(
            Fault(f"Invalid '{self.param(name)}': it {what}", self.param(name), code)
        )

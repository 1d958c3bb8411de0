"""Options that take `NAME=VALUE` and can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

from promptmill.rows import NotJsonError, parse_json


def pairs(
    option: str, given: Sequence[str] | None, value_of: Callable[[str], Any]
) -> dict[str, Any]:
    """Parse the pairs; empty if the option was not given.

    Raises:
        typer.BadParameter: A text is not a pair, or its value is invalid.
    """
    found: dict[str, Any] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{option} takes NAME=VALUE, not {pair!r}")
        try:
            found[name] = value_of(value)
        except ValueError as error:
            raise typer.BadParameter(f"{option} {name}: {error}") from None
    return found


def json_or_text(value: str) -> Any:  # noqa: ANN401 - any JSON
    """Parse the value as JSON, or else take it as text.

    Raises:
        ValueError: Only Python takes the value for JSON, such as NaN.
    """
    try:
        return parse_json(value)
    except NotJsonError:
        return value

"""Options that take `NAME=VALUE` and can be given again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import typer

from promptmill.rows import NotJsonError, parse_json


def pairs(
    option: str, given: Sequence[str] | None, value_of: Callable[[str], Any]
) -> dict[str, Any]:
    """The pairs by their names; empty if the option was not given.

    Raises:
        typer.BadParameter: One of them is no pair, or its value is none.
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
    """The JSON that the value is, or else the value as it stands.

    Raises:
        ValueError: The value is what only Python takes for JSON, such as NaN.
    """
    try:
        return parse_json(value)
    except NotJsonError:
        return value

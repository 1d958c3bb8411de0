"""Options that are numbers, or `auto`."""

from __future__ import annotations

import math
import re
from typing import Literal

import typer


def number_or_auto(text: str | None) -> int | Literal["auto"] | None:
    """What was given; None if it was not. Its bounds are for the service to judge.

    Raises:
        typer.BadParameter: It is neither a whole number nor `auto`.
    """
    if text is None or text == "auto":
        return text
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    raise typer.BadParameter(f"--max-concurrent takes a whole number or auto, not {text!r}")


def finite(value: float | None) -> float | None:
    """The number of an option; a callback for Typer.

    Raises:
        typer.BadParameter: It is no number, or beyond all numbers, which JSON cannot say.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number that can be used")
    return value

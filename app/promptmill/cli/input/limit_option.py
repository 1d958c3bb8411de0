"""Options that take a number or `auto`."""

from __future__ import annotations

import math
import re
from typing import Literal

import typer


def number_or_auto(text: str | None) -> int | Literal["auto"] | None:
    """Parse the value; None if the option was not given. The service checks its bounds.

    Raises:
        typer.BadParameter: The value is neither a whole number nor `auto`.
    """
    if text is None or text == "auto":
        return text
    if re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    raise typer.BadParameter(f"--max-concurrent takes a whole number or auto, not {text!r}")


def finite(value: float | None) -> float | None:
    """Check a number, as a callback for Typer.

    Raises:
        typer.BadParameter: The value is NaN or infinite, which JSON cannot represent.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number that can be used")
    return value

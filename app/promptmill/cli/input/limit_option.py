"""The option `--max-concurrent`: a number, or `auto`."""

from __future__ import annotations

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

"""Durations in short form: `90d`, `24h`, `30m`, `45s`."""

from __future__ import annotations

import re
from typing import Final

import typer

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(?P<number>\d{1,6})(?P<unit>[smhd])", re.ASCII)


def parse_duration(text: str) -> int:
    """Parse a duration to seconds.

    Raises:
        typer.BadParameter: The text is not a duration.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; write 90d, 24h, 30m or 45s")
    return int(found["number"]) * _UNITS[found["unit"]]

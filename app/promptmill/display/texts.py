"""Texts, times and durations as a person reads them.

A model's answer is foreign text: whatever reaches a terminal goes through `printable`, or an answer
could move the cursor, rename the window or worse.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with control characters made visible; line ends and tabs stay."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text.replace("\r\n", "\n"))


def one_line(text: str | None, most: int) -> str:
    """The text on one line of at most `most` characters."""
    flat = " ".join(printable(text or "").split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def local_time(moment: datetime) -> str:
    """A moment by the clock on this machine's wall."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def duration(seconds: float | None) -> str:
    """Seconds for people: `0.8 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return "-"
    if seconds < 10:  # noqa: PLR2004 - below it, tenths matter
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest_s = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest_s:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"

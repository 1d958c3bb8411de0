"""Texts, times and durations as people read them.

Answers of models are untrusted: every text for a terminal goes through `printable`, or an answer
could move the cursor or rename the window.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_ENDINGS: Final = {1: "st", 2: "nd", 3: "rd"}


def printable(text: str) -> str:
    """Escape the control characters of a text, except line ends and tabs."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text.replace("\r\n", "\n"))


def one_line(text: str | None, most: int) -> str:
    """Put a text on one line of at most `most` characters."""
    flat = " ".join(printable(text or "").split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def local_time(moment: datetime) -> str:
    """Format a moment in the machine's time zone."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def duration(seconds: float | None) -> str:
    """Format seconds for people: `0.8 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
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


def numbers(batch: Any) -> str:  # noqa: ANN401 - a record of a layer above
    """A batch's figures on one line: done, failed, place in the queue, rate, remaining time."""
    counts = batch.counts
    parts = [f"{counts.finished}/{counts.total}"]
    parts += [
        f"{count} {name}"
        for name, count in (
            ("failed", counts.failed),
            ("cancelled", counts.cancelled),
            ("expired", counts.expired),
        )
        if count
    ]
    if batch.queue_position is not None:
        parts.append(f"{_ordinal(batch.queue_position)} in the queue")
    if batch.prompts_per_s is not None:
        parts.append(f"{batch.prompts_per_s:.3g}/s")
    if batch.eta_s is not None and not batch.has_ended:
        # Before the first start the remaining time is estimated from other batches.
        about = "about " if batch.queue_position is not None else ""
        parts.append(f"{about}{duration(batch.eta_s)} left")
    return ", ".join(parts)


def _ordinal(number: int) -> str:
    """Format an ordinal: `1st`, `2nd`, `3rd`, `4th`, `11th`."""
    ending = "th" if number % 100 in {11, 12, 13} else _ENDINGS.get(number % 10, "th")
    return f"{number}{ending}"

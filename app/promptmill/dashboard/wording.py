"""Formatting of numbers, durations, sizes, moments and untrusted texts on pages; Jinja filters."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final, cast
from urllib.parse import urlencode

from markupsafe import Markup, escape
from pydantic_core import from_json, to_json

from promptmill.domain.lifecycle import TERMINAL_JOB_STATES

UNKNOWN: Final = "\u2013"
"""Sign for an unknown value, which differs from 0."""
_THIN: Final = "\u202f"
_HIDDEN: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SIGNS: Final = {
    "queued": "○",
    "running": "●",
    "paused": "‖",
    "cancelling": "◌",
    "completed": "✓",
    "succeeded": "✓",
    "failed": "✕",
    "skipped": UNKNOWN,
    "cancelled": UNKNOWN,
    "expired": "◷",
    "ready": "✓",
    "alive": "✓",
    "trial": "◐",
    "aside": "‖",
    "stopped": UNKNOWN,
    "unreachable": "✕",
    "lost": "✕",
    "ok": "✓",
    "remark": "○",
    "warning": "‖",
    "failure": "✕",
}
_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def number(value: float | None, digits: int = 0) -> str:
    """A number in groups of three digits: `12 345`."""
    if value is None:
        return UNKNOWN
    return f"{value:,.{digits}f}".replace(",", _THIN)


def rate(value: float | None) -> str:
    """A number with as many digits as say something: `0.35`, `4.2`, `128`."""
    if value is None:
        return UNKNOWN
    digits = 0 if value >= 100 or value == 0 else 1 if value >= 10 else 2  # noqa: PLR2004
    return number(value, digits)


def duration(seconds: float | None) -> str:
    """Seconds for people, as the command line writes them: `0.8 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds is None:
        return UNKNOWN
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "under 1 ms"  # noqa: PLR2004
    if seconds < 10:  # noqa: PLR2004 - below it, tenths matter
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole >= _DAY:
        return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"
    if whole >= _HOUR:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02d} min"
    return f"{whole // _MINUTE} min {whole % _MINUTE:02d} s" if whole >= _MINUTE else f"{whole} s"


def precise(seconds: float | None) -> str:
    """Seconds with three digits that say something, for what is measured and compared."""
    if seconds is None or seconds < 1 or seconds >= _MINUTE:
        return duration(seconds)
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004


def size(octets: int | None) -> str:
    """Bytes for people: `4.7 GB`."""
    if octets is None:
        return UNKNOWN
    value, unit = float(octets), 0
    while value >= 1000 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - decimal units
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def percent(share: float | None) -> str:
    """A share of 1, cut and not rounded: 100 % means all of it."""
    return UNKNOWN if share is None else f"{int(share * 100)} %"


def moment(at_ms: int | None) -> Markup:
    """A `<time>`, in UTC here; a script makes it relative, with the local time on hover."""
    if at_ms is None:
        return escape(UNKNOWN)
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    exact = at.isoformat(timespec="milliseconds")
    return Markup(f'<time datetime="{exact}">{at:%Y-%m-%d %H:%M:%S} UTC</time>')  # noqa: S704 - of digits


def visible(text: str | None) -> str:
    """Foreign text with control characters and changes of direction made visible."""
    return _HIDDEN.sub(_shown, (text or "").replace("\r\n", "\n"))


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


def one_line(text: str | None, most: int = 120) -> str:
    """Foreign text on one line of at most `most` characters."""
    flat = " ".join(visible(text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def sign(state: str) -> str:
    """The sign that stands beside a state's colour."""
    return _SIGNS.get(state, "")


def pretty_json(value: Any) -> str:  # noqa: ANN401 - whatever a client sent
    """A value as indented JSON."""
    return to_json(value, indent=2).decode()


def as_json(text: str | None) -> str | None:
    """The text indented, if it is a JSON object or list; None otherwise.

    Its numbers stay as they were written as far as JSON's integers go; floats keep their digits.
    """
    if not text or text.lstrip()[:1] not in "{[":
        return None
    try:
        return pretty_json(from_json(text, allow_inf_nan=False))
    except ValueError:
        return None


def has_ended(state: str) -> bool:
    """Whether a batch or benchmark in this state does nothing more."""
    return state in TERMINAL_JOB_STATES


def query(**fields: Any) -> str:  # noqa: ANN401 - texts, numbers and lists of them
    """The query of an address, with the fields that have a value; empty without any."""
    given: list[tuple[str, str]] = []
    for name, value in fields.items():
        values = cast("list[Any]", value) if isinstance(value, list) else [value]
        given += [(name, str(one)) for one in values if one not in {None, ""}]
    return f"?{urlencode(given)}" if given else ""


FILTERS: Final = {
    "number": number,
    "rate": rate,
    "duration": duration,
    "precise": precise,
    "size": size,
    "percent": percent,
    "moment": moment,
    "visible": visible,
    "one_line": one_line,
    "sign": sign,
    "pretty_json": pretty_json,
    "as_json": as_json,
    "has_ended": has_ended,
}

"""Durations as Go reads them: `keep_alive` in a request.

A number is seconds; a text needs a unit (`"5m"`, `"1h30m"`, `"0"`); negative means forever.
"""

from __future__ import annotations

import math
import re

from promptmill.simulator.protocol.gojson import quote

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_STEP = re.compile(r"(\d+\.?\d*|\.\d+)([^\d.]*)")


class DurationError(ValueError):
    """Not a duration; the text is Go's."""


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as `1h30m`, `-1s` or `0`."""
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0.0
    if not rest:
        raise DurationError(f"time: invalid duration {quote(text)}")
    seconds = 0.0
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise DurationError(f"time: invalid duration {quote(text)}")
        number, unit = step.groups()
        if not unit:
            raise DurationError(f"time: missing unit in duration {quote(text)}")
        if unit not in _UNITS:
            raise DurationError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        seconds += float(number) * _UNITS[unit]
        rest = rest[step.end() :]
    return -seconds if text[0] == "-" else seconds


def keep_alive_seconds(value: object) -> float:
    """Seconds that a request's `keep_alive` asks for; forever is `math.inf`."""
    if isinstance(value, bool):
        raise DurationError("Unsupported type: 'bool'")
    if isinstance(value, int | float):
        seconds = float(value)
    elif isinstance(value, str):
        seconds = parse_duration(value)
    elif isinstance(value, list):
        raise DurationError("Unsupported type: '[]interface {}'")
    else:
        raise DurationError("Unsupported type: 'map[string]interface {}'")
    return math.inf if seconds < 0 else seconds

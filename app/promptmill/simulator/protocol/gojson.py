"""JSON and times as Go's encoder writes them.

Go escapes `<`, `>` and `&` in strings, writes no spaces, and writes a time with up to nine
decimals of a second and without trailing zeros.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

_HTML = str.maketrans(
    {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
        "\x7f": "\x7f",
    }
)
_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_to_string = json.encoder.encode_basestring

NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second; every duration of the protocol is in nanoseconds."""

FOREVER_S = 9_223_372_036.0
"""Seconds of Go's longest duration: what "keep alive forever" is stored as."""


def quote(text: str) -> str:
    """The text as a JSON string."""
    return _to_string(text).translate(_HTML)


def encode(value: object) -> str:
    """Any value as compact JSON; keys keep the order in which they were set."""
    # The escaped characters can only occur inside strings, so the whole text may be translated.
    return _encoder.encode(value).translate(_HTML)


_second: tuple[int, str] = (-1, "")


def timestamp(now_ns: int | None = None) -> str:
    """A moment (nanoseconds since 1970; now, if none is given) as RFC 3339 in UTC."""
    global _second  # noqa: PLW0603  # the text of the current second, which a busy server needs often
    seconds, fraction = divmod(time.time_ns() if now_ns is None else now_ns, NANOSECONDS)
    if _second[0] != seconds:
        _second = (seconds, datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    if not fraction:
        return _second[1] + "Z"
    return f"{_second[1]}.{fraction:09d}".rstrip("0") + "Z"

"""Values from a server, made fit for storing; a test compares the bounds with the columns.

PostgreSQL refuses NUL in a text and no UTF-8 encoder takes a lone surrogate, but JSON can contain
both (as escapes), and a model or a broken stream may send them. Each becomes U+FFFD. Numbers that
no column holds, or that JSON cannot represent, become None.
"""

from __future__ import annotations

import math
from typing import Any, Final, cast

LONGEST_NAME: Final = 64
"""Most characters of a word that a server chooses, such as `done_reason`."""
LARGEST_NUMBER: Final = 2**53
"""Largest value of a counter: 104 days in nanoseconds, exact in any reader of JSON."""
MOST_TOKENS: Final = 2**31 - 1
"""Most tokens of a call; the sums of four billion such prompts fit their columns."""
_REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """`text` without NUL and lone surrogates; adjacent halves of a pair become their character.

    Halves become adjacent when a server splits one character over two chunks of a stream, so the
    function is called on the joined text, never on a chunk.
    """
    if "\x00" in text:
        text = text.replace("\x00", _REPLACEMENT)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # UTF-16 is the encoding in which a pair of surrogates is a character.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def storable_json(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """The same JSON with every text in it `storable`, including names of members.

    A number that is not finite becomes None.
    """
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [storable_json(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {storable(name): storable_json(item) for name, item in members}
    return value


def count(value: object, most: int = LARGEST_NUMBER) -> int | None:
    """Counter as a server sends it; None if it is missing or invalid."""
    return value if type(value) is int and 0 <= value <= most else None


def one_line(text: str, limit: int) -> str:
    """Put a text on one line of at most `limit` characters, for use inside a sentence."""
    # The first cut bounds the work on a huge text; spaces then shrink it further.
    words = " ".join(storable(text[: limit * 4]).split())
    printable = "".join(sign if sign.isprintable() else _REPLACEMENT for sign in words)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"

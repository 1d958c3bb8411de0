"""Values from a server, made fit to be stored; a test holds the bounds against the columns.

PostgreSQL refuses NUL in a text and no UTF-8 encoder takes a lone surrogate, but JSON can spell
both (as escapes) and a model or a broken stream may send them. Each becomes U+FFFD, the sign that
something was there that cannot be shown. Numbers that no column holds, or that JSON cannot spell,
become None: a gateway that sends them does not know the number either.
"""

from __future__ import annotations

import math
from typing import Any, Final, cast

LONGEST_NAME: Final = 64
"""Most characters of a word that a server chooses, such as `done_reason`."""
LARGEST_NUMBER: Final = 2**53
"""Most that a counter may say: 104 days in nanoseconds, and what any reader of JSON can hold."""
MOST_TOKENS: Final = 2**31 - 1
"""Most tokens of a call; the sums of four billion such prompts fit their columns."""
_REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """`text` without NUL and lone surrogates; two halves that met again become their character.

    The halves meet when a server escapes one character over two chunks of a stream, so this is
    called on the joined text, never on a chunk.
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
    """The same JSON with every text in it `storable`, names of members included.

    A number that is not finite, which JSON cannot spell, becomes None.
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
    """A counter as a server sends it; None where the server left it out or it is no count."""
    return value if type(value) is int and 0 <= value <= most else None


def one_line(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` characters, for use inside a sentence."""
    # The first cut bounds the work on a huge text; spaces then shrink it further.
    words = " ".join(storable(text[: limit * 4]).split())
    printable = "".join(sign if sign.isprintable() else _REPLACEMENT for sign in words)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"

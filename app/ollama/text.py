"""Text from a server, made fit to be stored: neither NUL nor half a character survives.

PostgreSQL refuses NUL in a text and no UTF-8 encoder takes a lone surrogate, but JSON can spell
both (as escapes) and a model or a broken stream may send them. Each becomes U+FFFD, the sign that
something was there that cannot be shown.
"""

from __future__ import annotations

from typing import Any, cast

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
    """The same JSON with every text in it `storable`, names of members included."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [storable_json(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {storable(name): storable_json(item) for name, item in members}
    return value


def one_line(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` characters, for use inside a sentence."""
    # The first cut bounds the work on a huge text; spaces then shrink it further.
    words = " ".join(storable(text[: limit * 4]).split())
    printable = "".join(sign if sign.isprintable() else _REPLACEMENT for sign in words)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"

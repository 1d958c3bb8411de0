"""Why Go's decoder refuses a text as JSON, in Go's own words.

Only asked after Python's decoder has refused the text, so it may be slow.
"""

from __future__ import annotations

_SPACE = " \t\r\n"
_HEX = "0123456789abcdefABCDEF"
_END = "unexpected EOF"


class _SyntaxFault(Exception):  # noqa: N818  # carries Go's text out of the recursion
    """The text of the first error."""


def syntax_error(text: str) -> str:
    """What Go says about the first JSON value of the text; `EOF` if there is none."""
    if not text.strip(_SPACE):
        return "EOF"
    try:
        _value(text, 0)
    except _SyntaxFault as fault:
        return str(fault)
    return _END


def _shown(char: str) -> str:
    """A character as Go quotes it."""
    if char == "'":
        return "'\\''"
    if char == '"':
        return "'\"'"
    return f"'{char}'" if char.isprintable() else f"'{char!r}'".replace("''", "'")


def _refuse(text: str, at: int, where: str) -> _SyntaxFault:
    if at >= len(text):
        return _SyntaxFault(_END)
    return _SyntaxFault(f"invalid character {_shown(text[at])} {where}")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _value(text: str, at: int) -> int:
    """Read one value; the position after it."""
    at = _skip(text, at)
    char = text[at : at + 1]
    if char == "{":
        return _object(text, at + 1)
    if char == "[":
        return _array(text, at + 1)
    if char == '"':
        return _string(text, at + 1)
    if char and char in "-0123456789":
        return _number(text, at)
    for literal in ("true", "false", "null"):
        if char == literal[0]:
            return _literal(text, at, literal)
    raise _refuse(text, at, "looking for beginning of value")


def _object(text: str, at: int) -> int:
    at = _skip(text, at)
    if text[at : at + 1] == "}":
        return at + 1
    while True:
        at = _skip(text, at)
        if text[at : at + 1] != '"':
            raise _refuse(text, at, "looking for beginning of object key string")
        at = _skip(text, _string(text, at + 1))
        if text[at : at + 1] != ":":
            raise _refuse(text, at, "after object key")
        at = _skip(text, _value(text, at + 1))
        if text[at : at + 1] == "}":
            return at + 1
        if text[at : at + 1] != ",":
            raise _refuse(text, at, "after object key:value pair")
        at += 1


def _array(text: str, at: int) -> int:
    at = _skip(text, at)
    if text[at : at + 1] == "]":
        return at + 1
    while True:
        at = _skip(text, _value(text, at))
        if text[at : at + 1] == "]":
            return at + 1
        if text[at : at + 1] != ",":
            raise _refuse(text, at, "after array element")
        at += 1


def _string(text: str, at: int) -> int:
    while at < len(text):
        char = text[at]
        if char == '"':
            return at + 1
        if char < " ":
            raise _refuse(text, at, "in string literal")
        at = _escape(text, at + 1) if char == "\\" else at + 1
    raise _SyntaxFault(_END)


def _escape(text: str, at: int) -> int:
    char = text[at : at + 1]
    if char == "u":
        for place in range(at + 1, at + 5):
            if text[place : place + 1] not in _HEX or place >= len(text):
                raise _refuse(text, place, "in \\u hexadecimal character escape")
        return at + 5
    if not char or char not in '"\\/bfnrt':
        raise _refuse(text, at, "in string escape code")
    return at + 1


def _number(text: str, at: int) -> int:
    if text[at] == "-":
        at += 1
        if not text[at : at + 1].isdigit():
            raise _refuse(text, at, "in numeric literal")
    at = at + 1 if text[at] == "0" else _digits(text, at)
    if text[at : at + 1] == ".":
        at += 1
        if not text[at : at + 1].isdigit():
            raise _refuse(text, at, "after decimal point in numeric literal")
        at = _digits(text, at)
    if text[at : at + 1] in {"e", "E"}:
        at += 2 if text[at + 1 : at + 2] in {"+", "-"} else 1
        if not text[at : at + 1].isdigit():
            raise _refuse(text, at, "in exponent of numeric literal")
        at = _digits(text, at)
    return at


def _digits(text: str, at: int) -> int:
    while text[at : at + 1].isdigit():
        at += 1
    return at


def _literal(text: str, at: int, literal: str) -> int:
    for place, expected in enumerate(literal):
        if text[at + place : at + place + 1] != expected:
            raise _refuse(text, at + place, f"in literal {literal} (expecting {_shown(expected)})")
    return at + len(literal)

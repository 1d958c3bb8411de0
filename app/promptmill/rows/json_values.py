"""Strict JSON: NaN, infinite numbers, duplicate names and lone surrogates are refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

from promptmill.rows.faults import Faults, UnreadableInput
from promptmill.rows.opening import MARK

_MOST_CHARACTERS: Final = 32 * 1024 * 1024
"""Most characters of one value in a stream."""
_NO_FIELDS: Final = ("self", "idempotency_key")
_MOST_AT_FIRST: Final = 64 * 1024
_SPACE: Final = re.compile(rf"[ \t\r\n{MARK}]*")
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
_AFTER: Final = frozenset(" \t\r\n,]}")
_LONGEST_WORD: Final = 16
"""Most characters of a literal such as `false` that may be cut at the end of a piece."""


class NotJsonError(ValueError):
    """A text is not JSON at all, and may be meant as a text."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'has the name "{twice}" twice in one object')
    return found


def _constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON")


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is beyond the range of numbers")
    return value


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a number has too many digits") from None


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_constant,
    parse_float=_number,
    parse_int=_whole_number,
)


def parse_json(text: str) -> Any:  # noqa: ANN401 - any JSON
    """Parse a text that is one JSON value."""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJsonError(f"is not JSON: {_told(error)} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    check_characters(value, text)
    return value


_MISTAKES: Final = (
    (r"'", "JSON has double quotation marks, and a single one stands"),
    (r"//|/\*|#", "JSON has no comments, and there is one"),
    (r"None|True|False", "a word of Python, not of JSON, stands"),
    (r",?\s*[]}]", "a value is missing, as behind a comma too many,"),
    (r"[\t\r\n]", r"a tab or line end, in a string written \t or \n, stands"),
)


def _told(error: json.JSONDecodeError) -> str:
    """Describe a syntax error, with advice for frequent mistakes, alike in all Python versions."""
    found = (told for wrong, told in _MISTAKES if re.match(wrong, error.doc[error.pos :]))
    return next(found, error.msg.removesuffix(" at"))


def check_characters(value: object, text: str) -> None:
    """Refuse lone surrogates, which JSON can write and UTF-8 cannot."""
    if _HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError(
                "has half of a surrogate pair (\\ud83d alone), which is not text"
            ) from None


def may_be_cut(error: json.JSONDecodeError) -> bool:
    """Whether invalid JSON may be the beginning of valid JSON."""
    is_open = error.msg.startswith(("Unterminated string", "Invalid \\u", "Invalid \\escape"))
    return is_open or error.pos > len(error.doc) - _LONGEST_WORD


class JsonStream:
    """Consecutive values, or the items of one array, parsed from pieces of text."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._pieces = iter(pieces)
        self._text = ""
        self._at = 0
        self._line = 1
        self._has_ended = False

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        """Yield the values with their line numbers."""
        if self._next() == "[":
            self._advance(self._at + 1)
            yield from self._items()
            if self._next():
                raise UnreadableInput(f"line {self._line}: something follows the array")
            return
        while self._next():
            yield self._line, self._value()

    def _items(self) -> Iterator[tuple[int, Any]]:
        if self._next() == "]":
            self._advance(self._at + 1)
            return
        while True:
            self._next()
            yield self._line, self._value()
            mark = self._next()
            if mark not in {",", "]"}:
                told = "the array does not end" if not mark else "a comma is missing in the array"
                raise UnreadableInput(f"line {self._line}: {told}")
            self._advance(self._at + 1)
            if mark == "]":
                return

    def _next(self) -> str:
        """The next character that is not white space; an empty string at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._advance(found.end() if found else self._at)
            if self._at < len(self._text) or not self._read(1):
                return self._text[self._at : self._at + 1]

    def _value(self) -> Any:  # noqa: ANN401 - any JSON
        wanted = _MOST_AT_FIRST
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._has_ended or not may_be_cut(error):
                    raise UnreadableInput(self._told(error)) from None
            except RecursionError:
                raise UnreadableInput(f"line {self._line}: is nested too deeply") from None
            except ValueError as error:
                raise UnreadableInput(f"line {self._line}: {error}") from None
            else:
                # A number may continue in the next piece.
                is_whole = self._text[end - 1] in '"]}' or self._text[end : end + 1] in _AFTER
                if is_whole or self._has_ended:
                    self._check(value, end)
                    self._advance(end)
                    return value
            if len(self._text) - self._at > _MOST_CHARACTERS:
                raise UnreadableInput(
                    f"line {self._line}: a value has more than 32 MiB; write a prompt per line"
                )
            self._read(wanted)
            wanted *= 2

    def _check(self, value: object, end: int) -> None:
        try:
            check_characters(value, self._text[self._at : end])
        except ValueError as error:
            raise UnreadableInput(f"line {self._line}: {error}") from None

    def _told(self, error: json.JSONDecodeError) -> str:
        line = self._line + self._text.count("\n", self._at, error.pos)
        return f"line {line}: is not JSON: {_told(error)}"

    def _read(self, characters: int) -> bool:
        """Read at least that many more characters; False at the end of the text."""
        kept = [self._text[self._at :]]
        self._at = 0
        for piece in self._pieces:
            kept.append(piece)
            characters -= len(piece)
            if characters <= 0:
                break
        else:
            self._has_ended = True
        self._text = "".join(kept)
        return len(kept) > 1

    def _advance(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to


def values_of_lines(lines: Iterable[tuple[int, str]], faults: Faults) -> Iterator[tuple[int, Any]]:
    """Yield the value of each line that is not blank."""
    for number, line in lines:
        if line.strip():
            try:
                yield number, parse_json(line.strip("\r\n"))
            except ValueError as error:
                faults.add(f"line {number}: {error}")


def batch_body(pieces: Iterable[str]) -> tuple[list[Any], dict[str, Any]]:
    """Parse a whole batch: its prompts, and the fields beside them."""
    values = iter(JsonStream(pieces))
    line, body = next(values)
    if next(values, None) is not None:
        raise UnreadableInput(f"line {line}: something follows the batch")
    prompts = body.pop("prompts")
    if not isinstance(prompts, list):
        raise UnreadableInput('"prompts" must be a list')
    for name in _NO_FIELDS:
        if name in body:
            raise UnreadableInput(f'a batch has no field "{name}"')
    return cast("list[Any]", prompts), body

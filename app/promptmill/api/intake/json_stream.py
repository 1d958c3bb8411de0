"""JSON that arrives in pieces, decoded value by value with the standard library's decoder.

One rule: nobody here waits for input. Each method is a generator that yields when it needs bytes
and is sent the next block (`b""` says that there are no more), so that the same code runs on any
thread, and between two values the interpreter may hand its lock to the event loop. One `json.loads`
of a large body would hold it for hundreds of milliseconds and keep the whole text in memory.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")
Step = Generator[None, bytes, T]
"""A computation that yields for more bytes and returns a `T` in the end."""

MAX_DEPTH = 100
"""Deepest nesting of arrays and objects; what is stored must be written as JSON again."""
MAX_MEMBERS = 1000
"""Most members of one object."""
MAX_ITEMS = 10_000
"""Most items of one array, unless its reader walks it item by item."""

_WHITE = re.compile(r"[ \t\n\r]*")
_AFTER_A_NUMBER = frozenset(",]} \t\n\r")
_LARGE = 1 << 20
"""Characters above which a container is decoded member by member, never in one go."""
_LONGEST_STRING = 64 << 20
"""Characters that no string may have, an image included: one string is decoded in one go."""
_LONGEST_WORD = 8192
"""Characters that a number or a literal cannot have; what is longer is no JSON."""


class MalformedJson(Exception):  # noqa: N818 - named for what it is
    """The text is not JSON; the message says why and where."""


class TooLarge(Exception):  # noqa: N818 - as above
    """A value is larger than any field takes, so that reading it to its end is not worth it."""


class JsonStream:
    """A place in a JSON text of which a part may not have arrived yet."""

    def __init__(self) -> None:
        self.repeated_names: list[str] = []
        """Names given twice in one object, since whoever reads this list last emptied it."""
        self._utf8 = codecs.getincrementaldecoder("utf-8-sig")()
        self._json = strict_decoder(self.repeated_names)
        self._text = ""
        self._at = 0
        self._ended = False
        self._depth = 0
        self._lines_before = 0
        self._column_before = 0

    def peek(self) -> Step[str]:
        """The next character that is not white space, or "" at the end; it stays unread."""
        while True:
            white = _WHITE.match(self._text, self._at)
            self._at = white.end() if white else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            yield from self._read_more(1)

    def value(self) -> Step[Any]:
        """The next value, whole.

        Raises:
            MalformedJson: It is none.
            TooLarge: It is larger than any field takes; nothing can be read after that.
        """
        first = yield from self.peek()
        while True:
            arrived, value = self._decode(first)
            if arrived:
                return value
            waiting = len(self._text) - self._at
            if first in "[{" and waiting > _LARGE:
                return (yield from self._container(first))
            if first == '"' and waiting > _LONGEST_STRING:
                raise TooLarge(f"is longer than {_LONGEST_STRING} characters")
            if first not in '"[{' and waiting > _LONGEST_WORD:
                self._refuse("Expecting value", self._at)
            # Asking for as much again keeps the work linear in the length of the value.
            yield from self._read_more(max(waiting, 1))

    def enter(self) -> None:
        """Step over the bracket that was peeked at."""
        self._at += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse_depth()

    def next_item(self, *, first: bool) -> Step[bool]:
        """Go to the array's next item; False when it has been left instead."""
        return (yield from self._go_on("]", first=first))

    def next_name(self, *, first: bool) -> Step[str | None]:
        """The name of the object's next member; None when it has been left instead."""
        if not (yield from self._go_on("}", first=first)):
            return None
        if (yield from self.peek()) != '"':
            self._refuse("Expecting property name enclosed in double quotes", self._at)
        name = yield from self.value()
        if (yield from self.peek()) != ":":
            self._refuse("Expecting ':' delimiter", self._at)
        self._at += 1
        return str(name)

    def end(self) -> Step[None]:
        """Make sure that nothing but white space follows."""
        if (yield from self.peek()):
            self._refuse("Extra data", self._at)

    def _decode(self, first: str) -> tuple[bool, Any]:
        """The value that begins here, if all of it has arrived."""
        try:
            value, end = self._json.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            if self._ended:
                self._refuse(error.msg, error.pos)
            return False, None  # It may only be cut off.
        except RecursionError:
            self._refuse_depth()
        except ValueError as error:
            self._refuse(reason_of(error), self._at)
        if first in "-0123456789" and not self._is_whole_number(end):
            return False, None
        self._at = end
        return True, value

    def _go_on(self, closing: str, *, first: bool) -> Step[bool]:
        character = yield from self.peek()
        if character == closing:
            self._at += 1
            self._depth -= 1
            return False
        if not first:
            if character != ",":
                self._refuse(f"Expecting ',' or '{closing}'", self._at)
            self._at += 1
            if (yield from self.peek()) == closing:
                self._refuse(f"Illegal trailing comma before '{closing}'", self._at)
        return True

    def _container(self, bracket: str) -> Step[Any]:
        self.enter()
        first = True
        if bracket == "[":
            items: list[Any] = []
            while (yield from self.next_item(first=first)):
                if len(items) == MAX_ITEMS:
                    raise TooLarge(f"has more than {MAX_ITEMS} items")
                items.append((yield from self.value()))
                first = False
            return items
        pairs: list[tuple[str, Any]] = []
        while (name := (yield from self.next_name(first=first))) is not None:
            if len(pairs) == MAX_MEMBERS:
                raise TooLarge(f"has more than {MAX_MEMBERS} members")
            pairs.append((name, (yield from self.value())))
            first = False
        return _object_of(pairs, self.repeated_names)

    def _is_whole_number(self, end: int) -> bool:
        # "12" may be the beginning of "12.5e3"; only what follows tells.
        return self._ended or (end < len(self._text) and self._text[end] in _AFTER_A_NUMBER)

    def _read_more(self, characters: int) -> Step[None]:
        self._count_lines(self._at)
        pieces = [self._text[self._at :]]
        while characters > 0 and not self._ended:
            block = yield
            self._ended = not block
            try:
                piece = self._utf8.decode(block, final=self._ended)
            except UnicodeDecodeError as error:
                raise MalformedJson(f"The body is not UTF-8: {error.reason}.") from None
            pieces.append(piece)
            characters -= len(piece)
        self._text = "".join(pieces)
        self._at = 0

    def _count_lines(self, until: int) -> None:
        newline = self._text.rfind("\n", 0, until)
        if newline < 0:
            self._column_before += until
        else:
            self._lines_before += self._text.count("\n", 0, until)
            self._column_before = until - newline - 1

    def _refuse(self, reason: str, position: int) -> NoReturn:
        self._count_lines(min(position, len(self._text)))
        place = f"line {self._lines_before + 1} column {self._column_before + 1}"
        raise MalformedJson(f"{reason} at {place}.")

    def _refuse_depth(self) -> NoReturn:
        raise MalformedJson(f"The body is nested deeper than {MAX_DEPTH} levels.")


def strict_decoder(repeated_names: list[str]) -> json.JSONDecoder:
    """The standard decoder, without its own constants; names given twice go to the list."""
    return json.JSONDecoder(
        object_pairs_hook=lambda pairs: _object_of(pairs, repeated_names),
        parse_constant=_refuse_constant,
    )


def reason_of(error: ValueError) -> str:
    """Why `strict_decoder` refuses a value that is JSON by its grammar."""
    if isinstance(error, _NoJsonConstantError):
        return str(error)
    # The interpreter refuses to turn thousands of digits into an integer.
    return "A number has too many digits"


def _object_of(pairs: list[tuple[str, Any]], repeated_names: list[str]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                repeated_names.append(name)
            seen.add(name)
    return members


class _NoJsonConstantError(ValueError):
    """NaN or Infinity, which Python's decoder would take."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NoJsonConstantError(f"{name} is no JSON number; leave the field out or give a number")

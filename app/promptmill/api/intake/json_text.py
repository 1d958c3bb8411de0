"""Decoding of a request's JSON value by value, without holding the interpreter for long.

One call of a decoder keeps the interpreter's lock until it returns, and the event loop waits for
it: half a second for 32 MiB of small objects. `JsonReader` calls the standard library's decoder
once for each prompt, from a window of the text, so that no single call is long. The standard
decoder is used, and not `pydantic_core.from_json`, because it tells of names given twice.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn, cast

from promptmill.api.errors.unstorable import MAX_MEMBERS, MalformedJson, too_deep
from promptmill.api.errors.violations import Faults
from promptmill.api.schemas.strict import Path
from promptmill.domain.errors import FieldProblem, Invalid

_WINDOW: Final = 1 << 20
_MOST_TOKENS: Final = 200_000
"""Most brackets, commas and texts of one value that is larger than a window."""
_LONGEST_WORD: Final = 8192
"""More characters than a number or a literal can have."""
_WHITE: Final = re.compile(r"[ \t\n\r]*")
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{,]', re.DOTALL)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class JsonReader:
    """Position in a JSON text, and the faults of the values that were read."""

    def __init__(self, faults: Faults) -> None:
        """Names given twice in one object, and values far too large, are added to `faults`."""
        self.faults = faults
        self._repeated: list[str] = []
        self._json = json.JSONDecoder(
            object_pairs_hook=self._object_of, parse_constant=_refuse_constant
        )
        self.open(b"")

    def open(self, body: bytes) -> None:
        """Start with a text."""
        self._body = body
        self._taken = len(_BYTE_ORDER_MARK) if body.startswith(_BYTE_ORDER_MARK) else 0
        self._text = ""
        self._at = self._passed = 0

    def peek(self) -> str:
        """Return the next character that is not white space, unread, or "" at the end."""
        while True:
            self._at = cast("re.Match[str]", _WHITE.match(self._text, self._at)).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._is_whole:
                return ""
            self._read_more(_WINDOW)

    def value(self, path: Path) -> Any:  # noqa: ANN401 - any JSON
        """Read the next value as a whole; `path` is its place in the request.

        Raises:
            MalformedJson: It is none.
            Invalid: The value is larger than any field may be.
        """
        first = self.peek()
        while True:
            waiting = len(self._text) - self._at
            try:
                value, end = self._json.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._is_whole or (first not in '"[{' and waiting > _LONGEST_WORD):
                    self._refuse(error.msg, error.pos)
            except RecursionError:
                raise too_deep() from None
            except ValueError as error:
                self._refuse(_reason_of(error), self._at)
            else:
                # "12" may be the beginning of "12.5": two characters more would tell.
                if self._is_whole or end + 2 < len(self._text):
                    self._at = end
                    self._note_repeated(path)
                    return value
            self._repeated.clear()
            self._read_more(max(waiting, _WINDOW))
            if first in "[{" and waiting >= _WINDOW:
                self._check_size(path)

    def items(self) -> Iterator[None]:
        """Step through an array that `peek` has shown; each item is read by the caller."""
        return self._steps("]")

    def members(self, path: Path = ()) -> Iterator[str]:
        """Step through an object that `peek` has shown: the names, each with its value unread."""
        names: set[str] = set()
        for _ in self._steps("}"):
            if self.peek() != '"':
                self._refuse("Expecting property name enclosed in double quotes", self._at)
            name: str = self.value(path)
            if self.peek() != ":":
                self._refuse("Expecting ':' delimiter", self._at)
            self._at += 1
            if name in names:
                self.faults.add((*path, name), "is given twice; give it once")
            names.add(name)
            if len(names) > MAX_MEMBERS:
                self.faults.add(path, f"has more than {MAX_MEMBERS} members")
                self.faults.raise_if_any()
            yield name

    def only_value(self, path: Path) -> Any:  # noqa: ANN401 - any JSON
        """Read the whole text as one value.

        Raises:
            MalformedJson: It is none.
        """
        value = self.value(path)
        self.end()
        return value

    def require_object(self, hint: str) -> None:
        """Check that the text begins an object.

        Raises:
            MalformedJson: It is empty, or no JSON.
            Invalid: The text is another value.
        """
        opening = self.peek()
        if not opening:
            raise MalformedJson("The body is empty; send a JSON object.", "is empty")
        if opening != "{":
            if opening != "[":  # A word or a number may also be no JSON at all.
                self.only_value(())
            raise Invalid("The body must be a JSON object.", (FieldProblem("", hint),))

    def end(self) -> None:
        """Check that only white space follows."""
        if self.peek():
            self._refuse("Extra data", self._at)

    def _steps(self, closing: str) -> Iterator[None]:
        self._at += 1
        first = True
        while (character := self.peek()) != closing:
            if not first:
                if character != ",":
                    self._refuse(f"Expecting ',' or '{closing}'", self._at)
                self._at += 1
                if self.peek() == closing:
                    self._refuse(f"Illegal trailing comma before '{closing}'", self._at)
            first = False
            yield
        self._at += 1

    @property
    def _is_whole(self) -> bool:
        return self._taken >= len(self._body)

    def _read_more(self, size: int) -> None:
        end = self._taken + max(size, 4)  # One character at least, or reading would never end.
        try:
            piece, used = codecs.utf_8_decode(
                self._body[self._taken : end], "strict", end >= len(self._body)
            )
        except UnicodeDecodeError as error:
            fault = f"is not UTF-8 at byte {self._taken + error.start + 1}"
            raise MalformedJson(f"The body {fault}: {error.reason}.", fault) from None
        self._passed += self._at
        self._text = self._text[self._at :] + piece
        self._at = 0
        self._taken += used

    def _check_size(self, path: Path) -> None:
        tokens = enumerate(_TOKEN.finditer(self._text, self._at))
        if any(count > _MOST_TOKENS for count, _ in tokens):
            self.faults.add(path, "is far larger than any field may be")
            self.faults.raise_if_any()

    def _object_of(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    self._repeated.append(name)
                seen.add(name)
        return members

    def _note_repeated(self, path: Path) -> None:
        if self._repeated:
            for name in self._repeated:
                self.faults.add(
                    path, f"has the name `{name[:64]}` twice in one object; give it once"
                )
            self._repeated.clear()

    def _refuse(self, reason: str, position: int) -> NoReturn:
        whole = self._body.decode("utf-8-sig", "replace")
        found = json.JSONDecodeError(reason, whole, self._passed + position)
        reason = reason.removesuffix(" at")  # Some end so already.
        raise MalformedJson(
            f"{reason} at line {found.lineno} column {found.colno}.",
            f"is not JSON: {reason} at column {found.colno}",
        )


def _refuse_constant(name: str) -> NoReturn:
    raise _NoJsonConstantError(f"{name} is no JSON number; leave the field out or give a number")


class _NoJsonConstantError(ValueError):
    """The text has NaN or Infinity, which Python's decoder would accept."""


def _reason_of(error: ValueError) -> str:
    if isinstance(error, _NoJsonConstantError):
        return str(error)
    # The interpreter refuses to turn thousands of digits into an integer.
    return "A number has too many digits"

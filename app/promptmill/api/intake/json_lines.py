"""The JSON value in each line of a body; a bad line says nothing about the others."""

from __future__ import annotations

import json
from typing import Any, Final

from promptmill.api.intake.json_stream import (
    MAX_DEPTH,
    JsonStream,
    MalformedJson,
    Step,
    TooLarge,
    reason_of,
    strict_decoder,
)

_AT_ONCE: Final = 1 << 20
"""Bytes above which a line is decoded member by member: one call would hold the interpreter."""
_BLOCK: Final = 256 * 1024


class UnreadableLine(Exception):  # noqa: N818 - named for what it is
    """A line has no value that could be looked at; the message is what it "is" or "has"."""


class LineDecoder:
    """Decodes lines that are one JSON value each, by the same rules as a JSON body."""

    def __init__(self) -> None:
        self._repeated_names: list[str] = []
        self._json = strict_decoder(self._repeated_names)

    def decode(self, content: bytes) -> Any:  # noqa: ANN401 - any JSON
        """The value of a line.

        Raises:
            UnreadableLine: It is no JSON, or with a name twice in an object, or far too large.
        """
        try:
            value = self._json.decode(content.decode()) if len(content) <= _AT_ONCE else None
        except UnicodeDecodeError as error:
            raise UnreadableLine(f"is not UTF-8 at byte {error.start + 1}") from None
        except json.JSONDecodeError as error:
            reason = error.msg.removesuffix(" at")  # Some end so already.
            raise UnreadableLine(f"is not JSON: {reason} at column {error.colno}") from None
        except RecursionError:
            raise UnreadableLine(TOO_DEEP) from None
        except ValueError as error:
            raise UnreadableLine(f"is not JSON: {reason_of(error)}") from None
        if len(content) > _AT_ONCE:
            value = self._walk(content)
        if self._repeated_names:
            names = ", ".join(f"`{name[:64]}`" for name in self._repeated_names[:10])
            self._repeated_names.clear()
            raise UnreadableLine(f"has a name twice in one object, give it once: {names}")
        return value

    def _walk(self, content: bytes) -> Any:  # noqa: ANN401 - any JSON
        stream = JsonStream()
        reading = _one_value(stream)
        next(reading)
        try:
            for start in range(0, len(content), _BLOCK):
                reading.send(content[start : start + _BLOCK])
            reading.send(b"")
        except StopIteration as end:
            self._repeated_names += stream.repeated_names
            return end.value
        except TooLarge as reason:
            raise UnreadableLine(str(reason)) from None
        except MalformedJson as error:
            reason = str(error).replace(" at line 1 column ", " at column ").removesuffix(".")
            raise UnreadableLine(f"is not JSON: {reason}") from None
        raise AssertionError  # the reader ends at the end


TOO_DEEP: Final = f"is nested deeper than {MAX_DEPTH} levels"
"""What is wrong with a line that nothing can store for its nesting."""


def _one_value(stream: JsonStream) -> Step[Any]:
    value = yield from stream.value()
    yield from stream.end()
    return value

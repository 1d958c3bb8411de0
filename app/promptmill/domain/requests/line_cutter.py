"""Splitting of bytes, cut anywhere, into lines within bounded memory.

The memory is that of one block and one line: of a line that is too long only the length is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """Line of a body."""

    number: int
    """Number of the line, counted from 1, blank lines included."""
    content: bytes | None
    """Content without its line end; None for a line that is too long."""


class LineCutter:
    """Parser that splits a body at each newline; blank lines are counted and left out."""

    def __init__(self, longest: int) -> None:
        """Set the most bytes of a line."""
        self._longest = longest
        self._number = 0
        self._beginning: list[bytes] = []
        self._length = 0
        """Bytes of the current line, kept or not."""

    def feed(self, block: bytes) -> Iterator[Line]:
        """Yield the lines that the block ends."""
        *ended, beginning = block.split(b"\n")
        for content in ended:
            line = self._end_line(content)
            if line is not None:
                yield line
        self._keep(beginning)

    def end(self) -> Iterator[Line]:
        """Yield the text after the last newline, if any."""
        line = self._end_line(b"")
        if line is not None:
            yield line

    def _keep(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > self._longest:
            self._beginning.clear()
        elif piece:
            self._beginning.append(piece)

    def _end_line(self, rest: bytes) -> Line | None:
        self._number += 1
        if self._length:
            self._keep(rest)
            content = b"".join(self._beginning)
            length, self._length = self._length, 0
            self._beginning.clear()
        else:
            content, length = rest, len(rest)
        if self._number == 1:
            content = content.removeprefix(_BYTE_ORDER_MARK)
        if length > self._longest:
            return Line(self._number, None)
        return None if not content or content.isspace() else Line(self._number, content)

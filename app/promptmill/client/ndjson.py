"""Splitting of a byte stream, cut anywhere, into lines."""

from __future__ import annotations


class LineSplitter:
    r"""Parser that takes pieces of a stream and returns whole lines.

    Only "\n" ends a line. Text tools also split at U+2028, U+0085 and form feeds, which may be
    unescaped in a JSON string, and would tear a model's answer apart.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the lines that `piece` completes, without line ends and empty lines."""
        *whole, rest = piece.split(b"\n")
        if not whole:
            # Pieces are joined once per line, so that the cost of a long line is linear.
            self._rest.append(rest)
            return []
        whole[0] = b"".join((*self._rest, whole[0]))
        self._rest = [rest]
        return [line for line in whole if line.strip()]

    def end(self) -> list[bytes]:
        """Return the text after the last line end, if any."""
        line = b"".join(self._rest)
        self._rest = []
        return [line] if line.strip() else []

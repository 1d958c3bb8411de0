"""Lines out of a stream of bytes that is cut anywhere."""

from __future__ import annotations


class LineSplitter:
    r"""Collects pieces of a stream and gives out its whole lines.

    Only "\n" ends a line. Text tools also split at U+2028, U+0085 and form feeds, which may stand
    unescaped inside a JSON string: a model's answer would be torn apart there.
    """

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that `piece` completes, without their ends; empty lines are left out."""
        *whole, rest = piece.split(b"\n")
        if not whole:
            # Pieces are joined once per line, so that a long line costs no more than its length.
            self._rest.append(rest)
            return []
        whole[0] = b"".join((*self._rest, whole[0]))
        self._rest = [rest]
        return [line for line in whole if line.strip()]

    def end(self) -> list[bytes]:
        """What followed the last line end, if anything did."""
        line = b"".join(self._rest)
        self._rest = []
        return [line] if line.strip() else []

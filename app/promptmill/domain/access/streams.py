"""Requests that stay open: event streams, long polls, uploads and exports, and their bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from promptmill.domain.errors import LimitExceeded

MOST_OF_A_KEY: Final = 50


class StreamKind(StrEnum):
    """Kinds of requests that stay open."""

    EVENTS = "events"
    LONG_POLL = "long_poll"
    UPLOAD = "upload"
    """Body that is stored while it arrives."""
    EXPORT = "export"
    """Response that is read from the database while it is sent."""


_WAITING: Final = frozenset({StreamKind.EVENTS, StreamKind.LONG_POLL})
"""Kinds that wait for changes; they share one bound, and each key has its own."""
_SETTINGS: Final = {
    StreamKind.UPLOAD: ("uploads", "PROMPTMILL_MAX_UPLOADS"),
    StreamKind.EXPORT: ("exports", "PROMPTMILL_MAX_EXPORTS"),
}


@dataclass(slots=True)
class OpenStreams:
    """Requests of this process that stay open."""

    _open: Counter[tuple[StreamKind, str | None]] = field(
        default_factory=Counter[tuple[StreamKind, str | None]]
    )
    """Number of open requests by kind and key's id, which is None without keys."""

    def require_room(
        self, kind: StreamKind, key_id: str | None, most: Mapping[StreamKind, int]
    ) -> None:
        """Check that another request may be opened.

        Raises:
            LimitExceeded: As many requests as `most` allows are open, or as many as a key may have.
        """
        kinds = _WAITING if kind in _WAITING else {kind}
        if self._number(kinds) >= most[kind]:
            told, setting = _SETTINGS.get(
                kind, ("event streams and long polls", "PROMPTMILL_MAX_STREAMS")
            )
            raise LimitExceeded(f"{most[kind]} {told} are open; no more may be ({setting}).")
        if key_id is not None and kind in _WAITING and self._of_key(key_id) >= MOST_OF_A_KEY:
            raise LimitExceeded(
                f"{MOST_OF_A_KEY} event streams and long polls of this key are open already."
            )

    @contextmanager
    def counted(self, kind: StreamKind, key_id: str | None) -> Generator[None]:
        """Count an open request while the block runs."""
        self._open[kind, key_id] += 1
        try:
            yield
        finally:
            self._open[kind, key_id] -= 1
            if not self._open[kind, key_id]:
                del self._open[kind, key_id]

    def _number(self, kinds: frozenset[StreamKind] | set[StreamKind]) -> int:
        return sum(number for (kind, _), number in self._open.items() if kind in kinds)

    def _of_key(self, key_id: str) -> int:
        return sum(self._open[kind, key_id] for kind in _WAITING)

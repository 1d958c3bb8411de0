"""Bound on requests that stay open, such as event streams and long polls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from promptmill.domain.errors import LimitExceeded

MOST_OF_A_KEY: Final = 50


@dataclass(slots=True)
class OpenStreams:
    """Open event streams and long polls of this process."""

    _of_keys: Counter[str | None] = field(default_factory=Counter[str | None])
    """Number of open requests by the key's id; None without keys."""

    def require_room(self, key_id: str | None, most: int) -> None:
        """Check that another request may be opened.

        Raises:
            LimitExceeded: `most` requests are open, or `MOST_OF_A_KEY` of the key.
        """
        if self._of_keys.total() >= most:
            raise LimitExceeded(f"{most} event streams and long polls are open; no more may be.")
        if key_id is not None and self._of_keys[key_id] >= MOST_OF_A_KEY:
            raise LimitExceeded(
                f"{MOST_OF_A_KEY} event streams and long polls of this key are open already."
            )

    @contextmanager
    def counted(self, key_id: str | None) -> Generator[None]:
        """Count an open request while the block runs."""
        self._of_keys[key_id] += 1
        try:
            yield
        finally:
            self._of_keys[key_id] -= 1
            if not self._of_keys[key_id]:
                del self._of_keys[key_id]

"""Standard error whose writes never fail, so that no log line stops a worker or a start."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, TextIO, cast


class ExpendableStream:
    """Text stream that drops lines while the underlying stream cannot take them.

    A stream cannot take lines when its reader has gone, its disk is full, or it is closed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or drop it."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the underlying stream if it works."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)


def make_stderr_expendable() -> None:
    """Replace stderr so that no write to it raises an error: log lines, messages, tracebacks.

    A process may be started with stderr closed; its lines are dropped.
    """
    if isinstance(sys.stderr, ExpendableStream):
        return
    # `sys.stderr` is None if the descriptor was closed at the start, which its type does not say.
    stream = cast("TextIO | None", sys.stderr)
    if stream is None:
        stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - while it runs
    sys.stderr = cast("TextIO", ExpendableStream(stream))

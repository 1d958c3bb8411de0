"""Standard error that never fails: no line on it is worth a worker, or a start."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any, TextIO, cast


class ExpendableStream:
    """A text stream whose lines are dropped while the stream below cannot take them.

    That is when its reader is gone, its disk is full, or it is closed.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Pass on what can be passed on."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)


def make_stderr_expendable() -> None:
    """Let nobody in this process fail for writing to stderr: the log, messages, tracebacks.

    A process may be started with stderr closed; then there is none, and lines go nowhere.
    """
    if isinstance(sys.stderr, ExpendableStream):
        return
    # Python's name for it is never None to the type checker; it is when the descriptor was closed.
    stream = cast("TextIO | None", sys.stderr)
    if stream is None:
        stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - while it runs
    sys.stderr = cast("TextIO", ExpendableStream(stream))

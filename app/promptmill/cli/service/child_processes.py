"""Commands of this program as child processes, which print the address they listen on."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Final

_URL: Final = re.compile(r"https?://[\w.\[\]:-]+:\d+")
_STOP_WITHIN_S: Final = 20.0
"""Seconds for a service to drain running calls, before it is killed."""


class ChildDied(Exception):  # noqa: N818 - named for what happened
    """The process ended before it listened; the message is the end of its output."""


@contextmanager
def listening(command: Sequence[str], log: Path) -> Generator[str]:
    """Run `promptmill <command>`, yield its URL, and stop it at the end.

    Its output goes to the file `log`.

    Raises:
        ChildDied: The process ended before it listened.
    """
    with log.open("ab") as log_file:
        process = subprocess.Popen(  # noqa: S603 - our own program
            # -P: without it a folder `promptmill` in the current directory would be imported
            # instead.
            [sys.executable, "-P", "-m", "promptmill", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log_file,
            # Ctrl-C goes to the parent only, which then stops its children in order.
            start_new_session=True,
        )
        announcement = _Announcement(process, log_file)
        try:
            url = announcement.wait()
            if url is None:
                raise ChildDied(_tail(log))
            yield url
        finally:
            _stop(process)
            announcement.join()


@contextmanager
def sigterm_cleans_up() -> Generator[None]:
    """Make SIGTERM end the program by an exception, so that its children are stopped."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    found = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, found)


class _Announcement(threading.Thread):
    """Reader of a process's stdout, which never lets it block, and finds the first URL."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: IO[bytes]) -> None:
        super().__init__(name="child-output", daemon=True)
        self._process = process
        self._log_file = log_file
        self._decided = threading.Event()
        self._url: str | None = None
        self.start()

    def run(self) -> None:
        """Copy every line to the log."""
        output = self._process.stdout
        if output is None:
            raise AssertionError("stdout is a pipe")
        with output:
            for line in output:
                self._log_file.write(line)
                self._log_file.flush()
                found = _URL.search(line.decode(errors="replace"))
                if found is not None and self._url is None:
                    self._url = found[0]
                    self._decided.set()
        self._decided.set()

    def wait(self) -> str | None:
        """Wait for the URL; None if the process closed its output without one."""
        self._decided.wait()
        return self._url


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-12:])

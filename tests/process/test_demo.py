"""`promptmill demo` on a terminal: it stays, ends with its page, and its commands work as printed."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on this system")
pytestmark = pytest.mark.proof

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
_NARROW = {"COLUMNS": "60", "LINES": "40", "TERM": "xterm"}


class Terminal:
    """A program on a pseudo-terminal of 60 columns, and what it has shown."""

    def __init__(self, folder: Path, *command: str) -> None:
        leader, follower = pty.openpty()
        self._leader = leader
        environment = {**os.environ, **_NARROW, "OLLAMA_HOST": "127.0.0.1:1"}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
            preexec_fn=_take_terminal,  # noqa: PLW1509 - Ctrl-C needs it; no thread runs here
        )
        os.close(follower)
        self._shown = b""

    @property
    def lines(self) -> list[str]:
        text = _CONTROL.sub("", self._shown.decode(errors="replace"))
        return [line for line in text.replace("\r", "\n").split("\n") if line.strip()]

    def read_until(self, wanted: re.Pattern[str], *, within_s: float) -> None:
        """Read until the last line matches.

        Raises:
            TimeoutError: It does not.
        """
        deadline = time.monotonic() + within_s
        while not (self.lines and wanted.fullmatch(self.lines[-1])):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise TimeoutError("\n".join(self.lines[-20:]))
            if select.select([self._leader], [], [], 1)[0]:
                self._shown += os.read(self._leader, 65_536)

    def press(self, key: bytes) -> None:
        os.write(self._leader, key)

    def close(self) -> None:
        self.process.terminate()  # With it end its service and its simulator.
        self.process.wait(30)
        os.close(self._leader)


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    program = Path(sys.executable).with_name("promptmill")
    found = Terminal(tmp_path, str(program), "demo", "--limit", "4")
    yield found
    found.close()


def test_it_stays_with_its_page_and_each_command_works_as_it_is_printed(
    terminal: Terminal, tmp_path: Path
) -> None:
    terminal.read_until(re.compile(r"http://127\.0\.0\.1:\d+/"), within_s=240)
    page = httpx.get(terminal.lines[-1], headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")

    commands = [
        line.strip() for line in terminal.lines if re.match(r"  (curl|\S*promptmill) ", line)
    ]
    assert [len(commands), sum(line.startswith("curl") for line in commands)] == [4, 2]
    for command in commands[:3]:
        ran = subprocess.run(
            command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (ran.returncode, "error" in ran.stderr) == (0, False), (command, ran.stderr)
    assert (tmp_path / "answers.csv").read_text().startswith("prompt,response,")

    terminal.press(b"\x03")
    assert terminal.process.wait(30) == 0

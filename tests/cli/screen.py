"""A command in a pseudo-terminal or with pipes, and what a person then sees.

The command runs in a fork of this process, so that what a test pretends holds there as well.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import pkgutil
import pty
import re
import select
import signal
import struct
import sys
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from promptmill import cli
from promptmill.__main__ import main

for _module in pkgutil.walk_packages(cli.__path__, "promptmill.cli."):
    # Once, and not in every fork.
    importlib.import_module(_module.name)

_ESCAPE = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])")
_COLOUR = re.compile(r"\x1b\[[0-9;]*(?<![0-9])(?:3[0-8]|4[0-8]|9[0-7])[0-9;]*m")
_MOST_S = 300
_ROWS = 40


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command wrote, and how it ended."""

    code: int
    stdout: str
    """Of a terminal all that was written to it."""
    stderr: str = ""

    @property
    def has_colours(self) -> bool:
        """Whether anything sets the colour of what follows."""
        return _COLOUR.search(self.stdout + self.stderr) is not None


def in_terminal(arguments: Sequence[str], columns: int, variables: Mapping[str, str]) -> Ran:
    """The command in a terminal of so many columns."""
    child, terminal = pty.fork()
    if child == 0:
        size = struct.pack("HHHH", _ROWS, columns, 0, 0)
        fcntl.ioctl(1, termios.TIOCSWINSZ, size)
        _run(arguments, variables)
    written = _read([terminal])[0]
    return Ran(_code(child), written)


def in_pipes(arguments: Sequence[str], variables: Mapping[str, str]) -> Ran:
    """The command without a terminal: stdin is empty, stdout and stderr are pipes."""
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    child = os.fork()
    if child == 0:
        for number, end in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out_end), (2, err_end)):
            os.dup2(end, number)
        _run(arguments, variables)
    os.close(out_end)
    os.close(err_end)
    return Ran(_code(child, *(ends := _read([out, err]))), *ends)


def _run(arguments: Sequence[str], variables: Mapping[str, str]) -> NoReturn:
    code = 70
    try:
        signal.alarm(_MOST_S)
        os.environ.clear()
        os.environ.update(variables)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        sys.argv = ["promptmill", *arguments]
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _code(child: int, *_: str) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _read(ends: Sequence[int]) -> list[str]:
    """All that comes out of these descriptors, which are closed then."""
    found = dict.fromkeys(ends, b"")
    open_ends = set(ends)
    while open_ends:
        for end in select.select(sorted(open_ends), [], [])[0]:
            try:
                piece = os.read(end, 65536)
            except OSError:  # A terminal that nobody writes to any more.
                piece = b""
            found[end] += piece
            if not piece:
                open_ends.discard(end)
                os.close(end)
    return [found[end].decode() for end in ends]


def shown(written: str, columns: int) -> str:
    """The lines that a terminal of so many columns shows in the end, without their colours."""
    lines: list[list[str]] = [[]]
    row = column = place = 0
    while place < len(written):
        escape = _ESCAPE.match(written, place)
        character = written[place]
        place = escape.end() if escape else place + 1
        if escape:
            count = int(escape[1]) if escape[1].isdecimal() else 1
            if escape[2] == "A":
                row = max(0, row - count)
            elif escape[2] == "K":
                lines[row][0 if escape[1] == "2" else column :] = []
        elif character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            if row == len(lines):
                lines.append([])
        else:
            if column == columns:
                row, column = row + 1, 0
                if row == len(lines):
                    lines.append([])
            line = lines[row]
            line += " " * (column - len(line))
            line[column : column + 1] = [character]
            column += 1
    return "\n".join("".join(line).rstrip() for line in lines).rstrip("\n")

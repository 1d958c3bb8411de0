"""Writing to the terminal: results go to stdout, everything said about them to stderr.

What is said goes through `promptmill.display.texts.printable`, for much of it is foreign text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from promptmill.display.texts import printable

if TYPE_CHECKING:
    from rich.console import Console

_PIPED_WIDTH: Final = 160
"""Columns of a table that goes to a file or another program; rich would take 80."""


def out(*, piped_width: int = _PIPED_WIDTH) -> Console:
    """Stdout, for what was asked for; `piped_width` holds where there is no terminal."""
    from rich.console import Console  # noqa: PLC0415 - slow to load, as everywhere here

    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = piped_width
    return console


def err() -> Console:
    """Stderr, for progress, hints and errors."""
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def say(line: str, *, style: str | None = None) -> None:
    """One line to stderr."""
    from rich.text import Text  # noqa: PLC0415

    err().print(Text(printable(line), style=style or ""))


def fail(line: str, *details: str) -> None:
    """An error to stderr: what happened, and below it what is known about it."""
    from rich.text import Text  # noqa: PLC0415

    console = err()
    console.print(Text.assemble(("error: ", "bold red"), printable(line)))
    for detail in details:
        console.print(Text(f"  {printable(detail)}"))
